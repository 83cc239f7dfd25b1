#include "dataplane/eal.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_pdump.h>

#include <fmt/format.h>

#include "dataplane/af_packet.h"

namespace sluice::dataplane {
namespace {

bool is_vdev(const std::string& device) {
  return device.starts_with("net_");
}

// One TX queue per worker on every port; af_packet has as many queues as it is told.
std::string vdev_of(const fabric::Topology& t, uint16_t port) {
  if (!is_af_packet(t.ports[port])) return t.ports[port].device;
  const size_t pairs = std::max<size_t>(t.rx_queues(port), t.workers.size());
  return af_packet_device(t.ports[port], static_cast<unsigned>(pairs));
}

Result<void> check_core(unsigned core, const char* role) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && !CPU_ISSET(core, &allowed)) {
    return fail(ErrorCode::kResource,
                fmt::format("core {} ({}) is not one that this process may use; {} are: correct "
                            "cores: in the configuration or the CPU set",
                            core, role, CPU_COUNT(&allowed)));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Eal>> Eal::start(const fabric::Topology& t, const MemoryNeed& need) {
  std::string lcores = fmt::format("0@{}", t.control_core);
  if (auto r = check_core(t.control_core, "control"); !r) return tl::unexpected(r.error());
  for (size_t w = 0; w < t.workers.size(); ++w) {
    if (auto r = check_core(t.workers[w].core, "worker"); !r) return tl::unexpected(r.error());
    lcores += fmt::format(",{}@{}", w + 1, t.workers[w].core);
  }
  for (size_t v = 0; v < t.verifiers.size(); ++v) {
    if (auto r = check_core(t.verifiers[v], "verifier"); !r) return tl::unexpected(r.error());
    lcores += fmt::format(",{}@{}", t.workers.size() + v + 1, t.verifiers[v]);
  }
  std::vector<std::string> args = {"sluiced",       "--lcores",    lcores,
                                   "--file-prefix", t.file_prefix, "--log-level=*:error"};
  switch (t.mode) {
    case fabric::EalMode::kShared:
      break;
    case fabric::EalMode::kInMemory:
      args.push_back("--in-memory");
      break;
    case fabric::EalMode::kNoHuge:
      args.insert(args.end(), {"--no-huge", "--no-shconf", "-m",
                               std::to_string(((need.pool + need.rings) >> 20) + 16)});
      break;
  }
  bool pci = false;
  for (uint16_t p = 0; p < t.ports.size(); ++p) {
    const std::string& device = t.ports[p].device;
    if (is_vdev(device)) {
      args.insert(args.end(), {"--vdev", vdev_of(t, p)});
    } else {
      pci = true;
      args.insert(args.end(), {"-a", device});
    }
  }
  if (!pci) args.push_back("--no-pci");
  args.insert(args.end(), t.eal_args.begin(), t.eal_args.end());

  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) < 0) {
    return fail(
        ErrorCode::kResource,
        fmt::format("DPDK's EAL does not start: {}; the lines above say why (a device in ports: "
                    "that does not exist, no privilege, or another process with file_prefix {})",
                    rte_strerror(rte_errno), t.file_prefix));
  }
  std::unique_ptr<Eal> eal(new Eal);
  if (t.mode == fabric::EalMode::kShared) {
    if (rte_pdump_init() != 0) {
      return fail(
          ErrorCode::kResource,
          fmt::format("DPDK's packet capture does not start: {}; give EAL more hugepages, or "
                      "set eal.mode: in_memory, which has none",
                      rte_strerror(rte_errno)));
    }
    eal->capture_ = true;
  }
  return eal;
}

Eal::~Eal() {
  if (capture_) rte_pdump_uninit();
  const std::string folder = rte_eal_get_runtime_dir();
  rte_eal_cleanup();
  rmdir(folder.c_str());  // where nothing is shared, it is empty now
}

}  // namespace sluice::dataplane
