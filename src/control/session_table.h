// Session slots: taken, filled, published once, retired, and reclaimed after a grace period. Owned
// by the control thread; workers see the arena's records only.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "crypto/noise.h"
#include "fabric/arena.h"
#include "fabric/rcu.h"

namespace sluice::control {

using HelloDigest = ByteArray<32>;

// Control's side of one session.
struct SessionEntry {
  uint32_t agent = fabric::kNone;
  bool confirmed = false;
  uint64_t began = 0;     // ticks
  uint64_t began_ms = 0;  // Unix
  uint64_t expires = 0;   // ticks
  uint32_t generation = 0;
  bool is_rekey = false;
  HelloDigest hello{};  // of the HELLO that made it, to answer its repetition alike
  Buffer welcome;       // kept until confirmed
};

struct NewSession {
  uint32_t agent;
  uint32_t peer_index;  // the agent's receiver index
  const crypto::NoiseKeys* keys;
  wire::PathHeader path;
  HelloDigest hello;
  bool is_rekey;
  uint64_t trust_ends_ms = 0;  // Unix: of the trust that carries it; 0: no end
};

class SessionTable {
 public:
  SessionTable(fabric::Arena& arena, fabric::Qsbr& qsbr, const Clock& clock, uint32_t life_s,
               uint32_t unconfirmed_s, uint8_t lanes_in);

  // A slot that `publish` will use next; none when all are taken.
  std::optional<uint32_t> next_free() const;
  // Fills and publishes it; an earlier unconfirmed session of the agent is retired.
  void publish(uint32_t slot, const NewSession& session);
  void keep_welcome(uint32_t slot, Buffer welcome) {
    entries_.at(slot).welcome = std::move(welcome);
  }
  // Answer to a byte-identical HELLO of an unconfirmed session.
  const SessionEntry* by_hello(const HelloDigest& hello) const;
  uint32_t slot_of(const HelloDigest& hello) const { return by_hello_.at(hello); }

  // The worker saw its first authentic packet. False: the slot has moved on.
  bool confirm(uint32_t slot, uint32_t generation);
  // Unpublishes every session of the agent. Keys are wiped by the reclaim after the grace period.
  void retire_agent(uint32_t agent);

  // Expiry, and reclaiming of what has passed its grace period. Cheap when nothing is due.
  void poll();
  // True once nothing waits for a grace period.
  bool reclaimed() const { return retired_.empty(); }

  const std::map<uint32_t, SessionEntry>& entries() const { return entries_; }
  size_t free_slots() const { return free_.size(); }
  bool has_session(uint32_t agent) const { return of_agent_.contains(agent); }

 private:
  void retire(uint32_t slot);
  void limit_confirmed(uint32_t agent);

  fabric::Arena& arena_;
  fabric::Qsbr& qsbr_;
  const Clock& clock_;
  const uint64_t life_;
  const uint64_t unconfirmed_life_;
  const uint8_t lanes_in_;
  std::map<uint32_t, SessionEntry> entries_;
  std::multimap<uint32_t, uint32_t> of_agent_;
  std::map<HelloDigest, uint32_t> by_hello_;  // unconfirmed ones
  std::deque<uint32_t> free_;
  struct Retired {
    uint32_t slot;
    uint64_t token;
  };
  std::deque<Retired> retired_;
  std::multimap<uint64_t, std::pair<uint32_t, uint32_t>> due_;  // ticks -> slot, generation
};

}  // namespace sluice::control
