#include "bench/callers.h"

#include <rte_mbuf.h>

#include "bench/feeder.h"
#include "control/prepared_keys.h"
#include "wire/frame.h"

namespace sluice::bench {
namespace {

// Signed well ahead of its use: the relay allows thirty seconds to either side.
constexpr uint64_t kAheadMs = 25'000;
constexpr uint64_t kLifeMs = 60'000;

}  // namespace

std::vector<crypto::Identity> Callers::identities(uint32_t n) {
  std::vector<crypto::Identity> out;
  out.reserve(n);
  for (uint32_t i = 0; i < n; ++i) out.push_back(crypto::Identity::generate());
  return out;
}

std::vector<crypto::PublicKey> Callers::public_keys(const std::vector<crypto::Identity>& from) {
  std::vector<crypto::PublicKey> out;
  out.reserve(from.size());
  for (const crypto::Identity& i : from) out.push_back(i.public_key());
  return out;
}

Callers::Callers(InMemoryRelay& relay, const std::vector<crypto::Identity>& identities)
    : relay_(relay),
      identities_(identities),
      next_call_(identities.size(), relay.clock().unix_ms() << 20) {}

bool Callers::prepare_keys() {
  control::PreparedKeys keys(relay_.arena(), relay_.plane().qsbr(), relay_.clock());
  const auto n = static_cast<uint32_t>(identities_.size());
  for (uint32_t i = 0; i < n; ++i) {
    keys.met(i, identities_[i].public_key());
    // It paces itself, as beside handshakes, and takes so many at most.
    while (i % 1024 == 1023 && keys.backlog()) (void)keys.poll();
  }
  while (keys.backlog()) (void)keys.poll();
  return keys.counts().ready == n;
}

SignedCall Callers::sign(uint32_t caller, bool accepted) {
  SignedCall out;
  out.caller = caller;
  const uint32_t callee = relay_.agent(caller).peer;
  const auto agents = relay_.arena().agents();
  wire::Envelope& e = out.envelope;
  crypto::random_bytes(e.trace);
  e.epoch = relay_.arena().relay().epoch;
  e.counter = next_call_[caller]++;
  crypto::random_bytes(e.idempotency);
  store_le(e.idempotency, next_key_++);
  e.issued_ms = relay_.clock().unix_ms() + kAheadMs;
  e.expires_ms = e.issued_ms + kLifeMs;
  e.audience = agents[callee].address;
  e.issuer = agents[caller].address;
  e.tenant = static_cast<uint16_t>(agents[caller].tenant);
  e.capability = static_cast<uint8_t>(wire::Capability::kToolCall);
  e.protocol = static_cast<uint8_t>(wire::CallProtocol::kMcp);
  const auto* text = reinterpret_cast<const uint8_t*>(&e);
  const crypto::Signature mine =
      identities_[caller].sign(crypto::kLabelCall, {{text, wire::kEnvelopeSigned}});
  std::copy(mine.begin(), mine.end(), e.signature);
  if (!accepted) return out;
  wire::CallAccept& a = out.accept;
  a.epoch = e.epoch;
  a.counter = e.counter;
  a.time_ms = e.issued_ms;
  ByteArray<wire::kAcceptSigned> agreed;
  wire::write_accept_signed(e, a, agreed);
  const crypto::Signature theirs = identities_[callee].sign(crypto::kLabelAccept, {agreed});
  std::copy(theirs.begin(), theirs.end(), a.signature);
  return out;
}

void Callers::seal(uint32_t from, const wire::FrameHeader& frame, Bytes extension, size_t payload,
                   SealedFrame& out) {
  AgentSide& a = relay_.agent(from);
  const size_t udp = wire::kDataMin + extension.size() + payload;
  out.size = static_cast<uint16_t>(kOuterHeaders + udp);
  relay_.write_headers(from, out.bytes, udp);
  uint8_t* outer = out.bytes + kOuterHeaders;
  wire::write_outer(outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion,
                            static_cast<uint16_t>(udp - wire::kDataRegion), a.session,
                            a.next.fetch_add(1, std::memory_order_relaxed)});
  wire::write_frame(outer + wire::kDataRegion, frame);
  std::copy(extension.begin(), extension.end(), outer + wire::kDataMin);
  std::memset(outer + wire::kDataMin + extension.size(), 0x5a, payload);
  SealShape s;
  shape(wire::Seal::kFull, a.send, a.send_salt, outer, udp, s);
  crypto::aead().seal({&s.op, 1});
}

void Callers::open(const SignedCall& call, SealedFrame& out) {
  const auto* text = reinterpret_cast<const uint8_t*>(&call.envelope);
  seal(call.caller,
       {uint8_t(wire::FrameType::kCallOpen), 0, wire::kEnvelopeSize,
        relay_.agent(call.caller).label, call.envelope.counter},
       {text, wire::kEnvelopeSize}, 0, out);
}

void Callers::accept(const SignedCall& call, SealedFrame& out) {
  const uint32_t callee = relay_.agent(call.caller).peer;
  const auto* text = reinterpret_cast<const uint8_t*>(&call.accept);
  seal(callee,
       {uint8_t(wire::FrameType::kCallAccept), wire::kFlagReply, wire::kCallAcceptSize,
        relay_.agent(callee).label, call.envelope.counter},
       {text, wire::kCallAcceptSize}, 0, out);
}

void Callers::close(const SignedCall& call, bool by_callee, SealedFrame& out) {
  const uint32_t from = by_callee ? relay_.agent(call.caller).peer : call.caller;
  const uint8_t flags = by_callee ? wire::kFlagReply : 0;
  const uint8_t nothing[wire::kCallCloseSize] = {};
  seal(from,
       {uint8_t(wire::FrameType::kCallClose), flags, wire::kCallCloseSize, relay_.agent(from).label,
        call.envelope.counter},
       nothing, 0, out);
}

void Callers::data(const SignedCall& call, size_t payload, SealedFrame& out) {
  seal(call.caller,
       {uint8_t(wire::FrameType::kCallData), 0, 0, relay_.agent(call.caller).label,
        call.envelope.counter},
       {}, payload, out);
}

void Callers::datagram(uint32_t from, size_t payload, SealedFrame& out) {
  seal(from, {uint8_t(wire::FrameType::kDatagram), 0, 0, relay_.agent(from).label, 0}, {}, payload,
       out);
}

rte_mbuf* Callers::buffer_with(const SealedFrame& frame) {
  rte_mbuf* m = rte_pktmbuf_alloc(relay_.plane().pool());
  if (m == nullptr) return nullptr;
  std::memcpy(rte_pktmbuf_append(m, frame.size), frame.bytes, frame.size);
  return m;
}

}  // namespace sluice::bench
