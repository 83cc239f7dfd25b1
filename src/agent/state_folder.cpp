#include "agent/state_folder.h"

#include <cstdlib>

namespace sluice::agent {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string socket_path(const std::string& state) {
  return state + "/agent.sock";
}

Result<std::string> default_state() {
  if (const auto xdg = environment("XDG_STATE_HOME"); xdg.starts_with('/')) {
    return xdg + "/sluice-agent";
  }
  if (const auto home = environment("HOME"); home.starts_with('/')) {
    return home + "/.local/state/sluice-agent";
  }
  return fail(ErrorCode::kUsage,
              "neither XDG_STATE_HOME nor HOME is set; name the folder with --state");
}

}  // namespace sluice::agent
