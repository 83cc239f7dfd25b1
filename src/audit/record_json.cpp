#include "audit/record_json.h"

#include <arpa/inet.h>

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "crypto/identity.h"
#include "crypto/text.h"
#include "wire/call.h"

namespace sluice::audit {
namespace {

using nlohmann::json;

const char* name_of(Kind kind) {
  switch (kind) {
#define X(id, number, name, text) \
  case Kind::id:                  \
    return name;
    SLUICE_AUDIT_KINDS(X)
#undef X
  }
  return "unknown";
}

const char* change_name(uint8_t number) {
  switch (number) {
#define X(n, name) \
  case n:          \
    return name;
    SLUICE_AUDIT_CHANGES(X)
#undef X
    default:
      return "unknown";
  }
}

const char* gap_name(uint8_t number) {
  switch (static_cast<Gap>(number)) {
#define X(id, n, name, text) \
  case Gap::id:              \
    return name;
    SLUICE_AUDIT_GAPS(X)
#undef X
  }
  return "unknown";
}

const char* prune_name(uint8_t number) {
  switch (static_cast<Prune>(number)) {
#define X(id, n, name, text) \
  case Prune::id:            \
    return name;
    SLUICE_AUDIT_PRUNES(X)
#undef X
  }
  return "unknown";
}

const char* handshake_name(uint8_t number) {
  switch (number) {
#define X(n, name) \
  case n:          \
    return name;
    SLUICE_AUDIT_HANDSHAKES(X)
#undef X
    default:
      return "unknown";
  }
}

json address(VirtualAddress a) {
  return a.to_u64() == 0 ? json(nullptr) : json(to_string(a));
}

json actor(uint8_t kind, uint64_t value) {
  switch (static_cast<Actor>(kind)) {
    case Actor::kConfig:
      return "config";
    case Actor::kUid:
      return fmt::format("uid {}", value);
    case Actor::kCertificate:
      return fmt::format("certificate sha256:{:016x}", __builtin_bswap64(value));
    case Actor::kAgent:
      return fmt::format("agent sha256:{:016x}", __builtin_bswap64(value));
    case Actor::kRelay:
      break;
  }
  return "relay";
}

std::string ip_text(const uint8_t* ip) {
  char text[INET6_ADDRSTRLEN] = {};
  constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const bool v4 = std::equal(kMapped, kMapped + 12, ip);
  inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip + 12 : ip, text, sizeof text);
  return v4 ? text : fmt::format("[{}]", text);
}

// What a change names: identities as DIDs, all else as it is in the feed.
json subject(uint8_t change, const uint8_t* at, bool object) {
  const auto raw = take<32>(at);
  if (all_zero(raw)) return nullptr;
  const std::string_view kind = change_name(change);
  if (kind == "tenant_added") return load_le<uint16_t>(at);
  if (kind == "policy_applied" || kind == "changes_forgotten") return load_le<uint64_t>(at);
  if (kind == "audit_log_forgotten" && !object) return load_le<uint64_t>(at);
  if (kind == "request_consented" && object) return load_le<uint16_t>(at);
  if (kind.starts_with("vault_")) return load_le<uint64_t>(at);
  if (kind == "credential_set" || kind == "credential_deleted") {
    // What stands there of a longer name.
    if (object) return std::string(as_text(raw).substr(0, as_text(raw).find('\0')));
    return load_le<uint64_t>(at);
  }
  if (kind.starts_with("credential_") && object) return load_le<uint64_t>(at);
  if (kind.starts_with("relay_key")) return crypto::to_base64url(raw);
  const bool identity = kind.starts_with("agent_") || kind == "trust_requested" ||
                        kind == "pair_made" || kind == "identity_rotated" ||
                        kind.starts_with("credential_") || (kind == "token_used" && object);
  return identity ? json(crypto::to_did(raw)) : json(crypto::to_hex(raw));
}

template <size_t N>
const char* named(const char* const (&names)[N], size_t number) {
  return number < N && names[number][0] != '\0' ? names[number] : "unknown";
}

void add_call(const Header& h, const Record& r, json& out) {
  out["decision"] =
      h.detail < wire::kCallReasons ? wire::kCallReasonTable[h.detail].name : "unknown";
  out["trace"] = crypto::to_hex(Bytes(r).subspan(32, 16));
  out["call"] = load_le<uint64_t>(r.data() + 48);
  out["issued_ms"] = load_le<uint64_t>(r.data() + 56);
  out["capability"] = named(wire::kCapabilityNames, h.detail2);
  out["protocol"] = named(wire::kProtocolNames, r[64]);
  out["service"] = load_le<uint16_t>(r.data() + 66);
  out["grant"] = crypto::to_hex(Bytes(r).subspan(72, 8));
  out["commitment"] = crypto::to_hex(Bytes(r).subspan(80, 16));
  json scopes = json::array();
  for (size_t i = 0; i < std::min<size_t>(r[65], wire::kMostScopes); ++i) {
    scopes.push_back(crypto::to_hex(Bytes(r).subspan(96 + 8 * i, 8)));
  }
  out["scopes"] = std::move(scopes);
}

void add_body(const Header& h, const Record& r, json& out) {
  const uint8_t* body = r.data() + 32;
  const auto number = [&](size_t at) { return load_le<uint64_t>(body + at); };
  switch (h.kind) {
    case Kind::kOpened:
      out["relay_id"] = crypto::to_base64url(Bytes(body, 32));
      out["epoch"] = fmt::format("{:016x}", number(32));
      return;
    case Kind::kClosed:
      return;
    case Kind::kGap:
      out["reason"] = gap_name(h.detail);
      out["since_ms"] = number(0);
      out["count"] = number(8) == 0 ? json(nullptr) : json(number(8));
      return;
    case Kind::kPruned: {
      const Pruning p = pruning_of(r);
      out["reason"] = prune_name(h.detail);
      out["from"] = p.from;
      out["to"] = p.to;
      out["limit"] = p.limit;
      return;
    }
    case Kind::kChange:
      out["change"] = change_name(h.detail);
      out["sequence"] = sequence_of(r);
      out["actor"] = actor(h.detail2, load_le<uint64_t>(r.data() + 104));
      out["names"] = subject(h.detail, body, false);
      out["and"] = subject(h.detail, body + 32, true);
      out["digest"] = crypto::to_hex(digest_of(r));
      return;
    case Kind::kSession:
      out["did"] = crypto::to_did(take<32>(body));
      out["endpoint"] = fmt::format("{}:{}", ip_text(body + 32), load_le<uint16_t>(body + 48));
      out["nic_port"] = h.detail2;
      out["renewed"] = h.detail != 0;
      return;
    case Kind::kHandshakes:
      out["outcome"] = handshake_name(h.detail);
      out["since_ms"] = number(0);
      out["count"] = number(8);
      return;
    case Kind::kAct: {
      constexpr const char* kActs[] = {"unknown", "reload",       "backup",    "approve",
                                       "deny",    "vault_unlock", "vault_lock"};
      out["act"] = kActs[h.detail < std::size(kActs) ? h.detail : 0];
      out["actor"] = actor(h.detail2, number(0));
      if (h.detail != uint8_t(Act::kApprove) && h.detail != uint8_t(Act::kDeny)) return;
      out["trace"] = crypto::to_hex({body + 8, 16});
      out["call"] = number(24);
      return;
    }
    case Kind::kProof: {
      constexpr const char* kStates[] = {"cut", "not_durable", "not_proven"};
      out["state"] = h.detail < 3 ? kStates[h.detail] : "unknown";
      out["actor"] = actor(h.detail2, number(0));
      constexpr const char* kNumbers[] = {"agents", "pairs", "cut_us", "sync_us", "ack_us"};
      for (size_t i = 0; i < 5; ++i) out[kNumbers[i]] = number(8 + 8 * i);
      return;
    }
    case Kind::kCall:
      return add_call(h, r, out);
    case Kind::kCallClosed: {
      constexpr const char* kWhy[] = {"closed", "idle", "edge_ended"};
      out["why"] = h.detail < 3 ? kWhy[h.detail] : "unknown";
      out["trace"] = crypto::to_hex(Bytes(body, 16));
      constexpr const char* kNumbers[] = {"call",  "duration_ms",  "packets",
                                          "bytes", "packets_back", "bytes_back"};
      for (size_t i = 0; i < 6; ++i) out[kNumbers[i]] = number(16 + 8 * i);
      const auto answered = load_le<uint32_t>(body + 64);
      out["accepted"] = answered == 0 ? json(nullptr) : json(answered == 1);
      out["status"] = load_le<uint16_t>(body + 68);
      out["status_back"] = load_le<uint16_t>(body + 70);
      return;
    }
  }
  out["raw"] = crypto::to_hex(r);
}

}  // namespace

json to_json(uint64_t index, const Record& r) {
  const Header h = header_of(r);
  json out = {{"index", index},
              {"time_ms", h.time_ms},
              {"kind", r[0] == kLayout ? name_of(h.kind) : "unknown"},
              {"source", h.source == kControl ? json("control") : json(h.source)},
              {"subject", address(h.subject)},
              {"object", address(h.object)}};
  if (r[0] == kLayout) {
    add_body(h, r, out);
  } else {
    out["raw"] = crypto::to_hex(r);
  }
  return out;
}

}  // namespace sluice::audit
