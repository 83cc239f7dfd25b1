#include "control/credential_publisher.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "crypto/secret.h"

namespace sluice::control {
namespace {

constexpr int64_t kLookAgainMs = 1000;
constexpr int64_t kFarMs = int64_t{50} * 365 * 86'400'000;
// In one round: each opens a record of the vault.
constexpr unsigned kMostAtOnce = 64;

}  // namespace

CredentialPublisher::CredentialPublisher(const Clock& clock, fabric::Arena& arena,
                                         fabric::Qsbr& qsbr, TrustTable& trust)
    : clock_(clock), arena_(arena), qsbr_(qsbr), trust_(trust) {
  for (size_t i = arena.credentials().size(); i > 0; --i) {
    free_.push_back(static_cast<uint32_t>(i - 1));
  }
}

void CredentialPublisher::changed(const CredentialPlace& at, std::function<void()> done) {
  if (credentials_->is_bound(at)) {
    Place& place = places_[at];
    const uint32_t before = place.slot;
    fill(at, place);
    return rest(before, std::move(done));
  }
  uint32_t before = fabric::kNone;
  if (const auto it = places_.find(at); it != places_.end()) {
    before = it->second.slot;
    look_again(at, it->second, INT64_MAX);
    places_.erase(it);
  }
  crowded_out_.erase(at);
  publish(at, fabric::kNoCredential);
  rest(before, std::move(done));
}

// The slot that it had stays as it is, for whoever reads it still.
void CredentialPublisher::fill(const CredentialPlace& at, Place& place) {
  place.slot = fabric::kNone;
  crowded_out_.erase(at);
  const CredentialStatus status = credentials_->status(at, static_cast<int64_t>(clock_.unix_ms()));
  look_again(at, place, status.until_ms);
  place.state = status.state;
  if (status.state == CredentialState::kUnavailable) return close(at, place, status.why);
  if (status.state == CredentialState::kOutsideWindow) {
    write(at, place, status, {});
    return;
  }
  auto content = credentials_->open(at);
  if (!content) return close(at, place, content.error().message);
  write(at, place, status, content->view());
}

void CredentialPublisher::write(const CredentialPlace& at, Place& place,
                                const CredentialStatus& status, Bytes content) {
  if (content.size() > wire::kCredentialMax) {
    close(at, place,
          fmt::format("it has {} bytes, more than {}", content.size(), wire::kCredentialMax));
    return;
  }
  if (free_.empty()) {
    crowded_out_.insert(at);
    close(at, place, "more credentials are in use than limits.credentials has room for");
    return;
  }
  place.slot = free_.back();
  free_.pop_back();
  fabric::CredentialSlot& slot = arena_.credentials()[place.slot];
  slot.version = next_version_++;
  slot.kind = uint8_t(wire::CredentialKind::kFields);
  slot.size = static_cast<uint16_t>(content.size());
  if (!content.empty()) std::memcpy(slot.bytes, content.data(), content.size());
  set_times(slot, status);
  place.problem.clear();
  publish(at, place.slot);
}

void CredentialPublisher::set_times(fabric::CredentialSlot& slot,
                                    const CredentialStatus& status) const {
  slot.until.store(ticks_at(status.until_ms), std::memory_order_relaxed);
  slot.opens_at.store(status.opens_ms == 0 ? 0 : ticks_at(status.opens_ms),
                      std::memory_order_relaxed);
}

void CredentialPublisher::close(const CredentialPlace& at, Place& place, std::string why) {
  if (place.problem != why) {
    spdlog::warn("calls to {} by {} are denied, since their credential cannot be had: {}",
                 to_string(at.target), wire::name_of(wire::kProtocolNames, at.protocol), why);
  }
  place.problem = std::move(why);
  place.state = CredentialState::kUnavailable;
  publish(at, fabric::kCredentialUnavailable);
}

void CredentialPublisher::publish(const CredentialPlace& at, uint32_t value) {
  const AgentEntry* agent = trust_.by_address(at.target);
  if (agent == nullptr || at.protocol >= fabric::kCredentialProtocols) return;
  arena_.agent_credentials()[agent->index].of[at.protocol].store(value, std::memory_order_release);
}

void CredentialPublisher::look_again(const CredentialPlace& at, Place& place, int64_t unix_ms) {
  if (place.look_again_ms != INT64_MAX) due_.erase({place.look_again_ms, at});
  place.look_again_ms = unix_ms;
  if (unix_ms != INT64_MAX) due_.insert({unix_ms, at});
}

void CredentialPublisher::rest(uint32_t slot, std::function<void()> done) {
  if (slot == fabric::kNone && !done) return;
  resting_.push_back({slot, qsbr_.start(), std::move(done)});
}

uint64_t CredentialPublisher::ticks_at(int64_t unix_ms) const {
  const auto now = static_cast<int64_t>(clock_.unix_ms());
  // Ticks of such an end would not fit a number.
  if (unix_ms == INT64_MAX || unix_ms - now > kFarMs) return ~uint64_t{0};
  return unix_ms <= now ? clock_.ticks()
                        : clock_.ticks() + clock_.ticks_from_ms(uint64_t(unix_ms - now));
}

void CredentialPublisher::clock_was_set() {
  const auto now = static_cast<int64_t>(clock_.unix_ms());
  for (auto& [at, place] : places_) {
    const CredentialStatus status = credentials_->status(at, now);
    // What is there stays; only its instants are at other ticks.
    if (place.slot != fabric::kNone && status.state == place.state) {
      set_times(arena_.credentials()[place.slot], status);
      look_again(at, place, status.until_ms);
      continue;
    }
    const uint32_t before = place.slot;
    fill(at, place);
    rest(before, nullptr);
  }
}

bool CredentialPublisher::poll() {
  bool busy = false;
  for (unsigned i = 0; i < kMostAtOnce; ++i) {
    if (resting_.empty() || !qsbr_.passed(resting_.front().token)) break;
    Resting r = std::move(resting_.front());
    resting_.pop_front();
    busy = true;
    if (r.slot != fabric::kNone) {
      fabric::CredentialSlot& slot = arena_.credentials()[r.slot];
      crypto::wipe(slot.bytes, slot.size);
      slot.size = 0;
      free_.push_back(r.slot);
    }
    if (r.done) r.done();
  }
  const auto now = static_cast<int64_t>(clock_.unix_ms());
  // Workers have closed what ends: where all slots rest, that can wait.
  for (unsigned i = 0; i < kMostAtOnce && !due_.empty() && due_.begin()->first <= now; ++i) {
    if (free_.empty() && !resting_.empty()) break;
    const CredentialPlace at = due_.begin()->second;
    busy = true;
    changed(at, nullptr);
    // What ends now and is still as it was is looked at again in a while, not at once.
    const auto it = places_.find(at);
    if (it != places_.end() && it->second.look_again_ms <= now) {
      look_again(at, it->second, now + kLookAgainMs);
    }
  }
  for (unsigned i = 0; i < kMostAtOnce && !crowded_out_.empty() && !free_.empty(); ++i) {
    const CredentialPlace at = *crowded_out_.begin();
    busy = true;
    changed(at, nullptr);
  }
  return busy;
}

std::string CredentialPublisher::problem(const CredentialPlace& place) const {
  const auto it = places_.find(place);
  return it == places_.end() ? "" : it->second.problem;
}

CredentialPublisher::Counts CredentialPublisher::counts() const {
  Counts out{.room = static_cast<uint32_t>(arena_.credentials().size()),
             .resting = static_cast<uint32_t>(
                 std::count_if(resting_.begin(), resting_.end(),
                               [](const Resting& r) { return r.slot != fabric::kNone; }))};
  for (const auto& [at, place] : places_) {
    ++(place.state == CredentialState::kUsable          ? out.usable
       : place.state == CredentialState::kOutsideWindow ? out.outside_window
                                                        : out.unavailable);
  }
  return out;
}

}  // namespace sluice::control
