#include <rte_mbuf.h>

#include "base/prefetch.h"
#include "dataplane/checksum.h"
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
    if (other->session == s.session && !other->from_endpoint && other->at(Next::kCommit)) ++before;
  }
  return before < kRoamingPerBurst;
}

// The session's first line answers for IPv4; IPv6's tag is a fold, so its endpoint has to agree.
void compare_source(const fabric::Session& session, Slot& s) noexcept {
  const wire::SourceTag from = wire::source_of(s.frame(), s.v6, s.port);
  const wire::SourceTag known{session.source_addresses.load(std::memory_order_relaxed),
                              session.source_mac_port.load(std::memory_order_relaxed),
                              session.source_nic.load(std::memory_order_relaxed)};
  // One after the other: nearly always all are equal.
  if (from.addresses == known.addresses && from.mac_port == known.mac_port &&
      from.nic == known.nic && (from.nic & wire::SourceTag::kV6) == 0) [[likely]] {
    s.from_endpoint = true;
    return;
  }
  s.from_endpoint = from.same_remote(known);
  if (s.from_endpoint && s.v6) {
    wire::PathHeader endpoint;
    s.from_endpoint = session.read_endpoint(endpoint) && wire::same_remote(endpoint, s.path());
  }
  s.new_mac = s.from_endpoint && from.mac_port != known.mac_port;
}

void lookup_one(const Tables& t, uint64_t now, Burst& b, Slot& s, unsigned& found) noexcept {
  const uint16_t sealed_length = load_le<uint16_t>(s.outer + 2);
  const wire::Seal seal = wire::seal_of(sealed_length, s.size);
  if (seal == wire::Seal::kMalformed) return s.die(DropReason::kMalformed);
  if (s.session == nullptr) return s.die(DropReason::kUnknownReceiver);
  fabric::Session& session = *s.session;
  if (session.state.load(std::memory_order_acquire) == uint32_t(fabric::SessionState::kFree)) {
    return s.die(DropReason::kUnknownReceiver);
  }
  if (now >= session.expires) return s.die(DropReason::kSessionExpired);
  // At most as many as there are windows, so from here on it has one.
  if (s.lane >= session.lanes_in) return s.die(DropReason::kBadLane);
  switch (s.window->check(s.sequence)) {
    case ReplayVerdict::kFresh:
      break;
    case ReplayVerdict::kReplay:
      return s.die(DropReason::kReplay);
    case ReplayVerdict::kTooOld:
      return s.die(DropReason::kTooOld);
  }
  s.header_seal = seal == wire::Seal::kHeader;
  compare_source(session, s);
  if (!s.from_endpoint && !roaming_allowed(b, s)) return s.die(DropReason::kRoamBudget);
  if (s.header_seal) keep_payload_sum(s);
  const fabric::Agent* agent = &t.agents[session.agent];
  prefetch(agent);
  prefetch(&agent->packets);
  s.next = Next::kCommit;
  b.work.put(found++, s, session.key_in, session.salt_in);
}

}  // namespace

void lookup(Context& c, Burst& b) noexcept {
  const Tables t = c.tables;
  const uint64_t now = c.now;
  unsigned found = 0;
  for (Slot& s : b) {
    if (s.at(Next::kOpen)) lookup_one(t, now, b, s, found);
  }
  b.work.count = found;
}

}  // namespace sluice::dataplane
