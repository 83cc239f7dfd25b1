// The machine against the map of cores and queues.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "cli/doctor.h"
#include "control/capacity.h"
#include "dataplane/memory_need.h"
#include "host/cpu_list.h"

namespace sluice::cli {
namespace {

using control::Config;
using host::Cpu;
using host::Machine;
using host::Nic;

constexpr uint64_t kHugePage = 2u << 20;
constexpr const char* kHostSetup = "host-setup shows what it would change, and does it";

bool is_virtual(const fabric::PortConfig& port) {
  return port.device.starts_with("net_");
}

// The interface that a virtual device stands on; empty: on none.
std::string interface_of(const fabric::PortConfig& port) {
  const size_t at = port.device.find("iface=");
  if (at == std::string::npos) return "";
  const size_t begin = at + 6;
  return port.device.substr(begin, port.device.find(',', begin) - begin);
}

void look_at_cpu(const Machine& m, Findings& out) {
  const auto has = [&](const char* flag) { return m.cpu_flags.contains(flag); };
  if (!has("aes") || !has("pclmulqdq")) {
    out.push_back({"cpu", Grade::kFailed, m.cpu_model + " lacks AES-NI or PCLMULQDQ",
                   "the relay needs another machine"});
    return;
  }
  const bool vaes = has("vaes") && has("vpclmulqdq");
  const bool ifma = has("avx512ifma");
  out.push_back({"cpu", vaes && ifma ? Grade::kOk : Grade::kWarning,
                 fmt::format("{}: {}, {}", m.cpu_model, vaes ? "VAES" : "no VAES",
                             ifma ? "AVX-512 IFMA" : "no AVX-512 IFMA"),
                 vaes && ifma ? ""
                 : vaes ? "signatures are verified one at a time, by libsodium: an eighth to a"
                          " sixteenth as many a second (docs/benchmarks.md, crypto)"
                        : "each packet costs more to seal than with VAES"});
  const bool steady = has("constant_tsc") && has("nonstop_tsc");
  out.push_back({"tsc", steady ? Grade::kOk : Grade::kWarning,
                 fmt::format("{}, the kernel's clock source is {}",
                             steady ? "constant and never stops" : "may change its rate or stop",
                             m.clocksource.empty() ? "not known" : m.clocksource),
                 steady ? "" : "times and rates of the relay may drift on this processor"});
}

// By node: what must lie in pages of 2 MB, and all of it.
struct PagesNeeded {
  std::map<unsigned, uint64_t> tables, all;
};

PagesNeeded pages_needed(const Machine& m, const Config& c) {
  const auto need = dataplane::memory_need(c.topology, c.limits.packet_buffers,
                                           fabric::Arena::needed(control::arena_sizes(c)));
  std::map<unsigned, unsigned> workers;
  for (const auto& w : c.topology.workers) {
    const Cpu* cpu = m.cpu(w.core);
    ++workers[cpu == nullptr ? 0 : cpu->node];
  }
  PagesNeeded out;
  for (const auto& [node, count] : workers) {
    out.tables[node] = need.arena / workers.size();
    out.all[node] = out.tables[node] + (need.pool + need.rings) * count / c.topology.workers.size();
  }
  return out;
}

void look_at_hugepages(const Machine& m, const Config& c, bool running, Findings& out) {
  if (c.topology.mode == fabric::EalMode::kNoHuge) {
    out.push_back({"hugepages", Grade::kWarning, "eal.mode is no_huge: TLB misses cost rate",
                   "set eal.mode: shared, and reserve them"});
    return;
  }
  const PagesNeeded need = pages_needed(m, c);
  for (const auto& [node, bytes] : need.all) {
    uint64_t small = 0, every = 0;
    for (const auto& p : m.hugepages) {
      if (p.node != node) continue;
      const uint64_t have = (running ? p.total : p.free) * p.page_bytes;
      every += have;
      if (p.page_bytes == kHugePage) small += have;
    }
    const bool enough = every >= bytes && small >= need.tables.at(node);
    const uint64_t missing = std::max(bytes - std::min(every, bytes),
                                      need.tables.at(node) - std::min(small, need.tables.at(node)));
    out.push_back(
        {"hugepages", enough ? Grade::kOk : Grade::kFailed,
         fmt::format("node {}: {} MiB needed, {} of them in pages of 2 MB; {} MiB {}", node,
                     (bytes >> 20) + 1, (need.tables.at(node) >> 20) + 1, every >> 20,
                     running ? "reserved" : "free"),
         enough ? ""
                : fmt::format("reserve {} pages of 2 MB more on that node ({}), or lower limits:",
                              missing / kHugePage + 1, kHostSetup)});
  }
}

void look_at_devices(const Machine& m, const Config& c, Findings& out) {
  bool any_vfio = false;
  for (const auto& port : c.topology.ports) {
    if (is_virtual(port)) {
      out.push_back({"driver", Grade::kWarning,
                     fmt::format("{}: {} is a virtual device", port.name, port.device),
                     "good for trials; a card bound to vfio-pci is many times as fast"});
      continue;
    }
    const Nic* nic = m.nic(port.device);
    if (nic == nullptr) {
      out.push_back({"driver", Grade::kFailed,
                     fmt::format("{}: there is no network card at {}", port.name, port.device),
                     "lspci -d ::0200 lists them; correct ports: in the configuration"});
      continue;
    }
    // Mellanox cards work beside the kernel's driver.
    const bool bifurcated = nic->driver.starts_with("mlx");
    const bool vfio = nic->driver == "vfio-pci";
    any_vfio |= vfio;
    out.push_back({"driver", vfio || bifurcated ? Grade::kOk : Grade::kFailed,
                   fmt::format("{}: {} ({}) is bound to {}", port.name, port.device, nic->id,
                               nic->driver.empty() ? "no driver" : nic->driver),
                   vfio || bifurcated ? "" : fmt::format("bind it to vfio-pci: {}", kHostSetup)});
  }
  if (!any_vfio) return;
  const bool contained = m.iommu_groups != 0 && !m.noiommu;
  out.push_back({"iommu",
                 contained   ? Grade::kOk
                 : m.noiommu ? Grade::kWarning
                             : Grade::kFailed,
                 contained   ? fmt::format("on, {} groups", m.iommu_groups)
                 : m.noiommu ? "vfio works without one: a card can write anywhere in memory"
                             : "off: vfio-pci does not let the relay use its cards",
                 contained ? ""
                           : "turn VT-d or AMD-Vi on in the firmware and intel_iommu=on iommu=pt "
                             "in the kernel's arguments"});
}

// Every core with what it does, in the map's order.
std::vector<std::pair<unsigned, std::string>> roles_of(const Config& c) {
  std::vector<std::pair<unsigned, std::string>> out;
  out.emplace_back(c.topology.control_core, "control");
  for (size_t w = 0; w < c.topology.workers.size(); ++w) {
    out.emplace_back(c.topology.workers[w].core, fmt::format("worker {}", w));
  }
  for (size_t v = 0; v < c.topology.verifiers.size(); ++v) {
    out.emplace_back(c.topology.verifiers[v], fmt::format("verifier {}", v));
  }
  return out;
}

void look_at_cores(const Machine& m, const Config& c, Findings& out) {
  const auto roles = roles_of(c);
  std::string missing, shared, siblings;
  for (const auto& [core, role] : roles) {
    const Cpu* cpu = m.cpu(core);
    if (cpu == nullptr) {
      missing += fmt::format("{}{} (core {})", missing.empty() ? "" : ", ", role, core);
      continue;
    }
    for (const auto& [other, its] : roles) {
      if (its <= role) continue;
      const Cpu* theirs = m.cpu(other);
      if (theirs == nullptr) continue;
      std::string& to = other == core ? shared : siblings;
      if (other != core && !m.siblings(*cpu).contains(other)) continue;
      to += fmt::format("{}{} and {} on {}", to.empty() ? "" : ", ", role, its,
                        other == core ? fmt::format("core {}", core)
                                      : fmt::format("cores {} and {}", core, other));
    }
  }
  if (!missing.empty()) {
    std::set<unsigned> online;
    for (const Cpu& cpu : m.cpus) online.insert(cpu.id);
    out.push_back({"cores", Grade::kFailed, "not online: " + missing,
                   fmt::format("correct cores: in the configuration; online are {}",
                               host::cpu_list_text(online))});
    return;
  }
  if (!shared.empty()) {
    out.push_back({"cores", Grade::kWarning, "shared: " + shared,
                   "good for trials; each waits for the other, give them cores of their own"});
  }
  if (!siblings.empty()) {
    out.push_back({"cores", Grade::kWarning, "hyper-threads of one core: " + siblings,
                   "they share its AES and multiply units: one role for each physical core"});
  }
  if (shared.empty() && siblings.empty()) {
    out.push_back({"cores", Grade::kOk, fmt::format("{}, each its own", roles.size()), ""});
  }
}

void look_at_nodes(const Machine& m, const Config& c, Findings& out) {
  if (m.nodes().size() == 1) {
    out.push_back({"numa", Grade::kOk, "one node", ""});
    return;
  }
  std::string far;
  for (size_t w = 0; w < c.topology.workers.size(); ++w) {
    const auto& worker = c.topology.workers[w];
    const Cpu* cpu = m.cpu(worker.core);
    for (const auto& q : worker.queues) {
      const Nic* nic = m.nic(c.topology.ports[q.port].device);
      if (cpu == nullptr || nic == nullptr || nic->node == cpu->node) continue;
      far += fmt::format("{}worker {} (core {}, node {}) polls {}/{} on node {}",
                         far.empty() ? "" : ", ", w, cpu->id, cpu->node,
                         c.topology.ports[q.port].name, q.queue, nic->node);
    }
  }
  out.push_back({"numa", far.empty() ? Grade::kOk : Grade::kWarning,
                 far.empty() ? "workers, queues and pools lie on one node each" : far,
                 far.empty() ? ""
                             : "each packet crosses the link between sockets: move the card or the "
                               "worker; sluicectl tune proposes a map"});
}

// Cores that spin: what else runs there costs packets.
std::set<unsigned> busy_cores(const Config& c) {
  std::set<unsigned> out(c.topology.verifiers.begin(), c.topology.verifiers.end());
  for (const auto& w : c.topology.workers) out.insert(w.core);
  return out;
}

void look_at_isolation(const Machine& m, const Config& c, Findings& out) {
  std::set<unsigned> ticking, shared, slow;
  for (const unsigned core : busy_cores(c)) {
    const Cpu* cpu = m.cpu(core);
    if (cpu == nullptr) continue;
    if (!cpu->isolated) shared.insert(core);
    if (!cpu->tickless) ticking.insert(core);
    if (!cpu->governor.empty() && cpu->governor != "performance") slow.insert(core);
  }
  const bool alone = shared.empty() && ticking.empty();
  std::string detail = "workers' cores are isolated and tickless";
  if (!shared.empty()) {
    detail = fmt::format("the scheduler may place others on {}", host::cpu_list_text(shared));
  }
  if (!ticking.empty()) {
    detail += fmt::format("{} {} have the kernel's tick", shared.empty() ? "," : " and",
                          host::cpu_list_text(ticking));
  }
  out.push_back(
      {"isolation", alone ? Grade::kOk : Grade::kWarning, detail,
       alone ? ""
             : fmt::format("isolcpus and nohz_full in the kernel's arguments: {}", kHostSetup)});
  out.push_back(
      {"governor", slow.empty() ? Grade::kOk : Grade::kWarning,
       slow.empty() ? "workers' cores run at full clock, or the kernel does not scale it"
                    : fmt::format("cores {} are not at performance", host::cpu_list_text(slow)),
       slow.empty() ? ""
                    : fmt::format("cpupower frequency-set -g performance, or {}", kHostSetup)});
}

void look_at_mtu(const Machine& m, const Config& c, Findings& out) {
  for (const auto& port : c.topology.ports) {
    const std::string interface = interface_of(port);
    const auto at = m.interface_mtus.find(interface);
    if (interface.empty()) continue;
    if (at == m.interface_mtus.end()) {
      out.push_back({"mtu", Grade::kFailed,
                     fmt::format("{}: there is no interface {}", port.name, interface),
                     "ip link lists them; correct ports: in the configuration"});
      continue;
    }
    const bool fits = at->second >= port.mtu;
    out.push_back(
        {"mtu", fits ? Grade::kOk : Grade::kFailed,
         fmt::format("{}: {} bytes, {} carries {}", port.name, port.mtu, interface, at->second),
         fits ? ""
              : fmt::format("ip link set {} mtu {}, or lower mtu of the port", interface,
                            port.mtu)});
  }
}

}  // namespace

void examine_host(const Machine& m, const Config* c, bool running, Findings& out) {
  look_at_cpu(m, out);
  if (c == nullptr) return;
  look_at_hugepages(m, *c, running, out);
  look_at_devices(m, *c, out);
  look_at_cores(m, *c, out);
  look_at_nodes(m, *c, out);
  look_at_isolation(m, *c, out);
  look_at_mtu(m, *c, out);
}

}  // namespace sluice::cli
