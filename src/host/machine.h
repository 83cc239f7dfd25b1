// What the kernel says of a machine: cores, memory, network cards. Read from its /sys and /proc, or
// from a copy of them, so that a machine elsewhere can be looked at. Plain values; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace sluice::host {

// One that is online.
struct Cpu {
  unsigned id = 0;
  unsigned node = 0;      // NUMA; 0 where the kernel names none
  unsigned package = 0;   // socket
  unsigned core = 0;      // within the package; hyper-threads share one
  bool isolated = false;  // the scheduler places nothing there (isolcpus)
  bool tickless = false;  // nohz_full
  std::string governor;   // of its frequency; empty: the kernel does not scale it
};

struct HugepagePool {
  unsigned node = 0;
  uint64_t page_bytes = 0;
  uint64_t total = 0, free = 0;  // pages
};

// A network card's function on the PCI bus.
struct Nic {
  std::string address;  // 0000:3b:00.0
  unsigned node = 0;
  std::string driver;       // empty: bound to none
  std::string interface;    // the kernel's name for it; empty: it has none (vfio-pci)
  std::string id;           // vendor:device, as lspci -n shows it
  uint32_t speed_mbps = 0;  // of its link; 0: not known
  uint32_t mtu = 0;         // of the interface; 0: not known
  unsigned queues = 0;      // for receiving; 0: not known
  bool in_use = false;      // the kernel's default route goes over it
};

struct Machine {
  std::vector<Cpu> cpus;  // by id
  std::vector<HugepagePool> hugepages;
  std::vector<Nic> nics;                           // by address
  std::map<std::string, uint32_t> interface_mtus;  // of all interfaces
  std::set<std::string> cpu_flags;                 // of /proc/cpuinfo
  std::string cpu_model;
  uint64_t memory_bytes = 0;
  unsigned iommu_groups = 0;
  bool noiommu = false;  // vfio lets devices in without one
  std::string clocksource;

  const Cpu* cpu(unsigned id) const;
  const Nic* nic(const std::string& address) const;
  std::set<unsigned> nodes() const;
  // Those that share the core with `of`, itself included.
  std::set<unsigned> siblings(const Cpu& of) const;
};

// `root`: a folder that has the machine's sys/ and proc/. What is not there stays as it is above.
Machine read_machine(const std::string& root = "/");

}  // namespace sluice::host
