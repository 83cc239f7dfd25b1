#include "host/machine.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "host/cpu_list.h"

namespace sluice::host {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNetworkClass = "0x02";

// The first line; empty where there is no such file.
std::string line_of(const fs::path& file) {
  std::string out;
  std::ifstream in(file);
  std::getline(in, out);
  return out;
}

uint64_t number_of(const fs::path& file) {
  const std::string text = line_of(file);
  uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;  // what is negative, as the node of a machine without NUMA, is 0
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    out.push_back(it->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// N of "nodeN"; false for other names.
bool numbered(const fs::path& entry, std::string_view prefix, unsigned& out) {
  const std::string name = entry.filename().string();
  if (!name.starts_with(prefix)) return false;
  const char* const end = name.data() + name.size();
  const auto r = std::from_chars(name.data() + prefix.size(), end, out);
  return r.ec == std::errc() && r.ptr == end;
}

void read_cpus(const fs::path& sys, Machine& out) {
  const fs::path cpus = sys / "devices/system/cpu";
  const auto isolated = parse_cpu_list(line_of(cpus / "isolated"));
  const auto tickless = parse_cpu_list(line_of(cpus / "nohz_full"));
  for (const unsigned id : parse_cpu_list(line_of(cpus / "online"))) {
    const fs::path at = cpus / ("cpu" + std::to_string(id));
    Cpu c;
    c.id = id;
    c.package = static_cast<unsigned>(number_of(at / "topology/physical_package_id"));
    // Where the kernel tells nothing, each is a core by itself.
    const bool told = fs::exists(at / "topology/core_id");
    c.core = told ? static_cast<unsigned>(number_of(at / "topology/core_id")) : id;
    c.isolated = isolated.contains(id);
    c.tickless = tickless.contains(id);
    c.governor = line_of(at / "cpufreq/scaling_governor");
    out.cpus.push_back(std::move(c));
  }
  for (const fs::path& entry : entries(sys / "devices/system/node")) {
    unsigned node = 0;
    if (!numbered(entry, "node", node)) continue;
    const auto on_it = parse_cpu_list(line_of(entry / "cpulist"));
    for (Cpu& c : out.cpus) {
      if (on_it.contains(c.id)) c.node = node;
    }
  }
}

void read_pools(const fs::path& folder, unsigned node, Machine& out) {
  for (const fs::path& pool : entries(folder)) {
    unsigned kb = 0;
    const std::string name = pool.filename().string();
    if (!name.starts_with("hugepages-")) continue;
    std::from_chars(name.data() + 10, name.data() + name.size(), kb);
    out.hugepages.push_back({node, uint64_t{kb} << 10, number_of(pool / "nr_hugepages"),
                             number_of(pool / "free_hugepages")});
  }
}

void read_hugepages(const fs::path& sys, Machine& out) {
  for (const fs::path& entry : entries(sys / "devices/system/node")) {
    unsigned node = 0;
    if (numbered(entry, "node", node)) read_pools(entry / "hugepages", node, out);
  }
  if (out.hugepages.empty()) read_pools(sys / "kernel/mm/hugepages", 0, out);
}

// The interface of the default route, in either table that the kernel shows.
std::set<std::string> default_routes(const fs::path& proc) {
  std::set<std::string> out;
  std::ifstream v4(proc / "net/route");
  for (std::string line; std::getline(v4, line);) {
    std::istringstream words(line);
    std::string interface, to;
    words >> interface >> to;
    if (to == "00000000") out.insert(interface);
  }
  std::ifstream v6(proc / "net/ipv6_route");
  for (std::string line; std::getline(v6, line);) {
    std::istringstream words(line);
    std::string to, length, interface;
    words >> to >> length;
    for (std::string word; words >> word;) interface = word;
    if (length == "00" && to.find_first_not_of('0') == std::string::npos && interface != "lo") {
      out.insert(interface);
    }
  }
  return out;
}

void read_nics(const fs::path& root, Machine& out) {
  const auto routes = default_routes(root / "proc");
  for (const fs::path& device : entries(root / "sys/bus/pci/devices")) {
    if (!line_of(device / "class").starts_with(kNetworkClass)) continue;
    Nic n;
    n.address = device.filename().string();
    n.node = static_cast<unsigned>(number_of(device / "numa_node"));
    std::error_code ec;
    n.driver = fs::read_symlink(device / "driver", ec).filename().string();
    const auto hex = [&](const char* file) {
      const std::string text = line_of(device / file);
      return text.starts_with("0x") ? text.substr(2) : text;
    };
    n.id = hex("vendor") + ":" + hex("device");
    // A virtio card keeps its interface one level below.
    auto nets = entries(device / "net");
    for (const fs::path& child : entries(device)) {
      if (nets.empty() && child.filename().string().starts_with("virtio"))
        nets = entries(child / "net");
    }
    if (!nets.empty()) {
      const fs::path& net = nets.front();
      n.interface = net.filename().string();
      n.speed_mbps = static_cast<uint32_t>(number_of(net / "speed"));
      n.mtu = static_cast<uint32_t>(number_of(net / "mtu"));
      for (const fs::path& queue : entries(net / "queues")) {
        n.queues += queue.filename().string().starts_with("rx-") ? 1 : 0;
      }
      n.in_use = routes.contains(n.interface);
    }
    out.nics.push_back(std::move(n));
  }
}

void read_interfaces(const fs::path& sys, Machine& out) {
  for (const fs::path& entry : entries(sys / "class/net")) {
    out.interface_mtus[entry.filename().string()] = static_cast<uint32_t>(number_of(entry / "mtu"));
  }
}

void read_cpuinfo(const fs::path& proc, Machine& out) {
  std::ifstream in(proc / "cpuinfo");
  for (std::string line; std::getline(in, line) && !line.empty();) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
    if (line.starts_with("model name")) out.cpu_model = value;
    if (!line.starts_with("flags")) continue;
    std::istringstream words(value);
    for (std::string flag; words >> flag;) out.cpu_flags.insert(flag);
  }
}

uint64_t memory_of(const fs::path& proc) {
  std::ifstream in(proc / "meminfo");
  std::string key;
  uint64_t kb = 0;
  in >> key >> kb;
  return key == "MemTotal:" ? kb << 10 : 0;
}

}  // namespace

const Cpu* Machine::cpu(unsigned id) const {
  const auto at = std::find_if(cpus.begin(), cpus.end(), [&](const Cpu& c) { return c.id == id; });
  return at == cpus.end() ? nullptr : &*at;
}

const Nic* Machine::nic(const std::string& address) const {
  const auto at =
      std::find_if(nics.begin(), nics.end(), [&](const Nic& n) { return n.address == address; });
  return at == nics.end() ? nullptr : &*at;
}

std::set<unsigned> Machine::nodes() const {
  std::set<unsigned> out;
  for (const Cpu& c : cpus) out.insert(c.node);
  return out;
}

std::set<unsigned> Machine::siblings(const Cpu& of) const {
  std::set<unsigned> out;
  for (const Cpu& c : cpus) {
    if (c.package == of.package && c.core == of.core) out.insert(c.id);
  }
  return out;
}

Machine read_machine(const std::string& root) {
  const fs::path at(root);
  Machine out;
  read_cpus(at / "sys", out);
  read_hugepages(at / "sys", out);
  read_nics(at, out);
  read_interfaces(at / "sys", out);
  read_cpuinfo(at / "proc", out);
  out.memory_bytes = memory_of(at / "proc");
  out.iommu_groups = static_cast<unsigned>(entries(at / "sys/kernel/iommu_groups").size());
  out.noiommu = line_of(at / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y";
  out.clocksource = line_of(at / "sys/devices/system/clocksource/clocksource0/current_clocksource");
  return out;
}

}  // namespace sluice::host
