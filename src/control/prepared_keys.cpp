#include "control/prepared_keys.h"

#include <algorithm>

namespace sluice::control {
namespace {

constexpr size_t kAtOnce = crypto::Ed25519BatchVerifier::kMaxPrepare;

}  // namespace

PreparedKeys::PreparedKeys(fabric::Arena& arena, fabric::Qsbr& qsbr, const Clock& clock,
                           const crypto::lanes::Engine* engine, fabric::Qsbr* verifiers)
    : arena_(arena),
      qsbr_(qsbr),
      verifiers_(verifiers),
      clock_(clock),
      enabled_(engine != nullptr && !arena.prepared_keys().empty()),
      maker_(engine),
      slots_(arena.prepared_keys().size()),
      is_wanted_(arena.agents().size(), false),
      tokens_at_(clock.ticks()) {
  for (size_t i = slots_.size(); i > 0; --i) free_.push_back(static_cast<uint32_t>(i - 1));
}

const crypto::PreparedKey* PreparedKeys::find(uint32_t agent) const {
  const uint32_t slot = arena_.agents()[agent].prepared.load(std::memory_order_relaxed);
  return slot == fabric::kNone ? nullptr : &arena_.prepared_keys()[slot];
}

void PreparedKeys::met(uint32_t agent, const crypto::PublicKey& identity) {
  if (!enabled_) return;
  const uint32_t slot = arena_.agents()[agent].prepared.load(std::memory_order_relaxed);
  if (slot != fabric::kNone) {
    slots_[slot].used = true;
  } else if (!is_wanted_[agent] && wanted_.size() < kMaxWanted) {
    is_wanted_[agent] = true;
    wanted_.push_back({agent, identity});
  }
}

void PreparedKeys::refill() {
  const uint64_t now = clock_.ticks();
  tokens_ = std::min<double>(
      1, tokens_ + double(now - tokens_at_) * kGroupsPerSecond / double(clock_.hz()));
  tokens_at_ = now;
}

// Second chance: what was used since the hand last passed keeps its place.
void PreparedKeys::make_room(size_t slots) {
  for (size_t looked = 0; resting_.size() < slots && looked < 2 * slots_.size(); ++looked) {
    Slot& s = slots_[hand_];
    const auto at = static_cast<uint32_t>(hand_);
    hand_ = hand_ + 1 == slots_.size() ? 0 : hand_ + 1;
    if (s.agent == fabric::kNone) continue;
    if (s.used) {
      s.used = false;
      continue;
    }
    rest(at);
    ++evicted_;
  }
}

void PreparedKeys::rest(uint32_t slot) {
  Slot& s = slots_[slot];
  arena_.agents()[s.agent].prepared.store(fabric::kNone, std::memory_order_release);
  s.agent = fabric::kNone;
  s.token = qsbr_.start();
  resting_.push_back(slot);
}

void PreparedKeys::forget(uint32_t agent) {
  if (is_wanted_[agent]) {
    std::erase_if(wanted_, [&](const Wanted& w) { return w.agent == agent; });
    is_wanted_[agent] = false;
  }
  const uint32_t slot = arena_.agents()[agent].prepared.load(std::memory_order_relaxed);
  if (slot != fabric::kNone) rest(slot);
}

bool PreparedKeys::poll() {
  // A worker hands what it has read to a verifier within its round: both have let go of a key when
  // workers have passed, and then the verifiers.
  while (!resting_.empty()) {
    Slot& s = slots_[resting_.front()];
    if (!qsbr_.passed(s.token)) break;
    if (verifiers_ != nullptr) {
      if (s.verifiers_token == 0) s.verifiers_token = verifiers_->start();
      if (!verifiers_->passed(s.verifiers_token)) break;
      s.verifiers_token = 0;
    }
    free_.push_back(resting_.front());
    resting_.pop_front();
  }
  if (wanted_.empty()) return false;
  refill();
  if (tokens_ < 1) return false;
  const size_t wish = std::min(wanted_.size(), kAtOnce);
  if (free_.size() < wish) make_room(wish - free_.size());
  const size_t n = std::min(wish, free_.size());
  if (n == 0) return false;

  crypto::PublicKey keys[kAtOnce];
  crypto::PreparedKey* out[kAtOnce];
  for (size_t i = 0; i < n; ++i) {
    keys[i] = wanted_[i].identity;
    out[i] = &arena_.prepared_keys()[free_[free_.size() - 1 - i]];
  }
  const uint8_t made = maker_.prepare({keys, n}, {out, n});
  tokens_ -= 1;
  std::vector<uint32_t> unused;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t agent = wanted_.front().agent;
    const uint32_t slot = free_.back();
    wanted_.pop_front();
    free_.pop_back();
    is_wanted_[agent] = false;
    if (((made >> i) & 1) == 0) {
      unused.push_back(slot);
      continue;
    }
    // On probation: whoever comes back first stays, a crowd that comes once passes through.
    slots_[slot] = {.agent = agent};
    arena_.agents()[agent].prepared.store(slot, std::memory_order_release);
    ++prepared_;
  }
  free_.insert(free_.end(), unused.begin(), unused.end());
  return true;
}

PreparedKeys::Counts PreparedKeys::counts() const {
  const size_t idle = free_.size() + resting_.size();
  return {.prepared = prepared_,
          .evicted = evicted_,
          .ready = static_cast<uint32_t>(slots_.size() - idle),
          .room = enabled_ ? static_cast<uint32_t>(slots_.size()) : 0};
}

}  // namespace sluice::control
