// A whole relay without threads: real EAL (no huge pages), mempool, net_ring ports, workers, rings,
// control plane and store; only the clock can be shifted. The test polls, and plays the agents with
// the independent peer of tests/reference.
#pragma once

#include <chrono>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "control.pb.h"
#include "control/control.h"
#include "dataplane/plane.h"
#include "reference/frames.h"
#include "reference/peer.h"

struct rte_ring;

namespace rig {

using oracle::Buf;

// SLUICE_TEST_VERIFIERS: the same tests with signatures on cores of their own.
inline unsigned verifiers_of_environment() {
  const char* text = std::getenv("SLUICE_TEST_VERIFIERS");
  return text == nullptr ? 0 : static_cast<unsigned>(std::atoi(text));
}

struct Setup {
  unsigned workers = 2;
  unsigned ports = 2;
  unsigned tx_ring = 1024;
  uint16_t mtu = 1500;
  uint32_t sessions = 64;
  bool ipv4_udp_checksum = false;
  uint8_t dscp = 0;
  uint8_t agent_lanes = 1;
  uint32_t under_load_per_s = 64;
  uint32_t under_load_burst = 8;
  uint32_t latency_tenants = 64;
  bool latency = true;
  uint32_t max_staleness_s = 0;  // 0: tests let hours go by between two looks of control
  sluice::control::CallsConfig calls = {};
  unsigned verifiers = verifiers_of_environment();
  uint32_t calls_per_agent = 16;
  uint32_t keys_per_agent = 64;
};

// What an agent in a test is: keys, where it sends from, and what the relay told it.
struct Agent {
  oracle::Peer peer;
  std::string name;
  oracle::Flow flow;  // agent to relay
  unsigned port = 0;
  unsigned queue = 0;
  uint64_t last_time = 0;
  unsigned sent = 0;  // by send
  oracle::Welcome welcome{};
  std::map<std::string, uint32_t> labels;  // by peer name, from EdgeSync
  std::map<std::string, int> rights;
  std::map<std::string, std::vector<std::string>> rotations;  // digests that came with an edge
  std::vector<std::string> revoked_notices;
  std::vector<sluice::pb::Pending> pending;    // requests that wait, as the relay shows them
  std::vector<sluice::pb::Signed> told;        // statements about its pairs
  std::vector<sluice::pb::Signed> relay_keys;  // statements about the relay's own
  std::vector<std::pair<uint64_t, sluice::pb::Control>> answers;  // to what it asked

  explicit Agent(uint8_t seed, std::string n) : peer(seed), name(std::move(n)) {}
};

class Rig {
 public:
  explicit Rig(Setup setup = {});
  ~Rig();

  // One that nobody has enrolled.
  std::unique_ptr<Agent> make_agent(uint8_t seed, const std::string& name, unsigned port,
                                    bool v6 = false);
  Agent& add_agent(uint8_t seed, const std::string& name, unsigned port, bool v6 = false,
                   uint16_t tenant = 7);
  void trust(const std::string& a, const std::string& b,
             sluice::control::EdgeRight forward = sluice::control::EdgeRight::kMaySend,
             sluice::control::EdgeRight backward = sluice::control::EdgeRight::kMaySend);
  void start();  // after agents and pairs: builds the control plane

  // Frames in and out of a port.
  void inject(unsigned port, const Buf& frame, unsigned queue = 0);
  std::vector<Buf> drain(unsigned port);
  std::vector<Buf> drain_all();

  // One round of every worker, then control.
  void poll(unsigned rounds = 1);
  // Every worker; those with packets in their handover ring a second time.
  void poll_workers();
  unsigned poll_worker(unsigned w);  // guarded against allocations and system calls
  void poll_control();               // its thread's part alone, while threads play the workers
  // Until the predicate holds; false after `limit`.
  bool poll_until(const std::function<bool()>& done,
                  std::chrono::seconds limit = std::chrono::seconds(30));

  // Handshake, confirmation, CONTROL messages acknowledged.
  bool connect(Agent& a, oracle::HelloOptions options = {});
  Buf hello_frame(Agent& a, oracle::HelloOptions options = {});
  // Every tenth packet on a queue that is not the agent's, where there is more than one.
  void send(Agent& a, const Buf& udp_payload);
  Buf datagram(Agent& from, const std::string& to, const Buf& message, oracle::SealOptions o = {});
  // DATA that arrived for the agent on its port, opened; CONTROL is acknowledged on the way.
  std::vector<oracle::Frame> receive(Agent& a);
  // The relay's answers to the agent's own requests that have arrived meanwhile, by request.
  std::vector<std::pair<uint64_t, sluice::pb::Control>> answers_of(Agent& a);

  // Every counter and drop by name, summed over workers.
  std::map<std::string, uint64_t> counters() const;
  // Books that must balance at any rest, and a whole mempool.
  void check_balance();
  size_t buffers_in_use() const;

  bool verifiers_stand_still = false;
  uint64_t rx_flags = 0;  // of injected frames' mbufs, as a NIC would set them
  sluice::Clock clock;
  std::unique_ptr<sluice::fabric::Arena> arena;
  std::unique_ptr<sluice::dataplane::Plane> plane;
  std::unique_ptr<sluice::control::Control> control;
  sluice::control::Config config;
  sluice::control::RelayKeys keys;
  oracle::Key relay_key{};
  std::map<std::string, std::unique_ptr<Agent>> agents;
  std::deque<std::function<void()>> posted;  // the store's answers
  std::mutex posted_mutex;

 private:
  struct Port;
  void make_ports();

  Setup setup_;
  unsigned strayed_ = 0;
  std::string folder_;
  std::vector<std::unique_ptr<Port>> ports_;
  sluice::dataplane::MemoryNeed need_;
};

// Drop reasons that some test of this run produced as its expected outcome.
std::set<std::string>& produced_reasons();

oracle::Mac mac_of(unsigned agent_number);

}  // namespace rig
