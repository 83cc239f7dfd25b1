#include "agent/calls.h"

#include <algorithm>

#include <fmt/format.h>

#include "crypto/hash.h"

namespace sluice::agent {
namespace {

using wire::Envelope;
using wire::FrameType;

constexpr size_t kMostUnknown = 256;
constexpr uint64_t kUnknownEveryMs = 200;

template <typename T>
Bytes signed_part(const T& value, size_t size) {
  return bytes_of(value).first(size);
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
  return {c.peer(),      c.envelope(), c.is_caller(),  c.phase(),          c.ended_as(),
          c.denied_as(), c.status(),   c.bytes_sent(), c.bytes_received(), c.times()};
}

Calls::Calls(const crypto::Identity* identity, CallHooks hooks, std::function<uint64_t()> random)
    : identity_(identity),
      hooks_(std::move(hooks)),
      random_(std::move(random)),
      run_(static_cast<uint32_t>(random_()) | 1) {}

// Calls refer to their owner to the last.
Calls::~Calls() {
  peers_.clear();
}

Calls::Peer& Calls::peer_of(const crypto::PublicKey& peer) {
  return peers_[peer];
}

CallStreams& Calls::streams_of(const crypto::PublicKey& key) {
  Peer& peer = peer_of(key);
  if (!peer.streams) {
    const bool lower = identity_->public_key() < key;
    peer.streams = std::make_unique<CallStreams>(
        lower ? AssociationPart::kConnects : AssociationPart::kListens, run_,
        StreamHooks{[this, key](const CallName& name) {
                      Call* call = find(key, name);
                      return call != nullptr && call->live() ? call : nullptr;
                    },
                    [this, key](const Carrier& carrier, Bytes packet) {
                      hooks_.data(key, carrier, MessageKind::kPacket, packet);
                    },
                    hooks_.room, [this](Call& call) { call.on_lost(hooks_.now()); }});
  }
  return *peer.streams;
}

Call* Calls::find(const crypto::PublicKey& peer, const CallName& name) {
  const auto p = peers_.find(peer);
  if (p == peers_.end()) return nullptr;
  const auto it = p->second.calls.find(name);
  return it == p->second.calls.end() ? nullptr : it->second.get();
}

Call* Calls::mine(uint64_t id) {
  const auto it = own_.find(id);
  return it == own_.end() ? nullptr : find(it->second, {id, true});
}

Call* Calls::from(const crypto::PublicKey& peer, uint64_t id) {
  return find(peer, {id, false});
}

Call& Calls::add(const crypto::PublicKey& peer, std::unique_ptr<Call> call) {
  Call& out = *call;
  if (out.is_caller()) own_[out.id()] = peer;
  if (out.live()) ++live_[out.is_caller()];
  ++kept_;
  peer_of(peer).calls[out.name()] = std::move(call);
  changed(out);
  return out;
}

void Calls::connected(uint64_t epoch, VirtualAddress own) {
  address_ = own;
  if (epoch_ != epoch) {
    unverified_.clear();
    credentials_.clear();
    for (auto& [key, peer] : peers_) {
      for (auto& [name, call] : peer.calls) {
        call->end(CallEnd::kRelayRestarted, uint16_t(CallStatus::kSilent));
      }
      // The peer sees the new epoch as well, and begins anew as well.
      peer.streams.reset();
      peer.seen = {};
    }
  }
  epoch_ = epoch;
}

void Calls::edge_ended(const crypto::PublicKey& key) {
  std::erase_if(unverified_, [&](const Unverified& u) { return u.peer.identity == key; });
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  for (auto& [name, call] : it->second.calls) {
    call->end(CallEnd::kEdgeEnded, uint16_t(CallStatus::kSilent));
  }
  it->second.streams.reset();
}

// --- What calls ask of it ----------------------------------------------------------------------

void Calls::changed(Call& call) {
  const uint64_t at = call.deadline();
  // One that fires early finds nothing due and is set anew.
  if (call.timer) {
    if ((*call.timer)->first <= at) return;
    timers_.erase(*call.timer);
  }
  call.timer = timers_.emplace(at, &call);
}

void Calls::ready(Call& call) {
  streams_of(call.peer()).ready(call);
  note_busy(call.peer());
}

void Calls::note_busy(const crypto::PublicKey& key) {
  Peer& peer = peer_of(key);
  if (peer.listed || !peer.streams || !peer.streams->wants()) return;
  peer.listed = true;
  busy_.push_back(key);
}

void Calls::notify(Call& call) {
  if (call.told) return;
  call.told = true;
  told_.push_back(&call);
}

void Calls::opened(Call& call) {
  streams_of(call.peer()).carries(call.name());
  note_busy(call.peer());
}

void Calls::ended(Call& call) {
  --live_[call.is_caller()];
  Peer& peer = peer_of(call.peer());
  if (!peer.streams) return;
  peer.streams->forget(call.name(), call.out());
  note_busy(call.peer());
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
  if (live_[1] >= kMostLive || kept_ >= kMostKept || held_ + request.data.size() > kMostHeld) {
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
  const uint64_t life = std::min({request.timeout_ms, request.envelope_ms, kLongestEnvelopeMs});
  e.expires_ms = now.unix_ms + std::max<uint64_t>(life, 1);
  e.audience = peer.address.to_u64();
  e.issuer = address_.to_u64();
  e.tenant = address_.tenant;
  e.service = request.service;
  e.capability = uint8_t(request.capability);
  e.protocol = uint8_t(request.protocol);
  if (auto ok = set_scopes(e, request.scopes); !ok) return tl::unexpected(ok.error());
  e.grant = grant_of(peer);

  const bool ended = request.user == nullptr || request.ended;
  const size_t here = std::min(request.data.size(), kFirstData);
  ByteArray<wire::kStreamKey> key;
  crypto::random_bytes(key);
  Buffer first;
  const bool whole = ended && here == request.data.size();
  wire::write_stream({.flags = uint8_t(wire::kStreamBegin | (whole ? wire::kStreamEnd : 0)),
                      .call_id = e.counter,
                      .key = key,
                      .data = Bytes(request.data).first(here)},
                     first);
  const auto commitment = commitment_of(key, first);
  std::memcpy(e.commitment, commitment.data(), sizeof e.commitment);
  const auto signature =
      identity_->sign(crypto::kLabelCall, {signed_part(e, wire::kEnvelopeSigned)});
  std::memcpy(e.signature, signature.data(), sizeof e.signature);

  Call& call = add(peer.identity, std::make_unique<Call>(*this, peer.identity, e, std::move(first),
                                                         request.timeout_ms, random_(), now));
  request.data.erase(request.data.begin(), request.data.begin() + std::ptrdiff_t(here));
  if (request.user != nullptr) {
    call.set_user(request.user);
    if (!request.data.empty()) call.write(request.data);
    if (request.ended) call.end_writing(0);
  } else {
    call.send_whole(std::move(request.data));
  }
  call.start(now);
  ++counters_.opened;
  return e.counter;
}

// --- Frames ------------------------------------------------------------------------------------

void Calls::receive(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension,
                    Now now) {
  const bool reply = (frame.flags & wire::kFlagReply) != 0;
  const auto type = static_cast<FrameType>(frame.type);
  if (type == FrameType::kCallOpen) return on_open(peer, frame, extension, now);
  if (type == FrameType::kCredential) return on_credential(peer, frame, extension, now);
  // A denial is the relay's word about this agent's own call.
  const bool own = reply || type == FrameType::kCallDeny;
  Call* call = find(peer.identity, {frame.call_id, own});
  if (call == nullptr) {
    ++counters_.dropped_frame;
    return;
  }
  if (type == FrameType::kCallAccept && reply && extension.size() == wire::kCallAcceptSize) {
    return on_accept(peer, *call, load_le<wire::CallAccept>(extension.data()), now);
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
  if (live_[0] >= kMostLive || held_ >= kMostHeld) return AcceptStatus::kBusy;
  return hooks_.admit(peer.identity, e);
}

// With a call that was taken up it comes again for nothing.
void Calls::on_credential(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension,
                          Now now) {
  if (find(peer.identity, {frame.call_id, false}) != nullptr) return;
  if (!credentials_.add(peer.identity, frame.call_id, extension, now.mono_ms)) {
    ++counters_.dropped_frame;
  }
}

void Calls::on_open(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension,
                    Now now) {
  if ((frame.flags & ~wire::kFlagCredentialed) != 0 || extension.size() != wire::kEnvelopeSize) {
    ++counters_.dropped_frame;
    return;
  }
  const auto e = load_le<Envelope>(extension.data());
  if (Call* call = find(peer.identity, {frame.call_id, false})) {
    if (std::memcmp(&call->envelope(), &e, sizeof e) == 0) return call->on_open_again(now);
    ++counters_.dropped_open;
    return;
  }
  // The relay has checked all of it. This agent believes the peer's signature alone.
  const bool ours = wire::well_formed(e) && e.counter == frame.call_id && e.epoch == epoch_ &&
                    e.audience == address_.to_u64() && e.issuer == peer.address.to_u64() &&
                    e.tenant == peer.address.tenant;
  if (!ours || kept_ >= kMostKept || peer_of(peer.identity).seen.seen(e.counter)) {
    ++counters_.dropped_open;
    return;
  }
  wait_for_verdict(peer, crypto::kLabelCall, signed_part(e, wire::kEnvelopeSigned),
                   {peer,
                    e,
                    std::nullopt,
                    {},
                    take<64>(e.signature),
                    (frame.flags & wire::kFlagCredentialed) != 0},
                   now);
}

void Calls::on_accept(const PeerEdge& peer, Call& call, const wire::CallAccept& accept, Now now) {
  if (!call.awaits(accept)) {
    ++counters_.dropped_accept;
    return;
  }
  ByteArray<wire::kAcceptSigned> text;
  wire::write_accept_signed(call.envelope(), accept, text);
  wait_for_verdict(peer, crypto::kLabelAccept, text,
                   {peer, call.envelope(), accept, {}, take<64>(accept.signature), false}, now);
}

// --- Signatures: one to eight cost the same
// --------------------------------------------------------

void Calls::wait_for_verdict(const PeerEdge& peer, const crypto::Label& label, Bytes text,
                             Unverified what, Now now) {
  what.text.assign(label.begin(), label.end());
  what.text.insert(what.text.end(), text.begin(), text.end());
  unverified_.push_back(std::move(what));
  Peer& p = peer_of(peer.identity);
  if (!std::exchange(p.prepare_tried, true)) {
    p.prepared = std::make_unique<crypto::PreparedKey>();
    crypto::PreparedKey* out = p.prepared.get();
    if (verifier_.prepare({&peer.identity, 1}, {&out, 1}) == 0) p.prepared.reset();
  }
  if (unverified_.size() == crypto::Ed25519BatchVerifier::kMaxJobs) verify(now);
}

void Calls::verify(Now now) {
  if (unverified_.empty()) return;
  const std::vector<Unverified> batch = std::exchange(unverified_, {});
  std::vector<crypto::VerifyJob> jobs;
  for (const Unverified& u : batch) {
    jobs.push_back(
        {&u.peer.identity, u.text, &u.signature, peer_of(u.peer.identity).prepared.get()});
  }
  const uint64_t good = verifier_.verify(jobs);
  for (size_t i = 0; i < batch.size(); ++i) {
    const Unverified& u = batch[i];
    if ((good >> i & 1) == 0) {
      ++(u.accept ? counters_.dropped_accept : counters_.dropped_open);
    } else if (!u.accept) {
      take_open(u.peer, u.envelope, u.credentialed, now);
    } else if (Call* call = find(u.peer.identity, {u.envelope.counter, true})) {
      call->on_accept(*u.accept, now);
    }
  }
}

void Calls::take_open(const PeerEdge& peer, const wire::Envelope& e, bool credentialed, Now now) {
  // Its twin may have come in the same batch.
  if (Call* call = find(peer.identity, {e.counter, false})) return call->on_open_again(now);
  SeenCalls& seen = peer_of(peer.identity).seen;
  if (seen.seen(e.counter)) {
    ++counters_.dropped_open;
    return;
  }
  // Silence: its caller says it again, and the relay what belongs to it.
  CredentialInbox::Content credential;
  if (credentialed) {
    credential = credentials_.take(peer.identity, e.counter, now.mono_ms);
    if (!credential) {
      ++counters_.without_credential;
      return;
    }
  }
  seen.note(e.counter);
  wire::CallAccept accept{e.epoch, e.counter, uint16_t(judge(peer, e, now)), {}, now.unix_ms, {}};
  ByteArray<wire::kAcceptSigned> text;
  wire::write_accept_signed(e, accept, text);
  const auto signature = identity_->sign(crypto::kLabelAccept, {text});
  std::memcpy(accept.signature, signature.data(), sizeof accept.signature);
  Call& call = add(peer.identity, std::make_unique<Call>(*this, peer.identity, e, accept, now));
  call.set_credential(std::move(credential));
  call.start(now);
  if (accept.status != 0) return;
  ++counters_.served;
  if (CallUser* user = hooks_.user ? hooks_.user(call) : nullptr) {
    call.set_user(user);
  } else {
    call.collect();
  }
  notify(call);
  streams_of(peer.identity).take_orphans(call, now);
}

bool Calls::expects(const crypto::PublicKey& peer, const wire::FrameHeader& frame, Now now) {
  const bool own = (frame.flags & wire::kFlagReply) != 0;
  if (find(peer, {frame.call_id, own}) == nullptr) verify(now);
  if (find(peer, {frame.call_id, own}) != nullptr) return true;
  ++counters_.dropped_frame;
  say_unknown(peer, frame, now);
  return false;
}

// After a restart: the other side need not wait until it gives up.
void Calls::say_unknown(const crypto::PublicKey& peer, const wire::FrameHeader& frame, Now now) {
  const CallName name{frame.call_id, (frame.flags & wire::kFlagReply) != 0};
  const auto it = std::find_if(unknown_.begin(), unknown_.end(),
                               [&](const Unknown& u) { return u.name == name; });
  if (it == unknown_.end()) {
    if (unknown_.size() >= kMostUnknown) unknown_.pop_front();
    unknown_.push_back({name, now.mono_ms, now.mono_ms});
    return;
  }
  if (now.mono_ms < it->since_ms + kUnknownMs || now.mono_ms < it->last_ms + kUnknownEveryMs) {
    return;
  }
  it->last_ms = now.mono_ms;
  const wire::CallClose close{uint16_t(CallStatus::kUnknownCall), {}, 0};
  hooks_.frame(peer,
               {uint8_t(FrameType::kCallClose), uint8_t(frame.flags ^ wire::kFlagReply),
                uint16_t(wire::kCallCloseSize), 0, frame.call_id},
               bytes_of(close));
}

void Calls::on_message(const crypto::PublicKey& peer, const Carrier& carrier, MessageKind kind,
                       Bytes body, Now now) {
  Call* call = find(peer, {carrier.call_id, (carrier.flags & wire::kFlagReply) != 0});
  if (call == nullptr) {
    ++counters_.dropped_frame;
    return;
  }
  if (kind == MessageKind::kKeep) return call->on_keep(body, now);
  if (call->carries_data()) {
    call->heard(now);
  } else {
    call->on_keep({}, now);
  }
  streams_of(peer).on_packet(body, hooks_.packet_size(), now);
  note_busy(peer);
}

std::optional<Carrier> Calls::carrier_to(const crypto::PublicKey& peer,
                                         const Carrier* came_by) const {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || !it->second.streams) return std::nullopt;
  std::optional<CallName> asked;
  if (came_by != nullptr && came_by->is_call()) {
    asked = CallName{came_by->call_id, (came_by->flags & wire::kFlagReply) != 0};
  }
  return it->second.streams->carrier(asked);
}

// --- Time --------------------------------------------------------------------------------------

void Calls::tick(Now now) {
  Association::tick(now.mono_ms);
  credentials_.tick(now.mono_ms);
  while (!timers_.empty() && timers_.begin()->first <= now.mono_ms) {
    Call& call = *timers_.begin()->second;
    if (call.forgettable(now)) {
      forget(call);
      continue;
    }
    call.tick(now);
    timers_.erase(*call.timer);
    call.timer = timers_.emplace(std::max(call.deadline(), now.mono_ms + 1), &call);
  }
}

void Calls::forget(Call& call) {
  timers_.erase(*call.timer);
  if (call.told) std::erase(told_, &call);
  recent_.push_front(row_of(call));
  if (recent_.size() > kRecent) recent_.pop_back();
  if (call.is_caller()) own_.erase(call.id());
  --kept_;
  const crypto::PublicKey key = call.peer();
  const CallName name = call.name();
  peers_[key].calls.erase(name);
}

void Calls::tell(Now now) {
  while (!told_.empty()) {
    Call& call = *told_.front();
    told_.pop_front();
    call.tell(now);
  }
}

void Calls::pump(Now now) {
  verify(now);
  tell(now);
  for (size_t n = busy_.size(); n > 0; --n) {
    const crypto::PublicKey key = busy_.front();
    busy_.pop_front();
    Peer& peer = peer_of(key);
    peer.listed = false;
    if (!peer.streams) continue;
    const bool carried = peer.streams->carriers() > 0;
    const bool early = peer.streams->association() != nullptr && peer.streams->association()->up();
    if (hooks_.ready(key, carried) && (carried || early)) {
      peer.streams->pump(hooks_.packet_size(), now);
    }
    note_busy(key);
  }
  tell(now);
}

uint64_t Calls::deadline() const {
  const uint64_t at =
      std::min(timers_.empty() ? kNever : timers_.begin()->first, credentials_.deadline());
  return live() == 0 ? at : std::min(at, Association::deadline());
}

std::vector<CallRow> Calls::rows() const {
  std::vector<CallRow> out;
  for (const auto& [key, peer] : peers_) {
    for (const auto& [name, call] : peer.calls) out.push_back(row_of(*call));
  }
  std::sort(out.begin(), out.end(),
            [](const CallRow& a, const CallRow& b) { return a.times.opened > b.times.opened; });
  if (out.size() > kMostRows) out.resize(kMostRows);
  out.insert(out.end(), recent_.begin(), recent_.end());
  return out;
}

}  // namespace sluice::agent
