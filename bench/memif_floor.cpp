// What receiving and sending alone costs over a memif: the relay's floor in scripts/bench wire.
// Two processes, as with the relay: `--role source` (the server) sends frames as fast as it can and
// takes back what comes; `--role forward` (the zero-copy client) swaps MAC addresses, prints
// nanoseconds per packet, and stays until the end of its input.
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

#include <fmt/format.h>

#include "bench/command_line.h"
#include "bench/measure.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kMaxBurst = 64;
constexpr unsigned kPoolCache = 256;
constexpr unsigned kPollsPerStretch = 64;
constexpr double kPeerSeconds = 20;
// After a poll that was not full, so that the next ones are.
constexpr uint64_t kGatherUs = 20;

struct Options {
  std::string role, socket, prefix = "sluice-floor";
  std::vector<uint16_t> sizes = {154};
  unsigned core = 0, control_core = 0, log2_ring = 10, slices = kSlices;
  uint16_t burst = 32;
};

volatile std::sig_atomic_t g_stop = 0;

struct Floor {
  const Options& options;
  uint16_t port = 0;
  rte_mempool* pool = nullptr;
  std::string error;
  double ns = 0;
  uint64_t packets = 0, polls = 0, full = 0;
  unsigned repeated = 0;
};

void swap_macs(rte_mbuf* m) {
  auto* eth = rte_pktmbuf_mtod(m, uint8_t*);
  uint8_t mac[6];
  std::memcpy(mac, eth, 6);
  std::memcpy(eth, eth + 6, 6);
  std::memcpy(eth + 6, mac, 6);
}

int send(void* arg) {
  auto& f = *static_cast<Floor*>(arg);
  const uint16_t burst = f.options.burst;
  rte_mbuf* out[kMaxBurst];
  rte_mbuf* in[kMaxBurst];
  uint16_t waiting = 0;
  size_t at = 0;
  while (g_stop == 0) {
    const uint16_t n = rte_eth_rx_burst(f.port, 0, in, burst);
    if (n != 0) rte_pktmbuf_free_bulk(in, n);
    if (waiting == 0) {
      if (rte_pktmbuf_alloc_bulk(f.pool, out, burst) != 0) continue;
      for (uint16_t i = 0; i < burst; ++i) {
        rte_pktmbuf_append(out[i], f.options.sizes[at]);
        if (++at == f.options.sizes.size()) at = 0;
      }
      waiting = burst;
    }
    const uint16_t sent = rte_eth_tx_burst(f.port, 0, out, waiting);
    waiting = static_cast<uint16_t>(waiting - sent);
    if (sent != 0) std::memmove(out, out + sent, waiting * sizeof *out);
  }
  rte_pktmbuf_free_bulk(out, waiting);
  return 0;
}

// One poll as the relay's worker times it; true if it counts: a full burst, and all of it taken.
bool forward_once(Floor& f, uint64_t& ticks) {
  const uint16_t burst = f.options.burst;
  rte_mbuf* mbufs[kMaxBurst];
  const uint64_t before = __builtin_ia32_rdtsc();
  const uint16_t n = rte_eth_rx_burst(f.port, 0, mbufs, burst);
  for (uint16_t i = 0; i < n; ++i) swap_macs(mbufs[i]);
  const uint16_t sent = n == 0 ? 0 : rte_eth_tx_burst(f.port, 0, mbufs, n);
  if (sent < n) rte_pktmbuf_free_bulk(mbufs + sent, n - sent);
  ticks += __builtin_ia32_rdtsc() - before;
  f.polls += n != 0;
  return n == burst && sent == n;
}

int forward(void* arg) {
  auto& f = *static_cast<Floor*>(arg);
  const Clock clock;
  const uint64_t gather = clock.ticks_from_us(kGatherUs);
  const auto pause = [&] {
    for (const uint64_t end = clock.ticks() + gather; clock.ticks() < end;) rte_pause();
  };
  const uint64_t begin = clock.ticks();
  uint64_t ignored = 0;
  while (!forward_once(f, ignored)) {
    pause();
    if (g_stop != 0 || clock.us_from_ticks(clock.ticks() - begin) > kPeerSeconds * 1e6) {
      f.error = "the source sends nothing: is it up, on this socket?";
      return 0;
    }
  }
  f.polls = 0;
  std::vector<double> slices;
  for (unsigned i = 0; i < f.options.slices && g_stop == 0; ++i) {
    slices.push_back(measure_slice(clock, f.repeated, [&]() -> std::pair<uint64_t, uint64_t> {
      uint64_t ticks = 0;
      for (unsigned full = 0; full < kPollsPerStretch && g_stop == 0;) {
        uint64_t spent = 0;
        if (forward_once(f, spent)) {
          ticks += spent;
          ++full;
        } else {
          pause();
        }
      }
      // A source that has gone would keep the slice waiting for ever.
      if (g_stop != 0) ticks += clock.hz();
      f.full += kPollsPerStretch;
      return {ticks, uint64_t{kPollsPerStretch} * f.options.burst};
    }));
  }
  if (g_stop != 0) f.error = "interrupted";
  f.ns = median(slices);
  f.packets = f.full * f.options.burst;
  return 0;
}

std::string start_eal(const Options& o) {
  const bool source = o.role == "source";
  const std::string device = fmt::format(
      "net_memif0,role={},socket={},socket-abstract=no,rsize={}{}", source ? "server" : "client",
      o.socket, o.log2_ring, source ? "" : ",zero-copy=yes");
  std::vector<std::string> args = {"memif_floor", "--in-memory",
                                   "--no-pci",    "--file-prefix",
                                   o.prefix,      "--log-level=*:error",
                                   "--lcores",    fmt::format("0@{},1@{}", o.control_core, o.core),
                                   "--vdev",      device};
  if (!source) args.push_back("--single-file-segments");
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) < 0) {
    return "DPDK's EAL does not start: the lines above say why (no free hugepages: scripts/setup)";
  }
  return {};
}

std::string start_port(Floor& f) {
  const auto ring = static_cast<uint16_t>(1u << f.options.log2_ring);
  // Both rings full, what is in the hands of either side, and the cache.
  f.pool = rte_pktmbuf_pool_create("floor", 2u * ring + 4 * kMaxBurst + 2 * kPoolCache, kPoolCache,
                                   0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (f.pool == nullptr) return "no memory for packet buffers: more hugepages (scripts/setup)";
  if (rte_eth_dev_get_port_by_name("net_memif0", &f.port) != 0) return "DPDK has no memif driver";
  const rte_eth_conf conf{};
  if (rte_eth_dev_configure(f.port, 1, 1, &conf) != 0 ||
      rte_eth_rx_queue_setup(f.port, 0, ring, SOCKET_ID_ANY, nullptr, f.pool) != 0 ||
      rte_eth_tx_queue_setup(f.port, 0, ring, SOCKET_ID_ANY, nullptr) != 0 ||
      rte_eth_dev_start(f.port) != 0) {
    return "the memif device cannot be started";
  }
  return {};
}

// The driver unmaps the rings when the peer goes, whoever may be reading them: the source has to be
// stopped before this end leaves, and nobody polls here any more.
void hold_until_end_of_input() {
  pollfd in{STDIN_FILENO, POLLIN, 0};
  while (g_stop == 0 && poll(&in, 1, 100) <= 0) {
  }
}

int run(const Options& o) {
  Floor f{.options = o};
  f.error = start_eal(o);
  if (f.error.empty()) f.error = start_port(f);
  if (f.error.empty()) {
    rte_eal_remote_launch(o.role == "source" ? send : forward, &f, 1);
    rte_eal_mp_wait_lcore();
  }
  if (!f.error.empty()) {
    fmt::print(stderr, "memif_floor: {}\n", f.error);
    return 1;
  }
  if (o.role == "forward") {
    fmt::print(
        "{{\"ns_per_packet\": {:.2f}, \"packets\": {}, \"full_polls\": {:.4f}, "
        "\"repeated_slices\": {}}}\n",
        f.ns, f.packets, f.polls == 0 ? 0 : double(f.full) / double(f.polls), f.repeated);
    std::fflush(stdout);
    hold_until_end_of_input();
  }
  rte_eth_dev_stop(f.port);
  rte_eth_dev_close(f.port);
  rte_eal_cleanup();
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{"Forwarding over a memif without a relay"};
  app.add_option("--role", o.role, "source (first) or forward")
      .required()
      .one_of({"source", "forward"});
  app.add_option("--socket", o.socket, "path of the memif's socket").required();
  app.add_option("--size", o.sizes, "bytes of a frame without FCS; several take turns")
      .range(60, 1514);
  app.add_option("--core", o.core, "that sends, or forwards");
  app.add_option("--control-core", o.control_core, "for everything else");
  app.add_option("--log2-ring", o.log2_ring, "log2 of the slots of each ring").range(6, 14);
  app.add_option("--burst", o.burst, "packets taken at once").range(1, 64);
  app.add_option("--slices", o.slices, "of 0.3 s each, whose median counts");
  app.add_option("--file-prefix", o.prefix, "EAL's");
  if (const auto done = app.parse(argc, argv)) return *done;
  for (const int s : {SIGINT, SIGTERM}) {
    std::signal(s, [](int) { sluice::bench::g_stop = 1; });
  }
  return sluice::bench::run(o);
}
