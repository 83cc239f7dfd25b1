#include "control/watch.h"

#include <algorithm>

#include <fmt/format.h>

#include "control/control.h"

namespace sluice::control {
namespace {

constexpr uint64_t kLookMs = 250;
constexpr uint64_t kStalledMs = 1000;
constexpr uint64_t kAuditMs = 5000;  // its status is under a lock that its thread takes, too

}  // namespace

Watch::Watch(Control& control) : control_(control) {}

void Watch::poll(uint64_t now) {
  const Clock& clock = control_.around().clock;
  if (last_round_ != 0) {
    const uint64_t pause = now - last_round_;
    longest_pause_ = std::max(longest_pause_, pause);
    if (pause >= clock.ticks_from_ms(kPauseMs)) {
      ++pauses_;
      const double ms = clock.us_from_ticks(pause) / 1000;
      const bool refused = control_.config().when_stale == WhenStale::kRefuse &&
                           ms >= control_.config().max_staleness_s * 1000.0;
      control_.events().add(
          EventKind::kControlStalled, {},
          fmt::format("for {:.0f} ms{}", ms, refused ? "; workers refused packets meanwhile" : ""));
      // What stood still then is nothing to say of workers.
      for (Seen& w : workers_) w.since = now;
    }
  }
  last_round_ = now;
  if (looked_at_ != 0 && now - looked_at_ < clock.ticks_from_ms(kLookMs)) return;
  looked_at_ = now;
  look(now);
}

void Watch::look(uint64_t now) {
  look_at_links();
  look_at_workers(now);
  look_at_audit();
  if (control_.handshakes().under_load() == shed_) return;
  shed_ = !shed_;
  control_.events().add(shed_ ? EventKind::kHandshakesShed : EventKind::kHandshakesCalm);
}

void Watch::look_at_links() {
  if (!control_.around().links) return;
  const std::vector<bool> links = control_.around().links();
  for (size_t p = 0; p < links.size(); ++p) {
    // At the start only what is down is news.
    const bool before = p < links_.size() ? links_[p] : true;
    if (links[p] == before) continue;
    control_.events().add(links[p] ? EventKind::kLinkUp : EventKind::kLinkDown,
                          control_.config().topology.ports.at(p).name);
  }
  links_ = links;
}

void Watch::look_at_workers(uint64_t now) {
  const auto& around = control_.around();
  workers_.resize(around.arena.sizes().workers);
  for (uint32_t w = 0; w < workers_.size(); ++w) {
    Seen& seen = workers_[w];
    const uint64_t polls = around.arena.counters(w).polls.get();
    if (polls == 0) continue;  // it has not started
    if (polls != seen.polls) {
      if (seen.stalled) {
        control_.events().add(
            EventKind::kWorkerRuns, std::to_string(w),
            fmt::format("after {:.1f} s", around.clock.us_from_ticks(now - seen.since) / 1e6));
      }
      seen = {polls, now, false};
    } else if (!seen.stalled && now - seen.since >= around.clock.ticks_from_ms(kStalledMs)) {
      seen.stalled = true;
      control_.events().add(EventKind::kWorkerStalled, std::to_string(w),
                            fmt::format("core {}", control_.config().topology.workers.at(w).core));
    }
  }
}

void Watch::look_at_audit() {
  const AuditTrail& audit = control_.audit();
  const Clock& clock = control_.around().clock;
  if (audit.writer().available() != audited_) {
    audited_ = !audited_;
    control_.events().add(audited_ ? EventKind::kAuditAvailable : EventKind::kAuditUnavailable, {},
                          audited_ ? std::string() : audit.writer().status().problem);
  }
  if (audit.unseen() != unseen_) {
    control_.events().add(EventKind::kCallsUnseen, {},
                          fmt::format("{} records", audit.unseen() - unseen_));
    unseen_ = audit.unseen();
  }
  if (audited_at_ != 0 && last_round_ - audited_at_ < clock.ticks_from_ms(kAuditMs)) return;
  audited_at_ = last_round_;
  const audit::WriterStatus s = audit.writer().status();
  if (s.lost > lost_) {
    control_.events().add(EventKind::kAuditLost, {}, fmt::format("{} records", s.lost - lost_));
    lost_ = s.lost;
  }
  const bool too_few = !audit.alert().empty();
  if (too_few && !short_) control_.events().add(EventKind::kDiskShort, {}, audit.alert());
  short_ = too_few;
}

}  // namespace sluice::control
