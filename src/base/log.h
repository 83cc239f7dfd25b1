// Logging for control, agent and tools; workers never log. Lines go to standard error, with
// colour only on a terminal.
#pragma once

#include <string_view>

#include <spdlog/spdlog.h>

#include "base/error.h"

namespace sluice {

// `level`: trace, debug, info, warn, error.
Result<void> init_logging(std::string_view program, std::string_view level);

}  // namespace sluice
