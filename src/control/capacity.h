// What a configuration asks for, before anything is there: the sizes of its tables. No state; any
// thread. The command line works with it where no relay runs.
#pragma once

#include "control/config.h"
#include "fabric/arena.h"

namespace sluice::control {

// The tables that the limits: of a configuration ask for.
fabric::ArenaSizes arena_sizes(const Config& config);

}  // namespace sluice::control
