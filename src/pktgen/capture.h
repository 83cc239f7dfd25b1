// Copies of what is sent, on their way from a worker to the pcap file that main writes: the first
// packets up to a limit. What main is too slow for is counted as missed.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "pktgen/stats.h"

struct pcap;
struct pcap_dumper;
struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

namespace sluice::pktgen {

// One per worker, which writes; main reads.
class CaptureRing {
 public:
  static Result<std::unique_ptr<CaptureRing>> create(unsigned worker, rte_mempool* pool,
                                                     uint32_t limit);
  ~CaptureRing();

  // Right before tx_burst: copies, since a driver may free or change what it takes.
  void copy(std::span<rte_mbuf* const> packets) noexcept;
  // Right after it: the first `sent` were taken, the rest will come again.
  void keep(unsigned sent) noexcept;

  rte_mbuf* take() noexcept;
  uint64_t missed() const { return missed_.get(); }

 private:
  static constexpr unsigned kBurst = 64;

  CaptureRing() = default;
  rte_mempool* pool_ = nullptr;
  rte_ring* ring_ = nullptr;
  uint32_t left_ = 0;
  rte_mbuf* copies_[kBurst] = {};
  unsigned count_ = 0;
  Counter missed_;
};

class CaptureFile {
 public:
  static Result<std::unique_ptr<CaptureFile>> open(const std::string& path);
  ~CaptureFile();

  void write_all(CaptureRing& ring);
  uint64_t written() const { return written_; }

 private:
  CaptureFile() = default;
  pcap* pcap_ = nullptr;
  pcap_dumper* dumper_ = nullptr;
  uint64_t written_ = 0;
};

}  // namespace sluice::pktgen
