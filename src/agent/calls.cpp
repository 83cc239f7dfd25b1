#include "agent/calls.h"

#include <algorithm>

#include <fmt/format.h>

#include "crypto/hash.h"

namespace sluice::agent {
namespace {

using wire::Envelope;
using wire::FrameType;

constexpr unsigned kMostUnknownSaid = 64;  // a second

template <typename T>
Bytes signed_part(const T& value, size_t size) {
  return {reinterpret_cast<const uint8_t*>(&value), size};
}

void set_random(uint8_t (&out)[16], const std::optional<ByteArray<16>>& given) {
  ByteArray<16> bytes = given.value_or(ByteArray<16>{});
  while (!given && all_zero(bytes)) crypto::random_bytes(bytes);
  std::memcpy(out, bytes.data(), bytes.size());
}

// Ascending and each once, as the envelope wants them.
Result<void> set_scopes(Envelope& e, const std::vector<std::string>& names) {
  std::vector<uint64_t> scopes;
  for (const std::string& name : names) {
    scopes.push_back(load_le<uint64_t>(crypto::sha256({as_bytes(name)}).data()));
  }
  std::sort(scopes.begin(), scopes.end());
  scopes.erase(std::unique(scopes.begin(), scopes.end()), scopes.end());
  if (scopes.size() > wire::kMostScopes) {
    return fail(ErrorCode::kUsage,
                fmt::format("a call names at most {} scopes", wire::kMostScopes));
  }
  e.scope_count = static_cast<uint8_t>(scopes.size());
  for (size_t i = 0; i < scopes.size(); ++i) e.scopes[i] = scopes[i];
  return {};
}

uint64_t grant_of(const PeerEdge& edge) {
  return edge.grant ? load_le<uint64_t>(edge.grant->data()) : 0;
}

}  // namespace

CallRow row_of(const Call& c) {
  return {c.peer(),           c.envelope(),       c.is_caller(), c.phase(),
          c.ended_as(),       c.denied_as(),      c.status(),    c.bytes_sent(),
          c.bytes_received(), c.segments_again(), c.times()};
}

Calls::Calls(const crypto::Identity* identity, CallHooks hooks, std::function<uint64_t()> random)
    : identity_(identity), hooks_(std::move(hooks)), random_(std::move(random)) {}

Call* Calls::find(const crypto::PublicKey& peer, uint64_t id, bool own) {
  const auto it = calls_.find({peer, id, own});
  return it == calls_.end() ? nullptr : it->second.get();
}

Call* Calls::mine(uint64_t id) {
  const auto it = own_.find(id);
  return it == own_.end() ? nullptr : find(it->second, id, true);
}

Call* Calls::from(const crypto::PublicKey& peer, uint64_t id) {
  return find(peer, id, false);
}

size_t Calls::live(bool own) const {
  return size_t(std::count_if(calls_.begin(), calls_.end(), [&](const auto& c) {
    return std::get<2>(c.first) == own && c.second->live();
  }));
}

size_t Calls::held() const {
  size_t sum = 0;
  for (const auto& [key, call] : calls_) sum += call->held();
  return sum;
}

void Calls::connected(uint64_t epoch, VirtualAddress own, Now now) {
  address_ = own;
  if (epoch_ != epoch) {
    for (auto& [key, call] : calls_) {
      call->end(CallEnd::kRelayRestarted, uint16_t(CallStatus::kSilent), now);
    }
  }
  epoch_ = epoch;
}

void Calls::edge_ended(const crypto::PublicKey& peer, Now now) {
  for (auto& [key, call] : calls_) {
    if (std::get<0>(key) == peer) {
      call->end(CallEnd::kEdgeEnded, uint16_t(CallStatus::kSilent), now);
    }
  }
}

// --- Own calls ---------------------------------------------------------------------------------

Result<uint64_t> Calls::open(const PeerEdge& peer, CallRequest request, Now now) {
  if (peer.right == Right::kReplyOnly) {
    return fail(ErrorCode::kRefused, "the edge to the peer only lets this agent answer its calls");
  }
  if (request.data.size() > kMostMessage) {
    return fail(ErrorCode::kTooLarge, fmt::format("the request has {} bytes; {} is the most",
                                                  request.data.size(), kMostMessage));
  }
  if (live(true) >= kMostLive || calls_.size() >= kMostKept ||
      held() + request.data.size() > kMostHeld) {
    return fail(ErrorCode::kResource,
                "too many calls of this agent are under way; try again when some have ended");
  }
  Envelope e{};
  set_random(e.trace, request.trace);
  set_random(e.idempotency, request.idempotency);
  // Counted, not by time: the relay looks for calls by the low bits, and keeps a window of 2,048.
  next_id_ = next_id_ == 0 ? now.unix_ms << 20 : next_id_ + 1;
  e.epoch = epoch_.value_or(0);
  e.counter = next_id_;
  e.issued_ms = now.unix_ms;
  e.expires_ms = now.unix_ms + std::clamp<uint64_t>(request.timeout_ms, 1, kLongestEnvelopeMs);
  e.audience = peer.address.to_u64();
  e.issuer = address_.to_u64();
  e.tenant = address_.tenant;
  e.service = request.service;
  e.capability = uint8_t(request.capability);
  e.protocol = uint8_t(request.protocol);
  if (auto ok = set_scopes(e, request.scopes); !ok) return tl::unexpected(ok.error());
  e.grant = grant_of(peer);

  Buffer stream(kCommitmentKey + request.data.size());
  crypto::random_bytes(MutBytes(stream).first(kCommitmentKey));
  std::copy(request.data.begin(), request.data.end(), stream.begin() + kCommitmentKey);
  const Buffer key(stream.begin(), stream.begin() + kCommitmentKey);
  CallSender sender(std::move(stream), 0);
  const auto commitment = commitment_of(key, sender.first());
  std::memcpy(e.commitment, commitment.data(), sizeof e.commitment);
  const auto signature =
      identity_->sign(crypto::kLabelCall, {signed_part(e, wire::kEnvelopeSigned)});
  std::memcpy(e.signature, signature.data(), sizeof e.signature);

  auto call = std::make_unique<Call>(hooks_, peer.identity, e, std::move(sender),
                                     request.timeout_ms, random_(), now);
  call->start(now);
  calls_[{peer.identity, e.counter, true}] = std::move(call);
  own_[e.counter] = peer.identity;
  ++counters_.opened;
  return e.counter;
}

// --- Frames ------------------------------------------------------------------------------------

void Calls::receive(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension,
                    Now now) {
  const bool reply = (frame.flags & wire::kFlagReply) != 0;
  const auto type = static_cast<FrameType>(frame.type);
  if (type == FrameType::kCallOpen) return on_open(peer, frame, extension, now);
  // A denial is the relay's word about this agent's own call.
  const bool own = reply || type == FrameType::kCallDeny;
  Call* call = find(peer.identity, frame.call_id, own);
  if (call == nullptr) {
    ++counters_.dropped_frame;
    return;
  }
  if (type == FrameType::kCallAccept && reply && extension.size() == wire::kCallAcceptSize) {
    if (!call->on_accept(load_le<wire::CallAccept>(extension.data()), now)) {
      ++counters_.dropped_accept;
    }
    return;
  }
  if (type == FrameType::kCallDeny && frame.flags == 0 && extension.size() == wire::kCallDenySize) {
    if (call->on_deny(load_le<wire::CallDeny>(extension.data()), now)) {
      counters_.denied += call->ended_as() == CallEnd::kDenied ? 1 : 0;
      return;
    }
  } else if (type == FrameType::kCallClose && extension.size() == wire::kCallCloseSize) {
    return call->on_close(load_le<wire::CallClose>(extension.data()), now);
  }
  ++counters_.dropped_frame;
}

AcceptStatus Calls::judge(const PeerEdge& peer, const Envelope& e, Now now) const {
  const bool timely = e.issued_ms <= now.unix_ms + kSkewMs && e.expires_ms > now.unix_ms &&
                      e.expires_ms - e.issued_ms <= kLongestEnvelopeMs;
  if (!timely || e.grant != grant_of(peer)) return AcceptStatus::kNotAcceptable;
  if (live(false) >= kMostLive || held() >= kMostHeld) return AcceptStatus::kBusy;
  return hooks_.admit(peer.identity, e);
}

void Calls::on_open(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension,
                    Now now) {
  if (frame.flags != 0 || extension.size() != wire::kEnvelopeSize) {
    ++counters_.dropped_frame;
    return;
  }
  const auto e = load_le<Envelope>(extension.data());
  if (Call* call = find(peer.identity, frame.call_id, false)) {
    if (std::memcmp(&call->envelope(), &e, sizeof e) == 0) return call->on_open_again(now);
    ++counters_.dropped_open;
    return;
  }
  // The relay has checked all of it. This agent believes the peer's signature alone.
  const bool ours = wire::well_formed(e) && e.counter == frame.call_id && e.epoch == epoch_ &&
                    e.audience == address_.to_u64() && e.issuer == peer.address.to_u64() &&
                    e.tenant == peer.address.tenant;
  if (!ours || calls_.size() >= kMostKept ||
      !crypto::verify(peer.identity, crypto::kLabelCall, {signed_part(e, wire::kEnvelopeSigned)},
                      take<64>(e.signature))) {
    ++counters_.dropped_open;
    return;
  }
  wire::CallAccept accept{e.epoch, e.counter, uint16_t(judge(peer, e, now)), {}, now.unix_ms, {}};
  ByteArray<wire::kAcceptSigned> text;
  wire::write_accept_signed(e, accept, text);
  const auto signature = identity_->sign(crypto::kLabelAccept, {text});
  std::memcpy(accept.signature, signature.data(), sizeof accept.signature);
  auto call = std::make_unique<Call>(hooks_, peer.identity, e, accept, now);
  call->start(now);
  calls_[{peer.identity, e.counter, false}] = std::move(call);
  counters_.served += accept.status == 0 ? 1 : 0;
}

bool Calls::expects(const crypto::PublicKey& peer, const wire::FrameHeader& frame, Now now) {
  const bool own = (frame.flags & wire::kFlagReply) != 0;
  if (find(peer, frame.call_id, own) != nullptr) return true;
  ++counters_.dropped_frame;
  say_unknown(peer, frame, now);
  return false;
}

// After a restart: the other side need not wait until it gives up.
void Calls::say_unknown(const crypto::PublicKey& peer, const wire::FrameHeader& frame, Now now) {
  if (now.mono_ms >= unknown_said_ms_ + 1'000) {
    unknown_said_ms_ = now.mono_ms;
    unknown_said_ = 0;
  }
  if (++unknown_said_ > kMostUnknownSaid) return;
  const wire::CallClose close{uint16_t(CallStatus::kUnknownCall), {}, 0};
  hooks_.frame(peer,
               {uint8_t(FrameType::kCallClose), uint8_t(frame.flags ^ wire::kFlagReply),
                uint16_t(wire::kCallCloseSize), 0, frame.call_id},
               signed_part(close, sizeof close));
}

void Calls::on_message(const crypto::PublicKey& peer, const Carrier& carrier, MessageKind kind,
                       Bytes body, Now now) {
  Call* call = find(peer, carrier.call_id, (carrier.flags & wire::kFlagReply) != 0);
  if (call == nullptr || !call->on_message(kind, body, held() < kMostHeld, now)) {
    ++counters_.dropped_frame;
  }
}

std::optional<Carrier> Calls::carrier_to(const crypto::PublicKey& peer,
                                         const Carrier* came_by) const {
  std::optional<Carrier> out;
  for (auto it = calls_.lower_bound({peer, 0, false});
       it != calls_.end() && std::get<0>(it->first) == peer; ++it) {
    if (!it->second->carries_data()) continue;
    const Carrier c = it->second->carrier();
    const bool asked = came_by != nullptr && came_by->is_call() && came_by->call_id == c.call_id &&
                       came_by->flags != c.flags;
    if (asked) return c;
    out = c;
  }
  return out;
}

// --- Time --------------------------------------------------------------------------------------

void Calls::tick(Now now) {
  for (auto it = calls_.begin(); it != calls_.end();) {
    Call& call = *it->second;
    call.tick(now);
    if (!call.forgettable(now)) {
      ++it;
      continue;
    }
    recent_.push_front(row_of(call));
    if (recent_.size() > kRecent) recent_.pop_back();
    if (call.is_caller()) own_.erase(call.id());
    it = calls_.erase(it);
  }
}

void Calls::pump(Now now) {
  for (auto& [key, call] : calls_) call->pump(now);
}

uint64_t Calls::deadline() const {
  uint64_t at = kNever;
  for (const auto& [key, call] : calls_) at = std::min(at, call->deadline());
  return at;
}

std::vector<CallRow> Calls::rows() const {
  std::vector<CallRow> out;
  for (const auto& [key, call] : calls_) out.push_back(row_of(*call));
  std::sort(out.begin(), out.end(),
            [](const CallRow& a, const CallRow& b) { return a.times.opened > b.times.opened; });
  out.insert(out.end(), recent_.begin(), recent_.end());
  return out;
}

}  // namespace sluice::agent
