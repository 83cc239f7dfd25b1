// Makes and takes back the traffic of one worker, on that worker's own thread between timed
// stretches: seals a batch as the agents would, puts it in the worker's RX ring, and collects what
// the worker sent. A share of each agent's packets goes to a worker that does not own the agent.
#pragma once

#include <vector>

#include "bench/in_memory.h"
#include "wire/tunnel.h"

struct rte_mbuf;

namespace sluice::bench {

inline constexpr unsigned kBatch = 256;
// Ethernet, IPv4 and UDP.
inline constexpr size_t kOuterHeaders = 42;

struct Traffic {
  size_t payload = 64;  // end-to-end bytes after the frame header
  wire::Seal seal = wire::Seal::kFull;
  uint32_t sessions = 64;       // the first so many
  unsigned stray_percent = 10;  // where there is another worker
};

class Feeder {
 public:
  Feeder(InMemoryRelay& relay, unsigned worker);

  // A new case: a random order over this worker's share of the sessions.
  void set(const Traffic& traffic);

  // The next batch, sealed and in place: `packets()` are the mbufs, `sources()` their agents.
  void prepare();
  std::span<rte_mbuf*> packets() { return batch_; }
  std::span<const uint32_t> sources() const { return sources_; }
  void enqueue();      // all of it into the RX ring
  unsigned collect();  // empties the TX ring; number of frames
  void give_back();    // a batch that was not enqueued

 private:
  void fill(rte_mbuf* m, uint32_t agent);
  uint32_t next_source();
  uint32_t next_label(uint32_t agent);
  rte_mbuf* buffer();

  InMemoryRelay& relay_;
  const unsigned worker_;
  Traffic traffic_;
  std::vector<uint32_t> own_, strays_;
  size_t own_at_ = 0, stray_at_ = 0;
  unsigned stray_debt_ = 0;
  uint32_t random_ = 1;
  std::vector<rte_mbuf*> batch_, free_;
  std::vector<uint32_t> sources_;
  std::vector<uint8_t> headers_;  // 42 bytes for each agent of the case
};

// The two seals' additional data and sealed region over a DATA packet.
struct SealShape {
  ByteArray<34> aad;
  crypto::AeadOp op;
};
void shape(wire::Seal seal, const crypto::GcmKey& key, const uint8_t* salt, uint8_t* outer,
           size_t size, SealShape& out);

}  // namespace sluice::bench
