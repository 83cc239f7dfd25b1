// Programs that serve calls: real ones, of this machine.
#include "agent/program.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

namespace sluice::agent {
namespace {

using std::chrono::milliseconds;

class ProgramTest : public testing::Test {
 protected:
  Result<ProgramResult> sh(const std::string& script, std::string_view input = "",
                           size_t most = 1u << 20) {
    run.argv = {"sh", "-c", script};
    run.input = as_bytes(input);
    run.most_output = most;
    return run_program(run);
  }
  ProgramRun run;
};

TEST_F(ProgramTest, BytesInBytesOutAndItsStatus) {
  signal(SIGPIPE, SIG_IGN);
  const auto r = sh("cat; exit 7", "hello");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->end, ProgramEnd::kExited);
  EXPECT_EQ(r->number, 7);
  EXPECT_EQ(as_text(r->output), "hello");
  const std::string large(1u << 20, 'x');
  EXPECT_EQ(as_text(sh("cat", large)->output), large);
  EXPECT_EQ(as_text(sh("head -c 3", large)->output), "xxx") << "need not read it all";
  EXPECT_EQ(as_text(sh("exec 0<&-; sleep 0.1; echo done", large)->output), "done\n");
}

TEST_F(ProgramTest, EnvironmentIsOfTheCallAndOfThisProcess) {
  run.environment = {"SLUICE_TRACE=abc"};
  EXPECT_EQ(as_text(sh("printf %s \"$SLUICE_TRACE ${PATH:+path}\"")->output), "abc path");
}

TEST_F(ProgramTest, SignalsAndMissingPrograms) {
  auto r = sh("kill -9 $$");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->end, ProgramEnd::kSignalled);
  EXPECT_EQ(r->number, 9);
  run.argv = {"/no/such/program"};
  EXPECT_EQ(run_program(run).error().code, ErrorCode::kUsage);
}

TEST_F(ProgramTest, BoundedInTimeAndOutput) {
  run.limit = milliseconds(200);
  EXPECT_EQ(sh("sleep 60")->end, ProgramEnd::kTimeout);
  run.limit = milliseconds(20'000);
  EXPECT_EQ(sh("cat /dev/zero", "", 100'000)->end, ProgramEnd::kTooMuch);
  EXPECT_EQ(sh("head -c 1000 /dev/zero", "", 1'000)->output.size(), 1'000u);
  EXPECT_EQ(sh("head -c 1001 /dev/zero", "", 1'000)->end, ProgramEnd::kTooMuch);
}

TEST_F(ProgramTest, NothingOfItsGroupIsLeft) {
  const auto r = sh("sleep 60 & echo $!");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->end, ProgramEnd::kExited);
  const pid_t left = pid_t(std::stol(std::string(as_text(r->output))));
  bool gone = false;
  for (int i = 0; i < 500 && !gone; ++i) {
    // A zombie of a parent that has ended counts as gone as well.
    const std::string stat = "/proc/" + std::to_string(left) + "/stat";
    const auto text = read_file(stat);
    gone = !text || text->find(") Z") != std::string::npos;
    if (!gone) std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(gone);
}

TEST_F(ProgramTest, StopsWhenNobodyWantsIt) {
  const Fd event(eventfd(0, EFD_CLOEXEC));
  run.cancelled = event.get();
  std::vector<bool> notes;
  run.note = [&](pid_t, bool runs) {
    notes.push_back(runs);
    if (runs) eventfd_write(event.get(), 1);
  };
  const auto r = sh("sleep 60");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->end, ProgramEnd::kCancelled);
  EXPECT_TRUE(r->output.empty());
  EXPECT_EQ(notes, (std::vector<bool>{true, false}));
}

}  // namespace
}  // namespace sluice::agent
