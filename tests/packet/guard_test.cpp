// The trap itself: a guard that saw nothing would pass every test.
#include "packet/guard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>

namespace rig {
namespace {

TEST(Guard, SeesAllocationsAndSystemCalls) {
  if (!WorkerGuard::traps_allocations()) GTEST_SKIP() << "a sanitizer's runtime allocates itself";
  EXPECT_EQ(take_trespasses(), "");
  { const WorkerGuard guard; }
  EXPECT_EQ(take_trespasses(), "");
  {
    const WorkerGuard guard;
    const auto volatile p = std::make_unique<int>(1).release();
    std::unique_ptr<int> back(p);
  }
  EXPECT_NE(take_trespasses().find("2 allocations"), std::string::npos);
  ASSERT_TRUE(WorkerGuard::traps_system_calls()) << "needs Linux 5.11 or later";
  {
    const WorkerGuard guard;
    EXPECT_EQ(write(STDERR_FILENO, "", 0), -1) << "it is not carried out either";
  }
  EXPECT_NE(take_trespasses().find("with a system call, the last of them number 1."),
            std::string::npos);
}

}  // namespace
}  // namespace rig
