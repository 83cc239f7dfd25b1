// Shell completion of a CLI11 command line, made from its own tree of commands and options, so that
// there is no list to keep in step.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace CLI {
class App;
}

namespace sluice {

// A script for `shell`: bash or zsh. kUsage for any other.
Result<std::string> completion_script(const CLI::App& app, std::string_view shell);

}  // namespace sluice
