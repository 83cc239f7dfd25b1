// What the fuzz targets share: assertions that hold in every build, and the canary. With
// SLUICE_FUZZ_CANARY=1 in the environment a run ends with an error unless each named path was
// reached, so a target that stopped reaching the code it is for does not pass for a quiet one.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <unistd.h>

#include "base/bytes.h"

namespace sluice::fuzz {

inline void require_that(bool ok, const char* what, const char* file, int line) {
  if (ok) return;
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
  std::abort();
}
#define SLUICE_REQUIRE(condition) \
  ::sluice::fuzz::require_that((condition), #condition, __FILE__, __LINE__)

inline bool inside(Bytes part, Bytes whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

// One path that a useful run reaches. Namespace-scope objects only: the check stands in their
// destructor, at the end of the process.
class Canary {
 public:
  explicit Canary(const char* name) : name_(name) {}
  Canary(const Canary&) = delete;
  Canary& operator=(const Canary&) = delete;
  ~Canary() {
    const char* asked = std::getenv("SLUICE_FUZZ_CANARY");
    if (asked == nullptr || std::string_view(asked) != "1" || reached_ != 0) return;
    std::fprintf(stderr, "canary: never reached: %s\n", name_);
    _exit(70);
  }
  void reached() { ++reached_; }

 private:
  const char* name_;
  unsigned long reached_ = 0;
};

}  // namespace sluice::fuzz
