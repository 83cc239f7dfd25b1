#include "cli/core_map.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "fabric/topology.h"
#include "host/cpu_list.h"

namespace sluice::cli {
namespace {

using host::Cpu;
using host::Machine;
using host::Nic;

// A beginning: how many are right depends on how much of the traffic is calls.
constexpr unsigned kWorkersPerVerifier = 4;

// A port's name in the configuration: the interface's where it is one that may be used.
std::string name_of_port(const std::string& interface, size_t number) {
  const bool fits = !interface.empty() && interface.size() <= 31 &&
                    std::all_of(interface.begin(), interface.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                    });
  return fits ? interface : fmt::format("port{}", number);
}

MapPort port_of(const Nic& nic, size_t number) {
  MapPort p{.name = name_of_port(nic.interface, number),
            .device = nic.address,
            .node = nic.node,
            .speed_mbps = nic.speed_mbps,
            .mtu = std::clamp<uint32_t>(nic.mtu == 0 ? 1500 : nic.mtu, 1280, 9000)};
  p.why = fmt::format("{}, NUMA node {}{}{}", nic.id, nic.node,
                      nic.speed_mbps == 0 ? "" : fmt::format(", {} Mbit/s", nic.speed_mbps),
                      nic.driver == "vfio-pci" || nic.driver.starts_with("mlx")
                          ? ""
                          : fmt::format(", bound to {}: host-setup binds it to vfio-pci",
                                        nic.driver.empty() ? "no driver" : nic.driver));
  return p;
}

Result<std::vector<MapPort>> choose_ports(const Machine& m, const MapWishes& wishes) {
  std::vector<MapPort> out;
  for (const std::string& device : wishes.ports) {
    if (device.starts_with("net_")) {
      out.push_back({.name = fmt::format("port{}", out.size()),
                     .device = device,
                     .why = "a virtual device: good for trials"});
      continue;
    }
    const Nic* nic = m.nic(device);
    if (nic == nullptr) nic = m.nic("0000:" + device);
    if (nic == nullptr) {
      std::string known;
      for (const Nic& n : m.nics) known += (known.empty() ? "" : ", ") + n.address;
      return fail(ErrorCode::kUsage, fmt::format("there is no network card at {}; there {}", device,
                                                 known.empty() ? "is none" : "is " + known));
    }
    out.push_back(port_of(*nic, out.size()));
  }
  if (!wishes.ports.empty()) return out;
  std::string used;
  for (const Nic& nic : m.nics) {
    if (nic.in_use) {
      used +=
          fmt::format(" {} ({}) carries this host's default route.", nic.address, nic.interface);
    } else if (out.size() < fabric::kMaxPorts) {
      out.push_back(port_of(nic, out.size()));
    }
  }
  if (out.empty()) {
    return fail(ErrorCode::kUsage,
                fmt::format("no network card is free for the relay.{} Name one with --port, or a "
                            "virtual device such as net_af_packet0,iface=eth1",
                            used));
  }
  return out;
}

// One thread of each physical core, by number.
std::vector<const Cpu*> physical_cores(const Machine& m) {
  std::vector<const Cpu*> out;
  for (const Cpu& c : m.cpus) {
    if (*m.siblings(c).begin() == c.id) out.push_back(&c);
  }
  return out;
}

class Builder {
 public:
  Builder(const Machine& m, const MapWishes& wishes) : machine_(m), wishes_(wishes) {}

  Result<CoreMap> build() {
    auto ports = choose_ports(machine_, wishes_);
    if (!ports) return tl::unexpected(ports.error());
    map_.ports = std::move(*ports);
    free_ = physical_cores(machine_);
    if (free_.empty()) return fail(ErrorCode::kUsage, "the kernel names no core that is online");
    place_control();
    place_verifiers();
    if (auto r = place_workers(); !r) return tl::unexpected(r.error());
    deal_queues();
    return std::move(map_);
  }

 private:
  const Cpu* take(unsigned node) {
    const auto at =
        std::find_if(free_.begin(), free_.end(), [&](const Cpu* c) { return c->node == node; });
    if (at == free_.end()) return nullptr;
    const Cpu* out = *at;
    free_.erase(at);
    return out;
  }
  size_t left_on(unsigned node) const {
    return static_cast<size_t>(
        std::count_if(free_.begin(), free_.end(), [&](const Cpu* c) { return c->node == node; }));
  }

  // The lowest core has the kernel's own work: a worker there would lose packets to it.
  void place_control() {
    const unsigned node = map_.ports.front().node;
    const Cpu* first = free_.front();
    free_.erase(free_.begin());
    if (free_.size() < 3) {
      map_.control = first->id;
      map_.why_control =
          fmt::format("core {} shares with the kernel's own work: there are few", first->id);
      return;
    }
    const Cpu* own = take(node);
    if (own == nullptr) {
      own = free_.front();
      free_.erase(free_.begin());
    }
    map_.control = own->id;
    map_.why_control =
        fmt::format("on the node of {}; core {} is left to the kernel and the log's threads",
                    map_.ports.front().name, first->id);
  }

  void place_verifiers() {
    const unsigned cores = static_cast<unsigned>(free_.size());
    const unsigned count =
        std::min(wishes_.verifiers.value_or(cores < 5 ? 0 : cores / (kWorkersPerVerifier + 1)),
                 fabric::kMaxVerifiers);
    for (unsigned i = 0; i < count && free_.size() > 1; ++i) {
      // From the end: workers get the cores beside each other.
      const unsigned node = map_.ports[i % map_.ports.size()].node;
      auto at =
          std::find_if(free_.rbegin(), free_.rend(), [&](const Cpu* c) { return c->node == node; });
      if (at == free_.rend()) at = free_.rbegin();
      map_.verifiers.push_back((*at)->id);
      free_.erase(std::next(at).base());
    }
    std::sort(map_.verifiers.begin(), map_.verifiers.end());
    map_.why_verifiers =
        map_.verifiers.empty()
            ? "none: workers verify calls between packets, which delays data by a slice of eight"
            : fmt::format(
                  "one for {} workers: data does not wait for calls' signatures; give them "
                  "to workers where there are few calls",
                  kWorkersPerVerifier);
  }

  // Those of a node's ports, in Mbit/s; 0: of one it is not known.
  uint64_t speed_on(unsigned node) const {
    uint64_t out = 0;
    for (const MapPort& p : map_.ports) {
      if (p.node != node) continue;
      if (p.speed_mbps == 0) return 0;
      out += p.speed_mbps;
    }
    return out;
  }

  size_t still_wanted() const {
    const size_t wanted = wishes_.workers.value_or(0);
    return wanted - std::min(wanted, map_.workers.size());
  }
  void add_worker(const Cpu* c) { map_.workers.push_back({c->id, c->node, {}}); }

  Result<void> place_workers() {
    std::set<unsigned> nodes;
    for (const MapPort& p : map_.ports) nodes.insert(p.node);
    std::string why;
    size_t nodes_left = nodes.size();
    for (const unsigned node : nodes) {
      size_t count = left_on(node);
      if (wishes_.workers) {
        // As many for each node's ports, if it has them.
        count = std::min<size_t>(count, (still_wanted() + nodes_left - 1) / nodes_left);
        --nodes_left;
      } else if (const uint64_t speed = speed_on(node); speed != 0) {
        const size_t enough = (speed + kMbpsPerWorker - 1) / kMbpsPerWorker;
        if (enough < count) {
          why += fmt::format("{} for {} Gbit/s on node {}, {} each", enough, speed / 1000, node,
                             kMbpsPerWorker / 1000);
          count = enough;
        }
      }
      for (size_t i = 0; i < count && map_.workers.size() < fabric::kMaxWorkers; ++i) {
        add_worker(take(node));
      }
    }
    // What these nodes have left; then another's cores, across the link between them.
    while ((map_.workers.empty() || still_wanted() > 0) && !free_.empty()) {
      const Cpu* own = nullptr;
      for (const unsigned node : nodes) own = own == nullptr ? take(node) : own;
      if (own == nullptr) {
        own = free_.front();
        free_.erase(free_.begin());
        map_.notes.push_back(fmt::format(
            "core {} is on another NUMA node than the ports: each of its packets crosses the "
            "sockets",
            own->id));
      }
      add_worker(own);
    }
    if (map_.workers.empty()) {
      map_.workers.push_back({map_.control, 0, {}});
      map_.notes.push_back(
          "worker and control share a core, for trials only: there is no other one");
    }
    if (wishes_.workers && map_.workers.size() < *wishes_.workers) {
      return fail(ErrorCode::kUsage,
                  fmt::format("{} workers are asked for, and there are cores for {}: one of each "
                              "physical core, without control's and the verifiers'",
                              *wishes_.workers, map_.workers.size()));
    }
    map_.why_workers = "one for each physical core: hyper-threads share its AES units";
    if (!why.empty()) map_.why_workers += "; " + why;
    if (!free_.empty()) {
      std::set<unsigned> spare;
      for (const Cpu* c : free_) spare.insert(c->id);
      map_.notes.push_back(fmt::format("not used: cores {}", host::cpu_list_text(spare)));
    }
    return {};
  }

  // Each worker polls a queue of every port on its node, so that both directions of a pair of
  // ports stay on one core.
  void deal_queues() {
    for (size_t p = 0; p < map_.ports.size(); ++p) {
      MapPort& port = map_.ports[p];
      for (const bool near : {true, false}) {
        if (port.queues != 0) break;
        for (MapWorker& w : map_.workers) {
          if (near && w.node != port.node) continue;
          w.queues.emplace_back(p, port.queues++);
        }
      }
    }
    for (const MapPort& port : map_.ports) {
      const Nic* nic = machine_.nic(port.device);
      if (nic == nullptr || nic->queues == 0 || nic->queues >= port.queues) continue;
      map_.notes.push_back(fmt::format(
          "{} has {} receive queues set up for the kernel, the map takes {}: ethtool -l "
          "{} shows how many there can be",
          port.name, nic->queues, port.queues, nic->interface));
    }
    // Nobody polls nothing.
    std::erase_if(map_.workers, [](const MapWorker& w) { return w.queues.empty(); });
  }

  const Machine& machine_;
  const MapWishes& wishes_;
  std::vector<const Cpu*> free_;
  CoreMap map_;
};

}  // namespace

std::set<unsigned> CoreMap::spinning() const {
  std::set<unsigned> out(verifiers.begin(), verifiers.end());
  for (const MapWorker& w : workers) out.insert(w.core);
  return out;
}

Result<CoreMap> propose_map(const Machine& machine, const MapWishes& wishes) {
  return Builder(machine, wishes).build();
}

}  // namespace sluice::cli
