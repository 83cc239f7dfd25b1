// A program that gets bytes on standard input and whose standard output is the answer: a process
// group of its own, bounded in time and output. Any thread, blocking.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"

namespace sluice::agent {

struct ProgramRun {
  std::vector<std::string> argv;         // found on PATH
  std::vector<std::string> environment;  // NAME=value, beside this process's own
  Bytes input;
  std::chrono::milliseconds limit{60'000};
  size_t most_output = 0;
  int cancelled = -1;                               // a descriptor: readable once nobody wants it
  std::function<void(pid_t, bool runs)> note = {};  // it has started, or is about to be waited for
};

enum class ProgramEnd { kExited, kSignalled, kTimeout, kTooMuch, kCancelled };

struct ProgramResult {
  ProgramEnd end = ProgramEnd::kExited;
  int number = 0;  // exit status or signal
  Buffer output;
};

// It is over when the program's first process is; what is left of its group is killed. An error
// says why it could not be started.
Result<ProgramResult> run_program(const ProgramRun& run);

}  // namespace sluice::agent
