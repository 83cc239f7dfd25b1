// What Prometheus is served: families of metrics, sampled from the arena and the control plane.
// Labels are bounded: workers, ports, reasons, and tenants with a place for their latency; never an
// agent's name.
#pragma once

#include <string>
#include <vector>

#include <prometheus/metric_family.h>

#include "base/clock.h"
#include "control/latency_places.h"
#include "fabric/arena.h"

namespace sluice::control {

class Control;

using MetricFamilies = std::vector<prometheus::MetricFamily>;

// Workers' counters, drops, decisions, latencies, the tables' states: what is long. Any thread,
// where `places` does not change meanwhile.
MetricFamilies dataplane_metrics(const fabric::Arena& arena, const Clock& clock,
                                 const LatencyPlaces& places);
// All else. Control thread, some tens of microseconds. `last_scrape_us`: what the scrape before
// took of it.
MetricFamilies control_metrics(Control& control, double last_scrape_us);

// Prometheus's text format 0.0.4.
std::string serialize(const MetricFamilies& families);

}  // namespace sluice::control
