// Threads that serve the process beside the control thread.
#pragma once

#include <functional>
#include <thread>

namespace sluice {

// `name`: as tools for threads show it, at most 15 characters. It receives no signal: those are the
// control thread's, and a file that is too large is an error to it (EFBIG) instead of the end of
// the process (SIGXFSZ).
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace sluice
