// One run of the revoke bench: revocations one by one under load, each watched from outside by the
// markers of the workers and the frames that leave. Main thread; the workers run on their lcores.
#pragma once

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "bench/departures.h"
#include "bench/load.h"
#include "bench/marker.h"

namespace sluice::bench {

struct RevokeOptions {
  unsigned revocations = 10'000;
  unsigned workers = 1;
  unsigned core = 1;       // of the first worker
  uint32_t others = 4096;  // agents that talk all the time and are not revoked
  size_t payload = 64;
  uint16_t burst = 32;   // the relay's default
  unsigned ring = 4096;  // packets that wait for each worker when a revocation begins
  // CALL_OPENs among each agent's and its peer's first packets.
  unsigned calls = 0;
  // Revoked by one command at the end, of the others.
  unsigned bulk = 0;
  std::string state = "/var/tmp";
  std::string json;
};

// What was measured of each revocation, in microseconds from just before the store.
struct RevokeSamples {
  std::vector<double> store, report, fence, wipe, sync, durable, ack;
};

struct RevokeTotals {
  unsigned done = 0;
  uint64_t behind = 0;         // packets of a revoked agent behind its cut
  uint64_t passed = 0;         // packets of the agents that left before
  uint64_t died = 0;           // and those that were offered, and did not leave
  unsigned early = 0;          // revocations that control called cut before a worker's report
  unsigned ran_empty = 0;      // revocations in whose fence a worker found nothing to do
  uint64_t idle_in_fence = 0;  // rounds
  double busy_share = 0;       // rounds of the whole run that found packets
  double longest_poll_us = 0;
  uint64_t handed_over = 0;  // packets that waited in a ring between workers
  // When an agent's state had been stored: revocations with packets in those rings, and such
  // packets; revocations with calls of the pair that waited for signatures, and such calls.
  unsigned with_handover = 0;
  uint64_t in_handover = 0;
  unsigned with_calls = 0;
  uint64_t calls_waiting = 0;
  uint64_t calls_denied = 0;  // of peers, who were told
  uint64_t farewells = 0;     // notices to the revoked themselves
  uint64_t messages = 0;      // notices and edge sets to peers
  uint64_t acknowledged = 0;
  uint64_t repeated = 0;
  double bulk_cut_us = 0, bulk_sync_us = 0, bulk_ack_us = 0;
  uint64_t bulk_commits = 0;
  uint64_t bulk_after = 0;  // packets of theirs that were let through after the answer
  std::string problem;      // why the run proves nothing; empty: it stands
};

class RevokeRun {
 public:
  // `callers`: where there are calls.
  RevokeRun(InMemoryRelay& relay, const RevokeOptions& options, const volatile sig_atomic_t& stop,
            Callers* callers = nullptr);

  // Runs the workers' loops for as long as it takes.
  void run();

  const RevokeSamples& samples() const { return samples_; }
  const RevokeTotals& totals() const { return totals_; }

 private:
  bool one(uint32_t agent);
  bool all_at_once(uint32_t first, unsigned count);
  bool wait_for_cut();
  bool wait_for_answer();
  bool settle();
  void see_cut();
  bool fail(std::string problem);
  void progress(unsigned done);
  void collect_acknowledgements();
  void add_up();
  void take_precedence(bool first);
  uint64_t idle_rounds() const;
  bool late(uint64_t since, uint64_t patience_ms) const;
  void count_waiting();

  InMemoryRelay& relay_;
  const RevokeOptions& o_;
  const volatile sig_atomic_t& stop_;
  const bool shared_core_;
  Load load_;
  Departures departures_;
  std::vector<WorkerWatch> watches_;
  RevokeSamples samples_;
  RevokeTotals totals_;

  // Of the revocation under way.
  uint64_t began_ = 0;
  uint64_t token_ = 0;
  uint64_t idle_before_ = 0;
  bool cut_ = false;
  std::optional<control::RevocationAnswer> answer_;
  uint64_t last_progress_ = 0;
};

}  // namespace sluice::bench
