#include "agent/identity_change.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace sluice::agent {
namespace {

// Longer than a relay takes to answer a greeting that it answers at all.
constexpr uint64_t kTryMs = 5'000;
constexpr uint64_t kLongestTryMs = 60'000;
constexpr const char* kGoesOn =
    "the change of identity goes on by itself, see sluice-agent info for who this agent is";

}  // namespace

IdentityChange::IdentityChange(std::string state, AgentIdentity& identity, Pins& pins, Agent& agent,
                               Report report)
    : state_(std::move(state)),
      identity_(identity),
      pins_(pins),
      agent_(agent),
      report_(std::move(report)) {}

Result<void> IdentityChange::resume() {
  auto next = load_next_identity(state_);
  if (!next) return tl::unexpected(next.error());
  if (!*next) return {};
  // The stop came after it was in place.
  if ((*next)->identity.public_key() == identity_.identity.public_key())
    return drop_next_identity(state_);
  next_ = std::move(**next);
  start_turns();
  unsure_ = true;
  report_(Level::kWarn,
          fmt::format("a change of identity to {} was interrupted; it goes on", next_->did()));
  return {};
}

void IdentityChange::begin(Now now, Done done) {
  if (next_) {
    return done(
        fail(ErrorCode::kConflict, fmt::format("a change to {} is under way", next_->did())));
  }
  AgentIdentity next = with_fresh_identity(identity_, now.unix_ms);
  if (auto saved = save_next_identity(state_, next); !saved) return done(saved);
  next_ = std::move(next);
  start_turns();
  submit(now, std::move(done));
}

void IdentityChange::start_turns() {
  unsure_ = false;
  tried_ = false;
  turn_ms_ = kTryMs;
}

void IdentityChange::submit(Now now, Done done) {
  asking_ = true;
  since_ms_ = now.mono_ms;
  agent_.trust(now).rotate_identity(
      next_->identity, agent_.relay_now(now), [this, done](const Result<Submitted>& r) {
        asking_ = false;
        certain_ = r.has_value();
        // Not from within the tunnel's own work.
        if (r) {
          taken_ = done;
          return;
        }
        switch (r.error().code) {
          case ErrorCode::kTimeout:
          case ErrorCode::kStore:
            unsure_ = true;
            return done(fail(r.error().code, fmt::format("{}; {}", r.error().message, kGoesOn)));
          case ErrorCode::kPermission:
            // Perhaps it is the successor that the relay knows by now: `poll` finds out.
            taken_ = done;
            return;
          default:
            // What was not known before may have been done: the key that comes is not given up
            // before the relay has left it unanswered.
            if (unsure_ && !tried_) {
              taken_ = done;
              return;
            }
            drop();
            return done(tl::unexpected(r.error()));
        }
      });
}

// The agent greets as the other of the two from now on.
void IdentityChange::swap(Now now) {
  std::swap(identity_.identity, next_->identity);
  trying_ = !trying_;
  since_ms_ = now.mono_ms;
  // Where the next one is a stranger, its token would enrol it as one.
  agent_.identity_changed(trying_ ? Bytes() : Bytes(identity_.join.token), now);
}

// The relay has it: on disk in the place of the former one.
Result<void> IdentityChange::finish(Now now) {
  pins_.own_formers.push_back(next_->identity.public_key());
  crypto::wipe(identity_.join.token.data(), identity_.join.token.size());
  identity_.join.token.clear();
  pins_.changed = true;
  since_ms_ = now.mono_ms;
  auto saved = save_pins(pins_path(state_), pins_);
  if (saved) saved = replace_identity_file(state_, identity_);
  if (saved) saved = drop_next_identity(state_);
  if (!saved) {
    report_(Level::kError, fmt::format("the new identity {} is in use and not in its place on "
                                       "disk: {}",
                                       identity_.did(), saved.error().message));
    pins_.own_formers.pop_back();
    not_before_ms_ = now.mono_ms + kTryMs;
    return saved;
  }
  report_(Level::kInfo, fmt::format("this agent goes on as {}", identity_.did()));
  next_.reset();
  trying_ = false;
  return {};
}

void IdentityChange::drop() {
  next_.reset();
  if (auto gone = drop_next_identity(state_); !gone) report_(Level::kWarn, gone.error().message);
}

void IdentityChange::poll(Now now) {
  if (!next_ || asking_) return;
  if (taken_) {
    swap(now);
    const Done done = std::exchange(taken_, {});
    return done(certain_ ? finish(now) : fail(ErrorCode::kTimeout, kGoesOn));
  }
  const bool up = agent_.tunnel().up(now);
  if (trying_ && up) {
    if (now.mono_ms >= not_before_ms_) (void)finish(now);
    return;
  }
  if (now.mono_ms < since_ms_ + turn_ms_) return;
  if (trying_ || !up) {
    // A relay that is away for a weekend must not be greeted as two every few seconds.
    turn_ms_ = std::min(2 * turn_ms_, kLongestTryMs);
    tried_ = tried_ || trying_;
    return swap(now);
  }
  submit(now, [this](const Result<void>& r) {
    if (!r && !next_)
      report_(Level::kError, "the change of identity is given up: " + r.error().message);
  });
}

}  // namespace sluice::agent
