#include "base/finding.h"

#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

namespace sluice {

const char* name_of(Grade grade) {
  return grade == Grade::kOk ? "ok" : grade == Grade::kWarning ? "warning" : "failed";
}

bool any_failed(std::span<const Finding> findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& f) { return f.grade == Grade::kFailed; });
}

void print_findings(std::span<const Finding> findings) {
  const bool colour = isatty(STDOUT_FILENO) == 1;
  size_t widest = 9;
  for (const Finding& f : findings) widest = std::max(widest, f.check.size());
  for (const Finding& f : findings) {
    const char* paint = !colour                      ? ""
                        : f.grade == Grade::kOk      ? "\x1b[32m"
                        : f.grade == Grade::kWarning ? "\x1b[33m"
                                                     : "\x1b[31m";
    fmt::print("{}{:<8}{} {:<{}} {}\n", paint, name_of(f.grade), colour ? "\x1b[0m" : "", f.check,
               widest, f.detail);
    if (!f.remedy.empty()) fmt::print("{:<8} {:<{}} {}\n", "", "", widest, f.remedy);
  }
}

}  // namespace sluice
