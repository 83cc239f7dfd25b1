// How many signatures a second a worker verifies in whole calls, against the verifier alone with
// the same keys, in turns; and what else of a call takes the time. On the worker's own thread.
#pragma once

#include <string>
#include <vector>

#include "bench/call_mill.h"

namespace sluice::bench {

struct CallRates {
  double path_per_second = 0;      // signatures in the call path
  double verifier_per_second = 0;  // alone, in batches of 8, as the call path has them
  double verifier64_per_second = 0;
  double ratio = 0;  // median of the turns' ratios to the faster of the two
  double lost = 0;   // of the worst turn, the share of its time that others took
  std::string problem;
};
CallRates measure_call_rates(InMemoryRelay& relay, CallMill& mill, unsigned slices, double seconds);

// Nanoseconds of one call; a call's four frames and two signatures together.
struct CallStage {
  const char* name;
  double ns;
};
std::vector<CallStage> measure_call_stages(InMemoryRelay& relay, CallMill& mill, unsigned groups);

}  // namespace sluice::bench
