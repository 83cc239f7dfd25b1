// How long a cache line takes from one core to another and back. On a virtual machine whose cores
// wander among the host's, this changes from second to second, and with it the cost of every packet
// that one core writes and another reads: the wire and hostile benches print it beside their
// figures.
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "bench/command_line.h"
#include "bench/measure.h"

namespace {

constexpr unsigned kTrips = 2000;
constexpr timespec kApart{0, 5'000'000};

void pin(unsigned core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

struct Ball {
  alignas(128) std::atomic<uint32_t> at{0};
  alignas(128) std::atomic<bool> over{false};
};

// Answers each odd number by the next even one.
void return_it(Ball& ball, unsigned core) {
  pin(core);
  for (uint32_t next = 1; !ball.over.load(std::memory_order_relaxed);) {
    if (ball.at.load(std::memory_order_acquire) != next) continue;
    ball.at.store(next + 1, std::memory_order_release);
    next += 2;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<unsigned> cores = {0, 1};
  unsigned samples = 20;
  sluice::bench::CommandLine app{
      "Nanoseconds that a cache line takes from one core to another and back"};
  app.add_option("--cores", cores, "two of them").expected(2);
  app.add_option("--samples", samples,
                 "5 ms apart, each a mean over 2,000 round trips; their median counts");
  if (const auto done = app.parse(argc, argv)) return *done;
  sluice::Clock clock;
  Ball ball;
  pin(cores[0]);
  std::thread other(return_it, std::ref(ball), cores[1]);
  std::vector<double> ns;
  uint32_t next = 1;
  for (unsigned s = 0; s < samples; ++s) {
    const uint64_t before = clock.ticks();
    for (unsigned i = 0; i < kTrips; ++i, next += 2) {
      ball.at.store(next, std::memory_order_release);
      while (ball.at.load(std::memory_order_acquire) != next + 1) {
      }
    }
    ns.push_back(1000 * clock.us_from_ticks(clock.ticks() - before) / kTrips);
    nanosleep(&kApart, nullptr);
  }
  ball.over = true;
  other.join();
  std::printf("%.1f\n", sluice::bench::median(ns));
}
