#include "pktgen/worker.h"

#include <time.h>

#include <rte_mbuf.h>

namespace sluice::pktgen {
namespace {

constexpr unsigned kOrdersPerPoll = 16;
// A timer tick of a virtual machine takes about as long.
constexpr uint64_t kHiccupUs = 20;
constexpr timespec kNap = {0, 20'000};

}  // namespace

Worker::Worker(const WorkerContext& context, const ByteArray<32>& relay_key)
    : c_(context), relay_key_(relay_key), sender_(c_), intake_(c_, sender_) {}

void Worker::begin(const Traffic& traffic, double pps, double flood_share) {
  traffic_ = &traffic;
  pps_ = pps;
  flood_share_ = flood_share;
  exhausted_.store(false, std::memory_order_relaxed);
  wanted_.store(Phase::kTraffic, std::memory_order_release);
}

void Worker::enter(Phase phase) {
  if (phase == Phase::kTraffic) {
    c_.stats.clear();
    intake_.begin(*traffic_);
    floods_.clear();
    for (const Flood& f : traffic_->floods) {
      // One that is as fast as it can stays so.
      floods_.push_back(
          std::make_unique<Flooder>(c_, sender_, f, f.pps * flood_share_, *traffic_, relay_key_));
    }
    sender_.begin(*traffic_, pps_);
    const uint64_t now = c_.clock.ticks();
    const auto ticks = [&](double s) { return now + uint64_t(s * double(c_.clock.hz())); };
    flood_from_ = ticks(traffic_->flood_from);
    flood_until_ = traffic_->flood_until > 0 ? ticks(traffic_->flood_until) : ~uint64_t{0};
    last_ = now;
  } else {
    floods_.clear();
    sender_.end();
    if (phase == Phase::kRest) intake_.end();
  }
  phase_.store(phase, std::memory_order_release);
}

void Worker::note_pause(uint64_t now) noexcept {
  const uint64_t gap = now - last_;
  last_ = now;
  if (gap < c_.clock.ticks_from_us(kHiccupUs)) return;
  c_.stats.hiccups.add();
  c_.stats.hiccup_ticks.add(gap);
  c_.stats.hiccup_max.raise(gap);
}

void Worker::obey(rte_mbuf* m) noexcept {
  const Note note = note_of(m);
  switch (note.kind) {
    case NoteKind::kRaw:
      return sender_.send_raw(c_.flows.flows[note.local].queue, m);
    case NoteKind::kSeal:
      return sender_.send_frame(note.local, m);
    case NoteKind::kKeys:
      c_.flows.set_keys(note.local, *rte_pktmbuf_mtod(m, KeyMessage*));
      break;
    case NoteKind::kLabel:
      c_.flows.flows[note.local].label = static_cast<uint32_t>(note.request);
      break;
    case NoteKind::kGreeting:
    case NoteKind::kControl:
      break;
  }
  rte_pktmbuf_free(m);
}

bool Worker::serve_main() noexcept {
  rte_mbuf* orders[kOrdersPerPoll];
  const unsigned n = c_.mailbox.take(orders, kOrdersPerPoll);
  for (unsigned i = 0; i < n; ++i) obey(orders[i]);
  return n != 0;
}

void Worker::run() noexcept {
  while (!stopping_.load(std::memory_order_acquire)) {
    const Phase wanted = wanted_.load(std::memory_order_acquire);
    if (wanted != phase_.load(std::memory_order_relaxed)) enter(wanted);
    const uint64_t now = c_.clock.ticks();
    const bool received = intake_.poll();
    const bool busy = serve_main() || received;
    sender_.poll(now);
    if (wanted == Phase::kRest) {
      // Handshakes are main's work, and main may have to share this core.
      if (!busy) nanosleep(&kNap, nullptr);
      continue;
    }
    note_pause(now);
    if (wanted != Phase::kTraffic) continue;
    if (now >= flood_from_ && now < flood_until_) {
      for (auto& f : floods_) f->poll(now);
    }
    if (sender_.exhausted()) exhausted_.store(true, std::memory_order_release);
  }
  enter(Phase::kRest);
}

}  // namespace sluice::pktgen
