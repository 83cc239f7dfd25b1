// A whole relay in one process without a NIC: EAL, arena, dataplane over net_ring ports, and the
// control library's own trust and session tables. Sessions get random keys straight from
// SessionTable::publish, as after a handshake; the agents' side of the keys is kept here, so that
// traffic can be sealed. Built and destroyed by the main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/session_table.h"
#include "control/trust_table.h"
#include "dataplane/plane.h"

struct rte_ring;

namespace sluice::bench {

struct House {
  unsigned workers = 1;
  unsigned first_core = 0;  // of the workers; control takes the core after them, or core 0
  uint32_t sessions = 64;   // an even number: agents 2k and 2k+1 are a pair
  uint16_t burst = 64;
  uint16_t mtu = 1500;
  fabric::EalMode mode = fabric::EalMode::kInMemory;
};

// What the agent of one session knows.
struct AgentSide {
  crypto::GcmKey send;
  crypto::GcmKey receive;
  uint8_t send_salt[4];
  uint8_t receive_salt[4];
  uint32_t label = 0;             // of the edge to its peer
  uint32_t session = 0;           // receiver index at the relay
  uint32_t peer = 0;              // the other one of the pair
  std::atomic<uint64_t> next{0};  // lane 0
};

class InMemoryRelay {
 public:
  // Pages of 2 MB that `house` takes; and whether they are there.
  static size_t pages_needed(const House& house);
  static size_t pages_free();

  static Result<std::unique_ptr<InMemoryRelay>> create(const House& house);
  ~InMemoryRelay();

  // One for the process, before any relay; `workers` lcores from `first_core` on.
  static Result<std::unique_ptr<dataplane::Eal>> start_eal(const House& house);

  const House& house() const { return house_; }
  dataplane::Plane& plane() { return *plane_; }
  fabric::Arena& arena() { return *arena_; }
  control::TrustTable& trust() { return *trust_; }
  control::SessionTable& sessions() { return *sessions_; }
  const Clock& clock() const { return clock_; }
  AgentSide& agent(uint32_t i) { return agents_[i]; }
  rte_ring* rx(unsigned queue) { return rx_[queue]; }
  rte_ring* tx(unsigned queue) { return tx_[queue]; }

  void set_owner(uint32_t agent, unsigned worker);
  void set_seal(fabric::SealPolicy policy);  // of every edge; while no worker runs
  // Ethernet, IPv4 and UDP headers of what agent `i` sends: 42 bytes, lengths for `payload` bytes
  // of UDP payload.
  void write_headers(uint32_t i, uint8_t* at, size_t udp_payload) const;
  // Sum of a worker counter and of all drops over the workers.
  uint64_t counter(fabric::Counter fabric::WorkerCounters::*member) const;
  uint64_t drops(std::string* which = nullptr) const;

 private:
  InMemoryRelay() = default;
  Result<void> make_ports();
  Result<void> make_sessions();

  House house_;
  Clock clock_;
  fabric::Topology topology_;
  wire::Mac mac_{};
  std::unique_ptr<fabric::Arena> arena_;
  std::unique_ptr<dataplane::Plane> plane_;
  std::unique_ptr<control::TrustTable> trust_;
  std::unique_ptr<control::SessionTable> sessions_;
  std::vector<rte_ring*> rx_, tx_;
  std::unique_ptr<AgentSide[]> agents_;
};

}  // namespace sluice::bench
