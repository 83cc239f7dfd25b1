#include <rte_ring_elem.h>

#include "crypto/hash.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;
using fabric::ReplayVerdict;

constexpr uint64_t kChallengeSlotMs = 5000;

// The first authentic packet of a session confirms it; control then makes it the one to send on.
void report_confirmation(Context& c, const Slot& s) noexcept {
  fabric::Session& session = *s.session;
  if (session.reported_generation == session.generation) return;
  fabric::Event e{fabric::Event::Kind::kConfirmed, s.session_index, session.generation, c.worker};
  if (rte_ring_sp_enqueue_elem(c.mailboxes.of(c.worker).events.get(), &e, sizeof e) == 0) {
    session.reported_generation = session.generation;
  }
}

}  // namespace

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

void commit(Context& c, Burst& b) noexcept {
  for (Slot& s : b) {
    if (!s.at(Next::kCommit)) continue;
    fabric::Session& session = *s.session;
    bool highest = false;
    switch (c.arena.window(s.session_index, s.lane).commit(s.sequence, highest)) {
      case ReplayVerdict::kFresh:
        break;
      case ReplayVerdict::kReplay:
        s.die(DropReason::kReplay);
        continue;
      case ReplayVerdict::kTooOld:
        s.die(DropReason::kTooOld);
        continue;
    }
    session.packets_in.add(1);
    session.bytes_in.add(s.size);
    report_confirmation(c, s);
    s.next = Next::kFrame;
    if (s.new_mac && highest && s.lane == 0) session.endpoint.write(s.path);
    if (!s.from_endpoint && highest && s.lane == 0 &&
        c.now - session.last_challenge >= c.clock.hz()) {
      session.last_challenge = c.now;
      s.challenge = true;
    }
  }
}

}  // namespace sluice::dataplane
