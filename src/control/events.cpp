#include "control/events.h"

namespace sluice::control {

void Events::keep(Event event) {
  if (kept_.size() == kKept) kept_.pop_front();
  kept_.push_back(std::move(event));
  ++next_;
}

void Events::add(EventKind kind, std::string subject, std::string detail) {
  keep({clock_.unix_ms(), {}, kind, std::move(subject), std::move(detail)});
}

void Events::add(const audit::Record& record) {
  keep({audit::header_of(record).time_ms, record, {}, {}, {}});
}

bool Events::wait(uint64_t number, uint64_t until, std::function<void()> ready) {
  if (waiting_.size() == kMostWaiting) return false;
  waiting_.push_back({number, until, std::move(ready)});
  return true;
}

bool Events::poll() {
  if (waiting_.empty()) return false;
  const uint64_t now = clock_.ticks();
  std::list<Waiting> due;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const auto next = std::next(it);
    if (it->number < next_ || now >= it->until) due.splice(due.end(), waiting_, it);
    it = next;
  }
  for (const Waiting& w : due) w.ready();
  return !due.empty();
}

}  // namespace sluice::control
