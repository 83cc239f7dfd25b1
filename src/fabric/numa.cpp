#include "fabric/numa.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <charconv>
#include <filesystem>

#include "fabric/arena.h"

namespace sluice::fabric {

unsigned node_of_core(unsigned core, const std::string& sys) {
  std::error_code ec;
  const std::filesystem::path folder = sys + "/cpu" + std::to_string(core);
  for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
    const std::string name = entry.path().filename();
    unsigned node = 0;
    if (!name.starts_with("node")) continue;
    const char* end = name.data() + name.size();
    const auto r = std::from_chars(name.data() + 4, end, node);
    if (r.ec == std::errc() && r.ptr == end && node < 64) return node;
  }
  return 0;
}

std::vector<Stretch> spread(const ArenaHeader& h, std::span<const unsigned> worker_nodes,
                            uint64_t page_size) {
  uint64_t all = 0;
  for (const unsigned n : worker_nodes) all |= uint64_t{1} << n;
  if (std::popcount(all) < 2) return {};
  std::vector<Stretch> out = {{0, h.total, all}};
  const uint64_t each = uint64_t{h.sizes.sessions} * sizeof(uint64_t);
  for (size_t w = 0; w < worker_nodes.size(); ++w) {
    const uint64_t begin = (h.lanes_at + w * each + page_size - 1) / page_size * page_size;
    const uint64_t end = (h.lanes_at + (w + 1) * each) / page_size * page_size;
    if (begin < end) out.push_back({begin, end - begin, uint64_t{1} << worker_nodes[w]});
  }
  return out;
}

bool prefer(void* base, const Stretch& s) {
  const unsigned long nodes = s.nodes;
  const int mode = std::has_single_bit(s.nodes) ? MPOL_PREFERRED : MPOL_INTERLEAVE;
  constexpr unsigned long kBits = 65;  // the kernel takes one less
  return syscall(SYS_mbind, static_cast<uint8_t*>(base) + s.at, s.size, mode, &nodes, kBits, 0) ==
         0;
}

}  // namespace sluice::fabric
