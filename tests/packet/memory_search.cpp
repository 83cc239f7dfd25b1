#include "packet/memory_search.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include <rte_mempool.h>

#include "packet/guard.h"

namespace rig {
namespace {

struct Range {
  uintptr_t begin, end;
};

constexpr size_t kChunk = size_t{1} << 20;

}  // namespace

MemorySearch::MemorySearch(const std::string& needle) {
  for (const char c : needle) complement_.push_back(static_cast<uint8_t>(~c));
}

bool MemorySearch::possible() {
  if (!WorkerGuard::traps_allocations()) return false;
  wipe_what_is_freed();
  return true;
}

size_t MemorySearch::count(const uint8_t* begin, size_t size, std::vector<size_t>* at) const {
  const size_t n = complement_.size();
  const auto first = static_cast<uint8_t>(~complement_[0]);
  size_t found = 0;
  for (const uint8_t* p = begin; size >= n; ++p) {
    p = static_cast<const uint8_t*>(std::memchr(p, first, static_cast<size_t>(begin + size - p)));
    if (p == nullptr || static_cast<size_t>(begin + size - p) < n) break;
    size_t i = 1;
    while (i < n && p[i] == static_cast<uint8_t>(~complement_[i])) ++i;
    if (i < n) continue;
    ++found;
    if (at != nullptr) at->push_back(static_cast<size_t>(p - begin));
  }
  return found;
}

std::vector<std::string> MemorySearch::look(rte_mempool* pool) const {
  std::vector<Range> packets;
  rte_mempool_mem_iter(
      pool,
      [](rte_mempool*, void* arg, rte_mempool_memhdr* m, unsigned) {
        const auto begin = reinterpret_cast<uintptr_t>(m->addr);
        static_cast<std::vector<Range>*>(arg)->push_back({begin, begin + m->len});
      },
      &packets);
  // A buffer of its own pages: what is copied there is not looked at.
  const size_t size = kChunk + complement_.size();
  auto* copy = static_cast<uint8_t*>(
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const auto own = reinterpret_cast<uintptr_t>(copy);
  const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  std::vector<std::string> out;
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::string mode;
    std::istringstream(line) >> std::hex >> begin >> dash >> end >> mode;
    if (mode.size() < 2 || mode[0] != 'r' || mode[1] != 'w') continue;
    if (begin <= own && own < end && end - begin <= size + 4096) continue;
    for (uintptr_t at = begin; at < end; at += kChunk) {
      const size_t want = std::min<size_t>(size, end - at);
      const ssize_t got = pread(memory, copy, want, static_cast<off_t>(at));
      if (got <= 0) continue;
      std::vector<size_t> places;
      (void)count(copy, static_cast<size_t>(got), &places);
      for (const size_t place : places) {
        const uintptr_t where = at + place;
        // Seen again at the beginning of the next chunk.
        if (place >= kChunk || (where >= own && where < own + size)) continue;
        bool is_packet = false;
        for (const Range& r : packets) is_packet = is_packet || (where >= r.begin && where < r.end);
        if (!is_packet) out.push_back(std::to_string(where - begin) + " in " + line);
      }
    }
  }
  close(memory);
  munmap(copy, size);
  return out;
}

bool MemorySearch::in_file(const std::string& path) const {
  std::ifstream in(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  return count(reinterpret_cast<const uint8_t*>(text.data()), text.size(), nullptr) != 0;
}

}  // namespace rig
