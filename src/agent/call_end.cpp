#include "agent/call_end.h"

#include <fmt/format.h>

namespace sluice::agent {

std::string status_text(uint16_t status) {
  switch (static_cast<CallStatus>(status)) {
#define X(id, number, name, text) \
  case CallStatus::id:            \
    return text;
    SLUICE_CALL_STATUSES(X)
#undef X
    default:
      break;
  }
  if (status > kSignalStatus && status <= kLastServerStatus) {
    return fmt::format("the peer's program was ended by signal {}", status - kSignalStatus);
  }
  return status <= kMostExitStatus
             ? fmt::format("the peer's program ended with exit status {}", status)
             : fmt::format("the peer's agent says status {}, which this version does not know",
                           status);
}

const char* status_name(uint16_t status) {
  switch (static_cast<CallStatus>(status)) {
#define X(id, number, name, text) \
  case CallStatus::id:            \
    return name;
    SLUICE_CALL_STATUSES(X)
#undef X
    default:
      break;
  }
  return status <= kMostExitStatus     ? "exit_status"
         : status <= kLastServerStatus ? "signal"
                                       : "other";
}

}  // namespace sluice::agent
