// Many agents that lost their relay together and come back, beside others that talk all the time,
// and sources that greet and never answer. They speak through the rings of an InMemoryRelay's only
// worker, on that worker's thread between its polls.
#pragma once

#include <queue>
#include <random>
#include <vector>

#include "agent/backoff.h"
#include "bench/in_memory.h"
#include "bench/initiators.h"

struct rte_mbuf;

namespace sluice::bench {

struct StormCase {
  bool greet = true;            // else there is only talk
  double spread_s = 1;          // the first HELLOs fall into this time, evenly at random
  double spoofed_per_s = 0;     // HELLOs of sources that never answer
  double talk_per_s = 100'000;  // packets of those who have a session all the time
};

struct Talk {
  uint64_t sent = 0;
  uint64_t received = 0;
  std::vector<double> us;  // from the worker's ring to the NIC's

  double share() const { return sent == 0 ? 0 : double(received) / double(sent); }
};

struct StormCounts {
  uint64_t hellos = 0;    // sent, repetitions and those with a cookie included
  uint64_t cookies = 0;   // RETRYs obeyed
  uint64_t welcomes = 0;  // opened
  uint64_t refused = 0;   // WELCOMEs without a session, or not authentic
  uint64_t spoofed = 0;
  uint64_t no_room = 0;  // not sent: the worker's ring or the pool was full
  uint64_t not_authentic = 0;
};

class StormAgents {
 public:
  // The relay's last `offline` agents greet; `identities` are theirs. Others talk in pairs.
  StormAgents(InMemoryRelay& relay, std::vector<Initiator>& initiators);

  // A new storm from now on. Every initiator has a fresh HELLO.
  void begin(const StormCase& c);
  // Makes what is due. A few packets of it then go to the worker before each of its polls, as from
  // a NIC that it polls all the time: false when nothing is left.
  void prepare();
  bool release();
  // What the worker has sent.
  void collect();
  // From now on talk is counted there.
  void listen(Talk* talk) { talk_ = talk; }

  uint32_t up() const { return up_; }
  bool all_up() const { return up_ == initiators_.size(); }
  const StormCounts& counts() const { return counts_; }
  // From an agent's first HELLO until it knew its edges, milliseconds.
  const std::vector<double>& waits() const { return waits_; }

 private:
  enum class State : uint8_t { kGreeting, kConfirming, kUp };
  struct Agent {
    State state = State::kUp;
    uint64_t due = 0;
    uint64_t first = 0;  // when its first HELLO went
    agent::Backoff backoff{100, 5'000};
    crypto::Cookie cookie{};
    bool has_cookie = false;
  };
  struct Timer {
    uint64_t due;
    uint32_t agent;
    bool operator>(const Timer& o) const { return due > o.due; }
  };

  void act(uint32_t i, uint64_t now);
  void send_hello(uint32_t i, uint64_t now);
  void wake(uint32_t i, uint64_t at);
  void talk(uint64_t now);
  void spoof(uint64_t now);
  void put(uint32_t source, Bytes payload);
  void send_frame(uint32_t agent, const wire::FrameHeader& frame, Bytes body);
  void judge_collected(uint64_t now);
  void judge(uint8_t* udp, size_t size, uint64_t now);
  void on_retry(uint32_t i, Bytes packet, uint64_t now);
  void on_data(uint32_t agent, uint8_t* outer, size_t size, uint64_t now);
  void on_control(uint32_t i, const wire::FrameHeader& frame, const uint8_t* body, uint64_t now);
  void open_welcomes(uint64_t now);
  uint64_t owed(double per_s, uint64_t& paid, uint64_t now) const;

  InMemoryRelay& relay_;
  std::vector<Initiator>& initiators_;
  const Initiators welcome_reader_;
  const ByteArray<32> mac1_key_;
  const uint32_t talkers_;  // agents before the first one that greets
  StormCase case_;
  uint64_t began_ = 0;
  uint64_t talked_ = 0, spoofed_ = 0;
  uint32_t talker_ = 0;
  std::vector<Agent> agents_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  struct Arrived {
    uint32_t agent;
    ByteArray<wire::kWelcomeSize> packet;
  };
  std::vector<Arrived> arrived_;
  std::vector<rte_mbuf*> collected_;
  std::vector<rte_mbuf*> ready_;
  size_t released_ = 0;
  std::mt19937_64 random_{12345};
  Buffer spoofed_hello_;
  Talk* talk_ = nullptr;
  uint32_t up_ = 0;
  StormCounts counts_;
  std::vector<double> waits_;
};

}  // namespace sluice::bench
