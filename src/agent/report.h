// What a state machine has to tell its user: a level and one sentence. The daemon logs it and keeps
// the last problem for `info`; a test collects it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace sluice::agent {

enum class Level : uint8_t { kInfo, kWarn, kError };
using Report = std::function<void(Level, std::string)>;

}  // namespace sluice::agent
