// Why a call did not succeed, in words for people and programs: what `call --json` and the HTTP
// front say of it.
#pragma once

#include <string>

#include "agent/calls.h"

namespace sluice::agent {

struct CallFailure {
  ErrorCode code;
  std::string reason;   // the relay's, the agents' or the peer's word
  std::string message;  // one sentence
  std::string hint;     // may be empty
  uint32_t retry_after_ms = 0;
};
// Of a call that ended with another end than kDone.
CallFailure failure_of(const CallRow& row, uint32_t retry_after_ms);

}  // namespace sluice::agent
