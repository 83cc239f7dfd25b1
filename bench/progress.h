// What a bench is at, on standard error: one line that is rewritten on a terminal, a line each
// elsewhere.
#pragma once

#include <cstdio>
#include <string>

#include <unistd.h>

namespace sluice::bench {

inline void note(const std::string& text) {
  std::fprintf(stderr, isatty(2) != 0 ? "\r\033[K  %s" : "  %s\n", text.c_str());
  std::fflush(stderr);
}

// Before lines of the result.
inline void clear_note() {
  if (isatty(2) != 0) std::fputs("\r\033[K", stderr);
}

}  // namespace sluice::bench
