#include "bench/loop.h"

#include <time.h>

#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include "bench/floors.h"
#include "bench/measure.h"

namespace sluice::bench {
namespace {

constexpr unsigned kTries = 5;
constexpr unsigned kMostTries = 20;
constexpr timespec kTry{0, 600'000'000};
constexpr timespec kNap{0, 1'000'000};

struct Alone {
  InMemoryRelay& relay;
  Feeder& feeder;
  const Traffic& traffic;
  unsigned slices;
  double ns = 0;
};

int run_alone(void* arg) {
  auto& a = *static_cast<Alone*>(arg);
  std::vector<double> ns;
  unsigned repeated = 0;
  a.feeder.set(a.traffic);
  for (unsigned i = 0; i < a.slices; ++i) {
    ns.push_back(measure_slice(a.relay.clock(), repeated, [&a]() -> std::pair<uint64_t, uint64_t> {
      const uint64_t ticks = relay_stretch(a.relay, a.feeder, 0);
      return {ticks, a.feeder.collect()};
    }));
  }
  a.ns = median(ns);
  return 0;
}

struct Shared {
  InMemoryRelay& relay;
  const Traffic& traffic;
  bool floor;
  std::atomic<bool> stop{false};
  std::atomic<unsigned> ready{0};
};

struct Member {
  Shared* shared;
  Feeder* feeder;
  unsigned worker;
  double mpps = 0;
};

int run_member(void* arg) {
  auto& m = *static_cast<Member*>(arg);
  Shared& s = *m.shared;
  m.feeder->set(s.traffic);
  s.ready.fetch_add(1);
  while (s.ready.load() < s.relay.house().workers) {
  }
  uint64_t ticks = 0, packets = 0;
  GcmFloor gcm(s.relay);
  while (!s.stop.load(std::memory_order_relaxed)) {
    if (s.floor) {
      m.feeder->prepare();
      ticks += gcm.run(*m.feeder, s.traffic, s.relay.house().burst);
      m.feeder->give_back();
      packets += kBatch;
    } else {
      ticks += relay_stretch(s.relay, *m.feeder, m.worker);
      packets += m.feeder->collect();
    }
  }
  m.mpps = double(packets) / s.relay.clock().us_from_ticks(ticks);
  // What the others still hand over.
  s.ready.fetch_sub(1);
  while (s.ready.load() != 0) {
    s.relay.plane().worker(m.worker).poll_once();
    m.feeder->collect();
  }
  s.relay.plane().worker(m.worker).poll_once();
  m.feeder->collect();
  return 0;
}

double together(InMemoryRelay& relay, Feeders& feeders, const Traffic& traffic, bool floor) {
  Shared shared{relay, traffic, floor};
  std::vector<Member> members;
  for (unsigned w = 0; w < feeders.size(); ++w) {
    members.push_back({&shared, feeders[w].get(), w});
  }
  for (Member& m : members) rte_eal_remote_launch(run_member, &m, m.worker + 1);
  nanosleep(&kTry, nullptr);
  shared.stop = true;
  wait_for_lcores();
  double mpps = 0;
  for (const Member& m : members) mpps += m.mpps;
  return mpps;
}

}  // namespace

void wait_for_lcores() {
  unsigned lcore;
  RTE_LCORE_FOREACH_WORKER(lcore) {
    while (rte_eal_get_lcore_state(lcore) == RUNNING) nanosleep(&kNap, nullptr);
  }
  rte_eal_mp_wait_lcore();
}

double together_floor_mpps(InMemoryRelay& relay, Feeders& feeders, const Traffic& traffic) {
  double best = 0;
  for (unsigned i = 0; i < kTries; ++i) {
    best = std::max(best, together(relay, feeders, traffic, true));
  }
  return best;
}

uint64_t relay_stretch(InMemoryRelay& relay, Feeder& feeder, unsigned w) {
  dataplane::Worker& worker = relay.plane().worker(w);
  feeder.prepare();
  feeder.enqueue();
  const uint64_t before = __builtin_ia32_rdtsc();
  do {
    worker.poll_once();
  } while (rte_ring_count(relay.rx(w)) != 0);
  return __builtin_ia32_rdtsc() - before;
}

double alone_ns(InMemoryRelay& relay, Feeder& feeder, const Traffic& traffic, unsigned slices) {
  Alone alone{relay, feeder, traffic, slices};
  rte_eal_remote_launch(run_alone, &alone, rte_lcore_count() - 1);
  wait_for_lcores();
  return alone.ns;
}

Result<double> together_mpps(InMemoryRelay& relay, Feeders& feeders, const Traffic& traffic) {
  double best = 0;
  uint64_t died = relay.drops();
  for (unsigned i = 0, clean = 0; i < kMostTries && clean < kTries; ++i) {
    const double mpps = together(relay, feeders, traffic, false);
    const uint64_t now = relay.drops();
    if (std::exchange(died, now) != now) continue;
    ++clean;
    best = std::max(best, mpps);
  }
  std::string drops;
  relay.drops(&drops);
  if (best == 0) {
    return fail(ErrorCode::kResource,
                "packets died in every try (" + drops +
                    "): a worker does not keep its core; stop what else runs there");
  }
  if (relay.counter(&fabric::WorkerCounters::handed_out) == 0) {
    return fail(ErrorCode::kInternal, "nothing was handed over between the workers");
  }
  return best;
}

}  // namespace sluice::bench
