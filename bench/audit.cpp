// scripts/bench audit: how many records a second one audit thread hashes and writes, beside what
// SHA-256 alone and the disk alone can do in the same run.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/check.h"
#include "audit/writer.h"
#include "base/log.h"
#include "bench/command_line.h"
#include "bench/progress.h"
#include "bench/scratch.h"
#include "crypto/secret.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

constexpr double kTarget = 1'000'000;

struct Options {
  double seconds = 20;
  unsigned runs = 3;
  uint64_t rate = 0;     // records a second; 0: as many as the ring takes
  uint64_t keep_mb = 0;  // the rest is pruned meanwhile; 0: none is
  unsigned core = 0;
  std::string state = "/var/tmp";
  std::string json;
};

audit::Record record(uint64_t n) {
  audit::Record r = audit::make_record({.kind = audit::Kind::kSession, .time_ms = n});
  for (size_t i = 32; i + 8 <= r.size(); i += 8) store_le(r.data() + i, n * 0x9e3779b97f4a7c15 + i);
  return r;
}

void pin(unsigned core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  (void)sched_setaffinity(0, sizeof set, &set);
}

double cpu_seconds(pthread_t thread) {
  clockid_t id;
  timespec t{};
  if (pthread_getcpuclockid(thread, &id) != 0 || clock_gettime(id, &t) != 0) return 0;
  return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

// What a record costs in hashes alone: its leaf's, and one of a node.
double hashes_only(const Clock& clock, double seconds) {
  audit::Edge edge;
  const uint64_t start = clock.ticks();
  uint64_t n = 0;
  while (clock.us_from_ticks(clock.ticks() - start) < seconds * 1e6) {
    for (unsigned i = 0; i < 1024; ++i) {
      edge.append(audit::leaf_hash(record(n++)), 0, [](unsigned, const audit::Hash&) {});
    }
  }
  return double(n) / (clock.us_from_ticks(clock.ticks() - start) / 1e6);
}

// Bytes a second of one file that is synced ten times a second, as the journal is.
double disk_only(const Clock& clock, const std::string& folder, double seconds) {
  const std::string path = folder + "/disk";
  const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
  const Buffer block(1u << 20, 0xa5);
  uint64_t bytes = 0;
  const uint64_t start = clock.ticks();
  for (uint64_t synced = start; clock.us_from_ticks(clock.ticks() - start) < seconds * 1e6;) {
    const ssize_t n = write(fd, block.data(), block.size());
    if (n <= 0) break;
    bytes += static_cast<uint64_t>(n);
    if (clock.ticks() - synced > clock.ticks_from_ms(100)) {
      (void)fdatasync(fd);
      synced = clock.ticks();
    }
  }
  (void)fdatasync(fd);
  const double took = clock.us_from_ticks(clock.ticks() - start) / 1e6;
  close(fd);
  unlink(path.c_str());
  return double(bytes) / took;
}

struct Figures {
  double per_second = 0;
  double cpu_share = 0;  // of one core, in the audit thread
  uint64_t written = 0;
  uint64_t first = 0;  // that was not pruned
  uint64_t lost = 0;
};

Result<Figures> run(const Clock& clock, const Options& o, const std::string& folder) {
  auto log = audit::Log::open(folder, "bench.example/audit");
  if (!log) return tl::unexpected(log.error());
  audit::RecordRing ring(1u << 18);
  audit::Writer writer(clock, std::move(*log),
                       {.folder = folder,
                        .workers = {&ring},
                        .retention = {0, o.keep_mb << 20},
                        .known_size = UINT64_MAX,
                        .post = [](std::function<void()> f) { f(); }});
  const uint64_t start = clock.ticks();
  const auto length = static_cast<uint64_t>(o.seconds * double(clock.hz()));
  uint64_t n = 0;
  // The producer waits where the ring is full: what it gets rid of is what the thread can take.
  while (clock.ticks() - start < length) {
    if (o.rate != 0 &&
        double(n) > double(o.rate) * (clock.us_from_ticks(clock.ticks() - start) / 1e6)) {
      continue;
    }
    if (!ring.has_room(64)) {
      std::this_thread::yield();
      continue;
    }
    for (unsigned i = 0; i < 64; ++i) (void)ring.put(record(n++));
    if ((n & 0xfffff) == 0) note(fmt::format("{} records", n));
  }
  Figures out;
  const double cpu = cpu_seconds(writer.thread());
  const double fed = clock.us_from_ticks(clock.ticks() - start) / 1e6;
  out.lost = writer.status().lost;
  // What is still in the ring is written, synced and signed before the watch stops.
  const auto end = writer.stop();
  const double took = clock.us_from_ticks(clock.ticks() - start) / 1e6;
  out.written = end.size;
  out.first = writer.status().first;
  out.per_second = double(end.size) / took;
  out.cpu_share = cpu / fed;
  return out;
}

int bench(const Options& o) {
  const Clock clock;
  crypto::init();
  auto scratch = Scratch::create(o.state);
  if (!scratch) {
    fmt::print(stderr, "bench audit: {}\n", scratch.error().message);
    return 1;
  }
  if (scratch->in_memory()) {
    fmt::print(stderr,
               "bench audit: {} is in memory, where nothing is synced; --state names a disk\n",
               o.state);
  }
  pin(o.core);
  Json runs = Json::array();
  std::vector<double> rates;
  double hashes = 0, disk = 0;
  for (unsigned i = 0; i < o.runs; ++i) {
    const std::string folder = fmt::format("{}/{}", scratch->path(), i);
    std::filesystem::create_directories(folder);
    note(fmt::format("run {} of {}: hashes alone, the disk alone", i + 1, o.runs));
    const double h = hashes_only(clock, 2);
    const double d = disk_only(clock, scratch->path(), 5);
    note(fmt::format("run {} of {}: the log", i + 1, o.runs));
    // The thread inherits where it may run.
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int c = 0; c < CPU_SETSIZE; ++c) CPU_SET(c, &all);
    (void)sched_setaffinity(0, sizeof all, &all);
    const auto f = run(clock, o, folder);
    pin(o.core);
    if (!f) {
      fmt::print(stderr, "bench audit: {}\n", f.error().message);
      return 1;
    }
    note(fmt::format("run {} of {}: checking it", i + 1, o.runs));
    audit::FolderSource source(folder);
    const auto verifier = audit::Verifier::parse([&] {
      std::ifstream in(audit::verifier_path(folder));
      return std::string(std::istreambuf_iterator<char>(in), {});
    }());
    const uint64_t before = clock.ticks();
    const auto head = audit::check_log(source, *verifier, {});
    const double checked =
        double(f->written - f->first) / (clock.us_from_ticks(clock.ticks() - before) / 1e6);
    clear_note();
    if (!head || head->size != f->written) {
      fmt::print(stderr, "bench audit: the log does not verify: {}\n",
                 head ? "its size" : head.error().message);
      return 1;
    }
    fmt::print(
        "run {}: {:>9.0f} records/s written, synced and signed ({} of them, {} pruned, {} lost); "
        "audit thread "
        "{:.0f} % of a core; hashes alone {:.0f} records/s, disk alone {:.0f} MB/s of {:.0f} MB/s; "
        "verified at {:.0f} records/s\n",
        i + 1, f->per_second, f->written, f->first, f->lost, 100 * f->cpu_share, h, d / 1e6,
        f->per_second * (128 + 0.04 + 163) / 1e6, checked);
    rates.push_back(f->per_second);
    hashes = std::max(hashes, h);
    disk = std::max(disk, d);
    runs.push_back({{"records_per_second", f->per_second},
                    {"records", f->written},
                    {"pruned", f->first},
                    {"lost", f->lost},
                    {"cpu_share", f->cpu_share},
                    {"hashes_per_second", h},
                    {"disk_bytes_per_second", d},
                    {"verified_per_second", checked}});
    // Its files stay until the end: ext4 looks long for inodes where many were freed lately.
  }
  std::sort(rates.begin(), rates.end());
  const double median = rates[rates.size() / 2];
  fmt::print("median {:.0f} records/s (target {:.0f}) on {}\n", median, kTarget,
             scratch->file_system());
  if (!o.json.empty()) {
    std::ofstream(o.json) << Json{{"audit_records_per_second", median},
                                  {"target", kTarget},
                                  {"rate", o.rate},
                                  {"file_system", scratch->file_system()},
                                  {"runs", runs}}
                                 .dump(1)
                          << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{
      "Records a second that one audit thread hashes, writes, syncs and signs"};
  app.add_option("--seconds", o.seconds, "of each run");
  app.add_option("--runs", o.runs, "whose median counts").range(1, 99);
  app.add_option("--rate", o.rate, "records a second (default: as many as the thread takes)");
  app.add_option("--keep-mb", o.keep_mb, "MiB that stay; older records are pruned meanwhile");
  app.add_option("--core", o.core, "for what is measured alone");
  app.add_option("--state", o.state, "on which disk");
  app.add_option("--json", o.json, "write the figures there");
  if (const auto done = app.parse(argc, argv)) return *done;
  (void)sluice::init_logging("bench", "warn");
  return sluice::bench::bench(o);
}
