#include <rte_prefetch.h>

#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;
using fabric::ReplayVerdict;

// Packets from a source that is not their session's endpoint: this many a burst and session are
// opened, so that a forger who does not spoof the agent's address costs no decryption.
constexpr unsigned kRoamingPerBurst = 2;

bool roaming_allowed(const Burst& b, const Slot& s) noexcept {
  unsigned before = 0;
  for (const Slot* other = b.slots; other != &s; ++other) {
    if (other->session == s.session && !other->from_endpoint && other->at(Next::kOpen)) ++before;
  }
  return before < kRoamingPerBurst;
}

void lookup_one(Context& c, Burst& b, Slot& s) noexcept {
  const wire::OuterHeader h = wire::read_outer(s.outer);
  const wire::Seal seal = wire::seal_of(h.sealed_length, s.size);
  if (seal == wire::Seal::kMalformed) return s.die(DropReason::kMalformed);
  if (s.session == nullptr) return s.die(DropReason::kUnknownReceiver);
  fabric::Session& session = *s.session;
  if (session.state.load(std::memory_order_acquire) == uint32_t(fabric::SessionState::kFree)) {
    return s.die(DropReason::kUnknownReceiver);
  }
  if (c.now >= session.expires) return s.die(DropReason::kSessionExpired);
  s.lane = h.lane();
  s.sequence = h.sequence();
  if (s.lane >= session.lanes_in) return s.die(DropReason::kBadLane);
  switch (c.arena.window(s.session_index, s.lane).check(s.sequence)) {
    case ReplayVerdict::kFresh:
      break;
    case ReplayVerdict::kReplay:
      return s.die(DropReason::kReplay);
    case ReplayVerdict::kTooOld:
      return s.die(DropReason::kTooOld);
  }
  if (seal == wire::Seal::kHeader) return s.die(DropReason::kSealNotAllowed);

  wire::PathHeader endpoint;
  s.from_endpoint = session.endpoint.read(endpoint) && wire::same_remote(endpoint, s.path);
  s.new_mac = s.from_endpoint && !(endpoint == s.path);
  if (!s.from_endpoint && !roaming_allowed(b, s)) return s.die(DropReason::kRoamBudget);
  // The AEAD of the open stage needs the round keys (lines 0 to 3) and the last hash-key powers.
  for (size_t line : {0, 1, 2, 3, 13, 14, 15}) rte_prefetch1(session.key_in.opaque + line * 64);
}

}  // namespace

void lookup(Context& c, Burst& b) noexcept {
  const auto sessions = c.arena.sessions();
  for (Slot& s : b) {
    if (!s.at(Next::kOpen)) continue;
    s.session_index = wire::read_outer(s.outer).receiver;
    // Index 0 is never given out: in a HELLO it means "no session yet".
    if (s.session_index == 0 || s.session_index >= sessions.size()) continue;
    s.session = &sessions[s.session_index];
    rte_prefetch0(s.session);
    rte_prefetch0(&s.session->endpoint);
    rte_prefetch0(&c.arena.window(s.session_index, 0));
  }
  for (Slot& s : b) {
    if (s.at(Next::kOpen)) lookup_one(c, b, s);
  }
}

}  // namespace sluice::dataplane
