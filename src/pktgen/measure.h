// One measurement: traffic for a time, then a drain that ends once nothing has come for 100 ms.
#pragma once

#include <functional>

#include "pktgen/fleet.h"
#include "pktgen/outcome.h"

namespace sluice::pktgen {

// `progress`: once every 100 ms while traffic is sent, with what was counted so far.
Outcome measure(Fleet& fleet, const Traffic& traffic, double seconds,
                const std::function<void(const Outcome&)>& progress);

}  // namespace sluice::pktgen
