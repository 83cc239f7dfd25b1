// The commands about the daemon itself: down, status, logs, doctor.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::agent {

Result<int> run_down(const std::string& state);
// 0 while there is a session with the relay, 4 without.
Result<int> run_status(const std::string& state, bool as_json);
struct LogsCommand {
  uint64_t lines = 50;
  bool follow = false;
};
Result<int> run_logs(const std::string& state, const LogsCommand& command);
// 0 when nothing has failed, 1 otherwise.
Result<int> run_doctor(const std::string& state, bool as_json);

}  // namespace sluice::agent
