#include "control/session_table.h"

#include <algorithm>

#include "crypto/hash.h"

namespace sluice::control {

using fabric::Session;
using fabric::SessionState;

namespace {

// The one to send on and the one before, which still receives: no agent fills the table alone.
constexpr unsigned kMaxConfirmed = 2;

}  // namespace

SessionTable::SessionTable(fabric::Arena& arena, fabric::Qsbr& qsbr, const Clock& clock,
                           uint32_t life_s, uint32_t unconfirmed_s, uint8_t lanes_in)
    : arena_(arena),
      qsbr_(qsbr),
      clock_(clock),
      life_(clock.ticks_from_ms(life_s * 1000ull)),
      unconfirmed_life_(clock.ticks_from_ms(unconfirmed_s * 1000ull)),
      lanes_in_(lanes_in) {
  // Slot 0 is nobody's: receiver index 0 in a HELLO means "no session".
  for (uint32_t i = 1; i < arena.sizes().sessions; ++i) free_.push_back(i);
}

std::optional<uint32_t> SessionTable::next_free() const {
  return free_.empty() ? std::nullopt : std::optional(free_.front());
}

void SessionTable::publish(uint32_t slot, const NewSession& n) {
  for (auto [it, end] = of_agent_.equal_range(n.agent); it != end; ++it) {
    if (!entries_.at(it->second).confirmed) {
      retire(it->second);
      break;
    }
  }
  free_.pop_front();
  Session& s = arena_.sessions()[slot];
  s.agent = n.agent;
  s.peer_index = n.peer_index;
  s.generation += 1;
  s.lanes_in = lanes_in_;
  const uint64_t now = clock_.ticks();
  s.expires = now + life_;
  if (n.trust_ends_ms != 0) {
    const uint64_t unix_ms = clock_.unix_ms();
    const uint64_t left_ms = n.trust_ends_ms > unix_ms ? n.trust_ends_ms - unix_ms : 0;
    s.expires = std::min(s.expires, now + clock_.ticks_from_ms(left_ms));
  }
  s.last_ping = 0;
  s.last_challenge = 0;
  s.control_frames = 0;
  s.control_since = 0;
  s.last_rekey = 0;
  crypto::aead().expand(n.keys->initiator_to_responder.data(), s.key_in);
  crypto::aead().expand(n.keys->responder_to_initiator.data(), s.key_out);
  uint8_t salts[8];
  crypto::hkdf_sha256(n.keys->hash, "sluice/1 salts", salts);
  std::memcpy(s.salt_in, salts, 4);
  std::memcpy(s.salt_out, salts + 4, 4);
  s.set_endpoint(n.path);
  // Windows and send counters are zero: a slot is reclaimed with them cleared.
  s.state.store(uint32_t(SessionState::kUnconfirmed), std::memory_order_release);

  SessionEntry entry;
  entry.agent = n.agent;
  entry.began = now;
  entry.began_ms = clock_.unix_ms();
  entry.expires = s.expires;
  entry.generation = s.generation;
  entry.is_rekey = n.is_rekey;
  entry.hello = n.hello;
  by_hello_[n.hello] = slot;
  entries_[slot] = std::move(entry);
  of_agent_.emplace(n.agent, slot);
  due_.emplace(now + unconfirmed_life_, std::pair(slot, s.generation));
  due_.emplace(s.expires, std::pair(slot, s.generation));
}

const SessionEntry* SessionTable::by_hello(const HelloDigest& hello) const {
  const auto it = by_hello_.find(hello);
  return it == by_hello_.end() ? nullptr : &entries_.at(it->second);
}

bool SessionTable::confirm(uint32_t slot, uint32_t generation) {
  const auto it = entries_.find(slot);
  if (it == entries_.end() || it->second.generation != generation || it->second.confirmed)
    return false;
  it->second.confirmed = true;
  limit_confirmed(it->second.agent);
  by_hello_.erase(it->second.hello);
  it->second.welcome.clear();
  arena_.sessions()[slot].state.store(uint32_t(SessionState::kConfirmed),
                                      std::memory_order_release);
  arena_.agents()[it->second.agent].session.store(slot, std::memory_order_release);
  return true;
}

void SessionTable::limit_confirmed(uint32_t agent) {
  unsigned confirmed = 0;
  uint32_t oldest = fabric::kNone;
  for (auto [it, end] = of_agent_.equal_range(agent); it != end; ++it) {
    const SessionEntry& e = entries_.at(it->second);
    if (!e.confirmed) continue;
    ++confirmed;
    if (oldest == fabric::kNone || e.began < entries_.at(oldest).began) oldest = it->second;
  }
  if (confirmed > kMaxConfirmed) retire(oldest);
}

void SessionTable::retire(uint32_t slot) {
  const auto it = entries_.find(slot);
  if (it == entries_.end()) return;
  const SessionEntry& e = it->second;
  fabric::Agent& agent = arena_.agents()[e.agent];
  if (agent.session.load(std::memory_order_relaxed) == slot) {
    agent.session.store(fabric::kNone, std::memory_order_release);
  }
  arena_.sessions()[slot].state.store(uint32_t(SessionState::kFree), std::memory_order_release);
  if (!e.confirmed) by_hello_.erase(e.hello);
  for (auto [i, end] = of_agent_.equal_range(e.agent); i != end; ++i) {
    if (i->second == slot) {
      of_agent_.erase(i);
      break;
    }
  }
  entries_.erase(it);
  retired_.push_back({slot, qsbr_.start()});
}

void SessionTable::retire_agent(uint32_t agent) {
  std::vector<uint32_t> slots;
  for (auto [it, end] = of_agent_.equal_range(agent); it != end; ++it) slots.push_back(it->second);
  for (const uint32_t slot : slots) retire(slot);
}

void SessionTable::poll() {
  const uint64_t now = clock_.ticks();
  while (!due_.empty() && due_.begin()->first <= now) {
    const auto [slot, generation] = due_.begin()->second;
    due_.erase(due_.begin());
    const auto it = entries_.find(slot);
    if (it == entries_.end() || it->second.generation != generation) continue;
    const bool expired = now >= it->second.expires;
    if (expired || !it->second.confirmed) retire(slot);
  }
  while (!retired_.empty() && qsbr_.passed(retired_.front().token)) {
    const uint32_t slot = retired_.front().slot;
    retired_.pop_front();
    Session& s = arena_.sessions()[slot];
    crypto::wipe(&s.key_in, sizeof s.key_in);
    crypto::wipe(&s.key_out, sizeof s.key_out);
    for (uint32_t l = 0; l < arena_.sizes().lanes_in; ++l) arena_.window(slot, l).reset();
    for (uint32_t w = 0; w < arena_.sizes().workers; ++w) arena_.lane_counter(w, slot) = 0;
    free_.push_back(slot);
  }
}

}  // namespace sluice::control
