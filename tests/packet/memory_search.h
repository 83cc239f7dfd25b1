// Looks for bytes in everything that this process can write to, but for the packets' own memory.
// The needle is kept as its complement, so that it is not found where it is held.
#pragma once

#include <string>
#include <vector>

struct rte_mempool;

namespace rig {

class MemorySearch {
 public:
  // At least 32 bytes, which stand nowhere else.
  explicit MemorySearch(const std::string& needle);

  // False: a sanitizer keeps what was freed, and has too much address space to look at. Else, from
  // now on what is freed is overwritten.
  static bool possible();

  // Where it stands, in words, outside of `pool`'s memory.
  std::vector<std::string> look(rte_mempool* pool) const;
  // In one file.
  bool in_file(const std::string& path) const;

 private:
  size_t count(const uint8_t* begin, size_t size, std::vector<size_t>* at) const;
  std::vector<uint8_t> complement_;
};

}  // namespace rig
