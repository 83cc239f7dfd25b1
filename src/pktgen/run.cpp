#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pktgen/commands.h"
#include "pktgen/console.h"
#include "pktgen/measure.h"
#include "pktgen/report.h"

namespace sluice::pktgen {

Result<void> run_traffic(const Options& options) {
  auto started = Fleet::start(options.fleet);
  if (!started) return tl::unexpected(started.error());
  Fleet& fleet = **started;
  Console console(fleet.clock());
  auto connected = fleet.connect([&](const Connector& connector) {
    console.connecting(connector, options.fleet.population.agents);
  });
  console.finish_progress();
  if (!connected) return connected;
  say_ready(fleet, options.raw.wait);

  Traffic traffic = options.traffic[0];
  // Where the frames carry no stamp, a few larger ones measure latency; chosen by default only.
  if (options.raw.probe < 0 && traffic.presealed == 0) traffic.probe_every = kDefaultProbe;
  say_marker(options.raw.markers, "begin", traffic.label);
  const Outcome outcome = measure(fleet, traffic, options.raw.seconds, [&](const Outcome& so_far) {
    console.progress(progress_line(so_far, options.raw.seconds));
  });
  say_marker(options.raw.markers, "end", traffic.label);
  console.finish_progress();
  fmt::print("{}", run_table(fleet, traffic, outcome));
  if (!options.raw.json.empty()) {
    if (auto r = write_json(options.raw.json, run_json(fleet, traffic, outcome)); !r) return r;
  }
  say_done(fleet, options.raw.hold);
  return {};
}

}  // namespace sluice::pktgen
