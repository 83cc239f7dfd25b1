// Where memory lies on a machine with several NUMA nodes: what one worker writes lies with it, what
// all of them read is spread over their nodes, so that no node's memory controller serves all.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sluice::fabric {

struct ArenaHeader;

// The node of a core, from the kernel; 0 where it names none. `sys`: its folder of CPUs.
unsigned node_of_core(unsigned core, const std::string& sys = "/sys/devices/system/cpu");

// Bytes of the arena and the nodes (a bit each) over whose memory their pages are spread.
struct Stretch {
  uint64_t at = 0;
  uint64_t size = 0;
  uint64_t nodes = 0;
  friend bool operator==(const Stretch&, const Stretch&) = default;
};

// What lies where, in whole pages: a worker's send counters on its node, all else on all of the
// workers' nodes in turn. Later stretches win over earlier ones. Empty where there is one node.
std::vector<Stretch> spread(const ArenaHeader& header, std::span<const unsigned> worker_nodes,
                            uint64_t page_size);

// Tells the kernel, before the pages are touched. A preference: a node without free pages is no
// error. False if the kernel refuses, which costs time and nothing else.
bool prefer(void* base, const Stretch& stretch);

}  // namespace sluice::fabric
