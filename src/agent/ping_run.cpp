#include "agent/ping_run.h"

#include <algorithm>

namespace sluice::agent {

PingRun::PingRun(const PingOptions& options, uint64_t first_id, uint64_t now_us)
    : options_(options), first_id_(first_id), started_us_(now_us) {}

void PingRun::expire(uint64_t now_us) {
  while (!by_time_.empty()) {
    const auto [at, id] = by_time_.front();
    const bool answered = open_.find(id) == open_.end();
    if (!answered && now_us < at + options_.timeout_ms * 1000) return;
    open_.erase(id);
    by_time_.pop_front();
  }
}

uint64_t PingRun::next(uint64_t now_us) {
  expire(now_us);
  if (sent_ >= options_.count || open_.size() >= options_.window ||
      now_us < started_us_ + sent_ * options_.interval_us) {
    return 0;
  }
  const uint64_t id = first_id_ + sent_++;
  open_[id] = now_us;
  by_time_.emplace_back(now_us, id);
  return id;
}

void PingRun::on_pong(uint64_t id, uint64_t now_us) {
  const auto it = open_.find(id);
  if (it == open_.end()) return;  // another run's, a second one, or too late
  rtts_us_.push_back(now_us - it->second);
  open_.erase(it);
}

bool PingRun::done(uint64_t now_us) {
  expire(now_us);
  return sent_ >= options_.count && open_.empty();
}

uint64_t PingRun::wake_us() const {
  const uint64_t oldest =
      by_time_.empty() ? ~uint64_t{0} : by_time_.front().first + options_.timeout_ms * 1000;
  if (sent_ >= options_.count || open_.size() >= options_.window) return oldest;
  return std::min(oldest, started_us_ + sent_ * options_.interval_us);
}

PingSummary PingRun::summary() const {
  PingSummary out;
  out.sent = sent_;
  out.received = rtts_us_.size();
  out.lost = sent_ - out.received;
  if (rtts_us_.empty()) return out;
  std::vector<uint64_t> sorted = rtts_us_;
  std::sort(sorted.begin(), sorted.end());
  // The nearest-rank percentile: the smallest value that at least this share does not exceed.
  const auto rank = [&](uint64_t per_mille) {
    const size_t n = (sorted.size() * per_mille + 999) / 1000;
    return double(sorted[std::max<size_t>(n, 1) - 1]);
  };
  out.min_us = double(sorted.front());
  out.p50_us = rank(500);
  out.p90_us = rank(900);
  out.p99_us = rank(990);
  out.p999_us = rank(999);
  out.max_us = double(sorted.back());
  return out;
}

}  // namespace sluice::agent
