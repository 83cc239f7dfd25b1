#include "pcap/description.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "crypto/text.h"
#include "pcap/opened.h"
#include "wire/call.h"
#include "wire/credential.h"
#include "wire/frame.h"

namespace sluice::capture {
namespace {

using wire::FrameHeader;
using wire::FrameType;

class Describer {
 public:
  Describer(Bytes payload, bool to_relay) : p_(payload), to_relay_(to_relay) {}
  Description take() && { return std::move(out_); }

  void run() {
    if (p_.size() < sizeof(wire::OuterHeader)) return end(Verdict::kShort);
    outer_ = wire::read_outer(p_.data());
    const bool opened = outer_.type == kOpenedData;
    const uint8_t type = opened ? uint8_t(wire::Type::kData) : outer_.type;
    add("type", type);
    add("opened", opened ? 1 : 0);
    add("version", outer_.version);
    add("sealed_length", outer_.sealed_length);
    add("receiver", outer_.receiver);
    add("lane", outer_.lane());
    add("sequence", outer_.sequence());
    switch (static_cast<wire::Type>(type)) {
      case wire::Type::kHello:
        return to_relay_ ? hello() : end(Verdict::kUnexpectedType);
      case wire::Type::kWelcome:
        return to_relay_ ? end(Verdict::kUnexpectedType) : welcome();
      case wire::Type::kRetry:
        return to_relay_ ? end(Verdict::kUnexpectedType) : retry();
      case wire::Type::kVersion:
        return to_relay_ ? end(Verdict::kUnexpectedType) : version();
      case wire::Type::kData:
        return data(opened);
    }
    end(Verdict::kBadType);
  }

 private:
  void end(Verdict v) { out_.verdict = v; }
  void add(const char* name, uint64_t number) { out_.fields.push_back({name, number, {}, false}); }
  void add(const char* name, Bytes bytes) { out_.fields.push_back({name, 0, bytes, true}); }

  void hello() {
    if (outer_.version != wire::kProtocolVersion) return end(Verdict::kBadVersion);
    const auto v = wire::parse_hello(p_);
    if (!v) return end(Verdict::kMalformed);
    const Bytes noise = v->noise();
    add("hello.sender", v->sender);
    add("hello.ephemeral", noise.first(32));
    add("hello.static", noise.subspan(32, wire::kHelloTokens - 32));
    add("hello.payload", noise.subspan(wire::kHelloTokens));
    add("hello.mac1", v->mac1());
    add("hello.mac2", v->mac2());
  }

  void welcome() {
    const auto v = wire::parse_welcome(p_);
    if (!v) return end(Verdict::kMalformed);
    const Bytes noise = v->noise();
    add("welcome.sender", v->sender);
    add("welcome.ephemeral", noise.first(wire::kWelcomeTokens));
    add("welcome.payload", noise.subspan(wire::kWelcomeTokens));
    add("welcome.mac1", v->mac1());
  }

  void retry() {
    const auto v = wire::parse_retry(p_);
    if (!v) return end(Verdict::kMalformed);
    add("retry.nonce", v->nonce);
    add("retry.cookie", v->sealed_cookie);
  }

  void version() {
    const auto v = wire::parse_version(p_);
    if (!v) return end(Verdict::kMalformed);
    add("version.versions", v->versions);
  }

  void data(bool opened) {
    if (outer_.version != wire::kProtocolVersion) return end(Verdict::kBadVersion);
    const auto seal = wire::seal_of(outer_.sealed_length, p_.size());
    if (seal == wire::Seal::kMalformed) return end(Verdict::kMalformed);
    add("data.tag", p_.subspan(sizeof(wire::OuterHeader), wire::kTagSize));
    add("data.seal", seal == wire::Seal::kFull ? 1 : 2);
    add("data.size", p_.size() - wire::kDataRegion);
    if (opened) frame(seal);
  }

  void frame(wire::Seal seal) {
    const FrameHeader h = wire::read_frame(p_.data() + wire::kDataRegion);
    const Bytes after = p_.subspan(wire::kDataMin);
    add("frame.type", h.type);
    add("frame.flags", h.flags);
    add("frame.extension_length", h.extension_length);
    add("frame.slot", wire::label_slot(h.label));
    add("frame.generation", wire::label_generation(h.label));
    add("frame.call_id", h.call_id);
    const auto type = static_cast<FrameType>(h.type);
    switch (to_relay_ ? wire::check_agent_frame(h, after.size())
                      : wire::check_relay_frame(h, after.size())) {
      case wire::FrameVerdict::kOk:
        break;
      case wire::FrameVerdict::kMalformed:
        return end(Verdict::kFrameMalformed);
      case wire::FrameVerdict::kNotFromAgent:
        return end(Verdict::kFrameNotAllowed);
      case wire::FrameVerdict::kUnknownType:
        return end(Verdict::kFrameUnknown);
    }
    const bool carries_messages = type == FrameType::kDatagram || type == FrameType::kCallData;
    if (seal == wire::Seal::kHeader && !carries_messages) return end(Verdict::kFrameMalformed);
    switch (type) {
      case FrameType::kKeepalive:
        return;
      case FrameType::kDatagram:
      case FrameType::kCallData:
        return message(after);
      case FrameType::kCallOpen:
        return envelope(after, h.call_id);
      case FrameType::kCallAccept:
        return accept(after);
      case FrameType::kCallClose:
        return close(after);
      case FrameType::kCallDeny:
        return deny(after);
      case FrameType::kControl:
        // Which message it is stands in the first field's key.
        if ((after[0] & 7) == 2 && after[0] < 0x80) add("control.message", after[0] >> 3);
        return add("control.size", after.size());
      case FrameType::kCredential:
        return credential(after);
    }
  }

  void envelope(Bytes in, uint64_t call_id) {
    const auto e = load_le<wire::Envelope>(in.data());
    add("envelope.trace", in.first(16));
    add("envelope.epoch", e.epoch);
    add("envelope.counter", e.counter);
    add("envelope.idempotency", in.subspan(32, 16));
    add("envelope.issued_ms", e.issued_ms);
    add("envelope.expires_ms", e.expires_ms);
    add("envelope.audience", e.audience);
    add("envelope.issuer", e.issuer);
    add("envelope.tenant", e.tenant);
    add("envelope.service", e.service);
    add("envelope.capability", e.capability);
    add("envelope.protocol", e.protocol);
    add("envelope.scope_count", e.scope_count);
    const size_t scopes = std::min<size_t>(e.scope_count, wire::kMostScopes);
    for (size_t i = 0; i < scopes; ++i) add("envelope.scope", uint64_t{e.scopes[i]});
    add("envelope.grant", e.grant);
    add("envelope.commitment", in.subspan(128, 16));
    add("envelope.signature", in.subspan(wire::kEnvelopeSigned, 64));
    if (!wire::well_formed(e) || e.counter != call_id) end(Verdict::kEnvelopeMalformed);
  }

  void accept(Bytes in) {
    const auto a = load_le<wire::CallAccept>(in.data());
    add("accept.epoch", a.epoch);
    add("accept.counter", a.counter);
    add("accept.status", a.status);
    add("accept.time_ms", a.time_ms);
    add("accept.signature", in.subspan(32, 64));
    if (!all_zero(Bytes(a.zero))) end(Verdict::kNotZero);
  }

  void close(Bytes in) {
    const auto c = load_le<wire::CallClose>(in.data());
    add("close.status", c.status);
    add("close.bytes_sent", c.bytes_sent);
    if (!all_zero(Bytes(c.zero))) end(Verdict::kNotZero);
  }

  void deny(Bytes in) {
    const auto d = load_le<wire::CallDeny>(in.data());
    add("deny.epoch", d.epoch);
    add("deny.counter", d.counter);
    add("deny.reason", d.reason);
    add("deny.retry_after_ms", d.retry_after_ms);
    if (d.zero != 0) end(Verdict::kNotZero);
  }

  // Never the secret itself.
  void credential(Bytes in) {
    const auto head = load_le<wire::CredentialHead>(in.data());
    add("credential.version", head.version);
    add("credential.index", head.index);
    add("credential.count", head.count);
    add("credential.kind", head.kind);
    add("credential.size", in.size() - sizeof head);
    if (head.zero != 0) end(Verdict::kNotZero);
  }

  void message(Bytes in) {
    const bool opened = !in.empty() && in[0] == kOpenedTransport;
    Buffer as_sent;
    if (opened) {
      as_sent = to_buffer(in);
      as_sent[0] &= uint8_t(~kOpenedBit);
    }
    const auto h = wire::parse_e2e(opened ? Bytes(as_sent) : in);
    if (!h) return end(Verdict::kE2eMalformed);
    add("e2e.type", h->type);
    add("e2e.opened", opened ? 1 : 0);
    add("e2e.key_id", h->key_id);
    add("e2e.counter", h->counter);
    const Bytes body = in.subspan(sizeof *h);
    if (h->type != uint8_t(wire::E2eType::kTransport)) {
      add("e2e.ephemeral", body.first(wire::kKkTokens));
      return add("e2e.payload", body.subspan(wire::kKkTokens));
    }
    add("e2e.size", body.size() - wire::kE2eTag);
    if (opened) plaintext(body.first(body.size() - wire::kE2eTag));
  }

  // Empty ones and unknown kinds are ignored by who gets them.
  void plaintext(Bytes text) {
    if (text.empty()) return;
    add("e2e.kind", text[0]);
    const Bytes body = text.subspan(1);
    switch (static_cast<wire::MessageKind>(text[0])) {
      case wire::MessageKind::kData:
        return add("e2e.data", body);
      case wire::MessageKind::kPing:
      case wire::MessageKind::kPong:
        if (body.size() >= wire::kPingIdSize) add("e2e.ping_id", load_le<uint64_t>(body.data()));
        return;
      case wire::MessageKind::kPacket:
        if (body.size() < 8) return end(Verdict::kE2eMalformed);
        add("e2e.run", load_le<uint32_t>(body.data()));
        add("e2e.peer_run", load_le<uint32_t>(body.data() + 4));
        return add("e2e.sctp", body.subspan(8));
      case wire::MessageKind::kIp:
        return add("e2e.ip", body);
      case wire::MessageKind::kKeep:
        if (body.empty()) return end(Verdict::kE2eMalformed);
        return add("e2e.asks", body[0]);
    }
  }

  Bytes p_;
  bool to_relay_;
  wire::OuterHeader outer_{};
  Description out_;
};

}  // namespace

const Field* Description::find(std::string_view name) const {
  const auto it =
      std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return name == f.name; });
  return it == fields.end() ? nullptr : &*it;
}

Description describe(Bytes payload, bool to_relay) {
  Describer d(payload, to_relay);
  d.run();
  return std::move(d).take();
}

std::string sentence(const Description& d) {
  const auto number = [&](const char* name) { return d.find(name)->number; };
  const auto name_in = [&](const auto& names, const char* field) {
    const char* name = wire::name_of(names, uint8_t(number(field)));
    return *name != 0 ? std::string(name) : fmt::format("type {}", number(field));
  };
  if (d.find("type") == nullptr) return "";
  std::string out = name_in(wire::kTypeNames, "type");
  if (d.find("frame.type") != nullptr) {
    out += " " + name_in(wire::kFrameNames, "frame.type");
    if (number("frame.slot") != 0) out += fmt::format(" edge {}", number("frame.slot"));
    if (number("frame.call_id") != 0) out += fmt::format(" call {}", number("frame.call_id"));
  } else {
    out += fmt::format(" to {:08x}", number("receiver"));
    if (d.find("data.size") != nullptr)
      out += fmt::format(", {} sealed bytes", number("data.size"));
  }
  if (d.find("deny.reason") != nullptr) {
    const uint64_t reason = number("deny.reason");
    out += reason < wire::kCallReasons ? fmt::format(" {}", wire::kCallReasonTable[reason].name)
                                       : fmt::format(" reason {}", reason);
  }
  for (const char* status : {"accept.status", "close.status"}) {
    if (d.find(status) != nullptr) out += fmt::format(" status {}", number(status));
  }
  if (d.find("e2e.type") != nullptr) {
    out += ", " + name_in(wire::kE2eNames, "e2e.type");
    if (d.find("e2e.kind") != nullptr) {
      const char* kind = wire::name_of(wire::kMessageKindNames, uint8_t(number("e2e.kind")));
      out += *kind != 0 ? fmt::format(" {}", kind) : fmt::format(" kind {}", number("e2e.kind"));
    }
    if (d.find("e2e.size") != nullptr) out += fmt::format(" of {} bytes", number("e2e.size"));
  }
  return out;
}

void add_to(nlohmann::ordered_json& out, const Description& d) {
  for (const Field& f : d.fields) {
    nlohmann::ordered_json value = f.number;
    if (f.is_bytes) value = crypto::to_hex(f.bytes);
    if (!out.contains(f.name)) {
      out[f.name] = std::move(value);
      continue;
    }
    if (!out[f.name].is_array()) out[f.name] = nlohmann::ordered_json::array({out[f.name]});
    out[f.name].push_back(std::move(value));
  }
}

}  // namespace sluice::capture
