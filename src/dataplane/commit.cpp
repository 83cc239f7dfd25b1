#include <rte_ring_elem.h>

#include "base/prefetch.h"
#include "crypto/hash.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;
using fabric::ReplayVerdict;

constexpr uint64_t kChallengeSlotMs = 5000;

// So many packets in a row through one other worker, and control is asked to move the agent there.
constexpr uint32_t kRunToMove = 256;

// The first authentic packet of a session confirms it; control then makes it the one to send on.
void report_confirmation(Context& c, const Slot& s) noexcept {
  fabric::Session& session = *s.session;
  if (session.state.load(std::memory_order_relaxed) !=
          uint32_t(fabric::SessionState::kUnconfirmed) ||
      session.reported_generation == session.generation) {
    return;
  }
  if (tell(c, fabric::Event::Kind::kConfirmed, s.session_index, session.generation)) {
    session.reported_generation = session.generation;
  }
}

// Only packets that committed count towards moving an agent: a forger cannot.
void note_arrival(Context& c, fabric::Agent& agent, uint32_t index, unsigned received_by) noexcept {
  if (received_by == c.worker) {
    agent.stray_run = 0;
    return;
  }
  if (agent.stray_worker != received_by) agent.stray_run = 0;
  agent.stray_worker = received_by;
  if (++agent.stray_run % kRunToMove == 0) {
    (void)tell(c, fabric::Event::Kind::kWantsMove, index, received_by);
  }
}

}  // namespace

bool tell(Context& c, fabric::Event::Kind kind, uint32_t subject, uint32_t detail) noexcept {
  fabric::Event e{kind, subject, detail, c.worker};
  return rte_ring_sp_enqueue_elem(c.mailboxes.of(c.worker).events.get(), &e, sizeof e) == 0;
}

uint64_t challenge_value(const Context& c, uint32_t session, const wire::PathHeader& path,
                         unsigned slots_ago) noexcept {
  ByteArray<sizeof(wire::PathHeader) + 16> input;
  std::memcpy(input.data(), &path, sizeof path);
  uint8_t* rest = input.data() + sizeof path;
  store_le<uint64_t>(rest, c.now / c.clock.ticks_from_ms(kChallengeSlotMs) - slots_ago);
  store_le<uint32_t>(rest + 8, session);
  store_le<uint32_t>(rest + 12, c.arena.sessions()[session].generation);
  return crypto::siphash(take<16>(c.arena.relay().challenge_key), input);
}

bool commit(Context& c, Burst& b) noexcept {
  bool challenges = false;
  const Tables t = c.tables;
  const unsigned worker = c.worker;
  for (Slot& s : b) {
    if (!s.at(Next::kCommit)) continue;
    fabric::Session& session = *s.session;
    fabric::Agent& agent = t.agents[session.agent];
    if (agent.owner.load(std::memory_order_acquire) != worker) {
      s.next = Next::kHandover;
      continue;
    }
    bool highest = false;
    switch (s.window->commit(s.sequence, highest)) {
      case ReplayVerdict::kFresh:
        break;
      case ReplayVerdict::kReplay:
        s.die(DropReason::kReplay);
        continue;
      case ReplayVerdict::kTooOld:
        s.die(DropReason::kTooOld);
        continue;
    }
    agent.packets.add(1);
    agent.bytes.add(s.size);
    note_arrival(c, agent, session.agent, s.received_by);
    report_confirmation(c, s);
    s.next = Next::kFrame;
    // What `authorize` will load first.
    const uint32_t label = load_le<uint32_t>(s.outer + wire::kDataRegion + 4);
    if (const uint32_t slot = wire::label_slot(label); slot < t.edge_count) {
      prefetch(&t.edges[slot]);
      prefetch(&t.edges[slot].packets);
    }
    if (s.from_endpoint && !s.new_mac) [[likely]] {
      continue;
    }
    if (!highest || s.lane != 0) continue;
    if (s.new_mac) session.set_endpoint(s.path());
    if (!s.from_endpoint && c.now - session.last_challenge >= c.clock.hz()) {
      session.last_challenge = c.now;
      s.challenge = challenges = true;
    }
  }
  return challenges;
}

}  // namespace sluice::dataplane
