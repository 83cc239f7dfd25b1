// Outcomes as a person reads them, with units, and as scripts read them (docs/pktgen.md). Fields of
// the JSON are stable.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "pktgen/fleet.h"
#include "pktgen/outcome.h"

namespace sluice::pktgen {

// A rate as 1.23 Mpps or 45.6 kpps.
std::string rate_text(double pps);
// Microseconds below 10 ms, else milliseconds.
std::string duration_text(double us);
// Bits a second of frames with FCS, without preamble and gap.
double megabits(const Traffic& traffic, bool v6, double pps);

std::string progress_line(const Outcome& so_far, double seconds_total);
std::string run_table(const Fleet& fleet, const Traffic& traffic, const Outcome& outcome);

nlohmann::json quantiles_json(const Histogram& histogram);
nlohmann::json handshakes_json(const ConnectorStats& stats);
nlohmann::json run_json(const Fleet& fleet, const Traffic& traffic, const Outcome& outcome);

Result<void> write_json(const std::string& path, const nlohmann::json& json);

}  // namespace sluice::pktgen
