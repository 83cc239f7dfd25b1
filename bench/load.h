// The revoke bench's generator: sealed DATAGRAMs of many agents into the workers' RX rings, of
// which a fixed share comes from and goes to the agent that is about to be revoked. Main thread.
#pragma once

#include <vector>

#include "bench/callers.h"
#include "bench/in_memory.h"
#include "wire/frame.h"

struct rte_mbuf;

namespace sluice::bench {

// Every so many packets there are two of the pair aimed at, one each way.
inline constexpr unsigned kAimedPeriod = 6;
inline constexpr unsigned kStrayPercent = 10;

class Load {
 public:
  // Agents from `first_other` on talk to their own peers all the time. Of the packets of each pair
  // that is aimed at, the first `calls` are CALL_OPENs, which have to wait for their signatures;
  // null: none.
  Load(InMemoryRelay& relay, size_t payload, uint32_t first_other, Callers* callers = nullptr,
       unsigned calls = 0);
  ~Load();

  // From now on a third of the packets are this agent's to its peer and its peer's to it.
  void aim(uint32_t agent);
  uint64_t aimed() const { return aimed_; }  // of that pair, given to the workers since

  // Seals `n` packets for each queue and keeps them; then all of them at once into the rings.
  void prepare(unsigned n);
  void release();
  // `n` packets a queue, sealed and given at once; fewer where there is no room for them.
  void feed(unsigned n);
  // One frame of an agent outside the mix.
  void send(uint32_t agent, const wire::FrameHeader& frame, Bytes body);

 private:
  struct Stock {
    std::vector<rte_mbuf*> packets;
    uint64_t aimed = 0;
  };
  void add_next();
  rte_mbuf* seal(uint32_t agent, const wire::FrameHeader& frame, Bytes body, size_t size);
  rte_mbuf* open_call(uint32_t agent);
  unsigned queue_for(uint32_t agent);

  InMemoryRelay& relay_;
  Callers* const callers_;
  const unsigned calls_;
  unsigned calls_left_ = 0;
  const size_t payload_;
  std::vector<uint8_t> headers_;  // 42 bytes for each agent, for `payload_`
  std::vector<uint32_t> others_;
  size_t at_ = 0;
  unsigned phase_ = 0;
  unsigned stray_debt_ = 0;
  unsigned stray_to_ = 0;
  uint32_t agent_ = 0;
  uint64_t aimed_ = 0;
  std::vector<Stock> stock_;  // by queue
};

}  // namespace sluice::bench
