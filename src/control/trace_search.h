// Records of the audit log and open calls that carry one trace id. Looked for from the first record
// of a time on, in slices that take some milliseconds each, on a thread that may wait for the disk.
// There is no index: a million records are read in well under a second, an index of them in memory
// would cost 24 MB a million, be empty after each start, and miss what it has no room for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "audit/tile_source.h"
#include "base/clock.h"
#include "fabric/arena.h"

namespace sluice::control {

struct TraceQuery {
  ByteArray<16> trace{};
  std::optional<uint64_t> from;  // a record's number; else by `since_ms`
  uint64_t since_ms = 0;         // Unix; both bounds inclusive
  uint64_t until_ms = UINT64_MAX;
  std::optional<uint16_t> tenant;  // only calls from or to its agents
};

struct OpenCall {
  uint64_t caller = 0, callee = 0;  // virtual addresses
  uint64_t counter = 0;             // the caller's: which of its calls
  uint64_t opened = 0;              // ticks
  uint64_t packets = 0, bytes = 0, packets_back = 0, bytes_back = 0;
  uint32_t accepted = 0;  // 0: no answer yet; else 1 + its status
  uint8_t capability = 0, protocol = 0;
  uint16_t service = 0;
};

class TraceSearch {
 public:
  static constexpr uint64_t kMostLookedAt = 1u << 20;  // records in one search
  static constexpr size_t kMostFound = 1000;

  // `size`: of the log that is published.
  TraceSearch(const fabric::Arena& arena, std::string folder, TraceQuery query, uint64_t size);

  // A slice. True when the search is over; an error ends it.
  Result<bool> step();

  const std::vector<std::pair<uint64_t, audit::Record>>& records() const { return records_; }
  const std::vector<OpenCall>& open() const { return open_; }
  uint64_t began() const { return began_; }  // the first record looked at
  uint64_t next() const { return next_; }    // where to go on; `size`: nothing is left
  uint64_t size() const { return size_; }

 private:
  Result<void> find_start();
  Result<bool> read_slice();
  bool look_at_pages();
  bool fits(uint64_t caller, uint64_t callee) const;

  const fabric::Arena& arena_;
  audit::FolderSource source_;
  const TraceQuery query_;
  const uint64_t size_;
  bool started_ = false;
  bool read_ = false;  // all of the log that this search may
  uint64_t began_ = 0, next_ = 0;
  uint32_t next_page_ = 0;
  std::vector<std::pair<uint64_t, audit::Record>> records_;
  std::vector<OpenCall> open_;
};

}  // namespace sluice::control
