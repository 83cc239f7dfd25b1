// The back ends that batched operations are tested on: libsodium, the portable lanes, and AVX-512's
// where this CPU has it. Which ran stands in the names of the tests.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crypto/batch_engine.h"
#include "crypto/lanes/engine.h"

namespace sluice::crypto::engines {

inline std::vector<const lanes::Engine*> all() {
  std::vector<const lanes::Engine*> out{nullptr, &lanes::portable_engine()};
  if (const lanes::Engine* e = ifma_engine_here()) out.push_back(e);
  return out;
}
inline std::string name(const testing::TestParamInfo<const lanes::Engine*>& info) {
  return std::string(name_of(info.param));
}
inline bool is_sodium(const lanes::Engine* e) {
  return e == nullptr;
}
inline bool is_portable(const lanes::Engine* e) {
  return e == &lanes::portable_engine();
}

}  // namespace sluice::crypto::engines
