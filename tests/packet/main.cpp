// Runs the packet tests; at the end of an unfiltered run, every drop reason must have been
// produced.
#include <gtest/gtest.h>

#include "fabric/drop_reason.h"
#include "packet/rig.h"

namespace {

class EveryReasonWasProduced : public testing::Environment {
 public:
  void TearDown() override {
    if (testing::GTEST_FLAG(filter) != "*") return;
    for (size_t r = 1; r < sluice::fabric::kDropReasons; ++r) {
      const char* name = sluice::fabric::kDropTable[r].name;
      if (!rig::produced_reasons().contains(name)) {
        ADD_FAILURE() << "no packet test produced the drop reason '" << name << "'";
      }
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new EveryReasonWasProduced);
  return RUN_ALL_TESTS();
}
