#include "bench/beside.h"

#include <time.h>

#include <atomic>
#include <thread>
#include <vector>

#include <rte_launch.h>
#include <rte_lcore.h>

namespace sluice::bench {

void run_beside_control(InMemoryRelay& relay, const std::function<void()>& work) {
  constexpr timespec kPause{0, 100'000};
  relay.poll_control();  // says what time it is, and that the log is written
  struct Launch {
    InMemoryRelay& relay;
    const std::function<void()>& work;
  } launch{relay, work};
  // On this thread's core.
  std::atomic<bool> stop{false};
  std::vector<std::thread> verifiers;
  for (unsigned v = 0; v < relay.house().verifiers; ++v) {
    verifiers.emplace_back([&, v] { relay.plane().verifier(v).run(stop); });
  }
  const unsigned lcore = rte_get_next_lcore(-1, 1, 0);
  rte_eal_remote_launch(
      [](void* arg) {
        auto& l = *static_cast<Launch*>(arg);
        l.relay.plane().qsbr().online(0);
        l.work();
        l.relay.plane().qsbr().offline(0);
        return 0;
      },
      &launch, lcore);
  while (rte_eal_get_lcore_state(lcore) == RUNNING) {
    relay.poll_control();
    nanosleep(&kPause, nullptr);
  }
  rte_eal_wait_lcore(lcore);
  stop = true;
  for (std::thread& t : verifiers) t.join();
}

}  // namespace sluice::bench
