// The relay in memory on the map's cores: bench/relay, as it is installed beside the programs.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"
#include "cli/tune.h"

extern char** environ;

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kPayloads = "64,512,1400";

// In a build folder under bench/, else where it is installed beside bin/.
std::string program() {
  std::error_code ec;
  const fs::path here = fs::read_symlink("/proc/self/exe", ec).parent_path();
  const fs::path built = here / "bench/relay";
  return fs::exists(built, ec) ? built.string()
                               : (here.parent_path() / "libexec/sluice/relay").string();
}

// A file that only this program and its child see.
class Scratch {
 public:
  Scratch() : fd_(mkstemp(path_)) {}
  ~Scratch() {
    if (fd_) unlink(path_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  bool made() const { return bool(fd_); }
  std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/sluice-tune-XXXXXX";
  Fd fd_;
};

Result<void> run(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Its table is not ours; what is wrong it says itself.
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot run {}: {}; it comes with the package, or from scripts/build",
                            arguments[0], std::strerror(error)));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(ErrorCode::kResource,
              fmt::format("{} did not end well: what it says above helps; it needs root, and "
                          "hugepages",
                          arguments[0]));
}

}  // namespace

Result<std::vector<Rate>> measure_map(const CoreMap& map, uint32_t sessions) {
  const Scratch json_file;
  if (!json_file.made()) return fail(ErrorCode::kResource, "cannot make a file in /tmp");
  const auto workers = map.workers.size();
  std::string cores;
  for (const MapWorker& w : map.workers) {
    cores += (cores.empty() ? "" : ",") + std::to_string(w.core);
  }
  if (isatty(STDERR_FILENO) == 1) {
    fmt::print(stderr, "measuring {} {}, some seconds …\n", workers,
               workers == 1 ? "worker" : "workers");
  }
  const std::string counts = workers == 1 ? "1" : fmt::format("1,{}", workers);
  if (auto r = run({program(), "--cores", cores, "--workers", counts, "--payload", kPayloads,
                    "--seal", "full", "--sessions", std::to_string(sessions), "--slices", "3",
                    "--json", json_file.path()});
      !r) {
    return tl::unexpected(r.error());
  }
  const auto text = read_file(json_file.path());
  if (!text) return tl::unexpected(text.error());
  const json cases = json::parse(*text, nullptr, false);
  if (cases.is_discarded()) return fail(ErrorCode::kInternal, "the measurement wrote no JSON");
  std::vector<Rate> out;
  for (const json& c : cases["cases"]) {
    if (c.contains("skipped")) {
      return fail(ErrorCode::kResource,
                  fmt::format("{} bytes could not be measured: {}", c["payload"].dump(),
                              c["skipped"].get<std::string>()));
    }
    const auto payload = c["payload"].get<uint32_t>();
    auto at =
        std::find_if(out.begin(), out.end(), [&](const Rate& r) { return r.payload == payload; });
    if (at == out.end()) at = out.insert(out.end(), Rate{.payload = payload});
    const auto mpps = c["mpps"].get<double>();
    if (c["workers"] == 1) at->alone_mpps = mpps;
    if (c["workers"] == workers) at->mpps = mpps;
  }
  return out;
}

}  // namespace sluice::cli
