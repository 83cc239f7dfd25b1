// A whole relay in one process without a NIC: EAL, arena, dataplane over net_ring ports, and the
// control library's own trust and session tables, alone or inside a whole Control with its store.
// Sessions get random keys straight from SessionTable::publish, as after a handshake; the agents'
// side of the keys is kept here, so that traffic can be sealed. Built and destroyed by the main
// thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "control/control.h"
#include "dataplane/plane.h"

struct rte_ring;

namespace sluice::bench {

struct House {
  unsigned workers = 1;
  unsigned first_core = 0;           // of the workers; control takes the core after them, or core 0
  std::vector<unsigned> cores = {};  // of each worker, instead; control takes the first other one
  // Threads that verify calls' signatures; whoever makes the relay runs them (beside.h).
  unsigned verifiers = 0;
  uint32_t sessions = 64;  // an even number: agents 2k and 2k+1 are a pair
  // Of each agent: agent i's peers are i ^ 1 to i ^ edges. `sessions` is then a multiple of the
  // power of two above `edges`.
  unsigned edges = 1;
  uint16_t burst = 64;
  uint16_t mtu = 1500;
  fabric::EalMode mode = fabric::EalMode::kInMemory;
  unsigned ring = 4096;      // slots of each RX and TX queue, a power of two
  uint32_t buffers = 16383;  // packets in the pool
  std::string state_dir;     // of a whole Control with its store; empty: the tables alone
  // The last so many agents have no session yet, and every agent the identity of this list. Needs
  // a whole Control; sessions that it makes then live as long as a relay's do.
  uint32_t offline = 0;
  std::vector<crypto::PublicKey> identities = {};
  uint32_t spare_sessions = 0;  // beyond one for each agent
  // More agents, without sessions, whose tables are full: bystander i's peers are i ^ 1 to
  // i ^ bystander_edges. `bystanders` is a multiple of the power of two above that.
  uint32_t bystanders = 0;
  unsigned bystander_edges = 0;
  uint32_t prepared_keys = 0;
  bool latency = false;  // histograms of each worker and tenant, measured from the start
  // Agents that may have calls, and of each how many, and how many idempotency keys.
  uint32_t call_pages = 0;
  uint32_t calls_each = 16;
  uint32_t keys_each = 64;
  uint32_t credentials = 0;  // that may be in use at a time
  // Limits of as many tenants, with equal shares of the agents in their order; none: one tenant
  // whose limit is never reached.
  std::vector<control::RateConfig> tenants = {};
};

// What the agent of one session knows.
struct AgentSide {
  crypto::GcmKey send;
  crypto::GcmKey receive;
  uint8_t send_salt[4];
  uint8_t receive_salt[4];
  uint32_t label = 0;             // of the edge to its (first) peer
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
  const fabric::Arena& arena() const { return *arena_; }
  const control::LatencyPlaces& latency_places() const { return trust_->latency_places(); }
  control::TrustTable& trust() { return *trust_; }
  control::SessionTable& sessions() { return *sessions_; }
  // With `state_dir` only. One round of the control thread, the store's answers included.
  control::Control& control() { return *control_; }
  // How soon it wants to be called again, in microseconds.
  unsigned poll_control();
  // Called when control asks for the ports' state, which is when it has seen a revocation's cut.
  std::function<void()> at_cut;
  const Clock& clock() const { return clock_; }
  AgentSide& agent(uint32_t i) { return agents_[i]; }
  // What agent `i` calls its edge to i ^ (which + 1).
  uint32_t label(uint32_t i, unsigned which) const {
    return labels_[size_t{i} * house_.edges + which];
  }
  rte_ring* rx(unsigned queue) { return rx_[queue]; }
  rte_ring* tx(unsigned queue) { return tx_[queue]; }

  uint16_t tenant_of(uint32_t agent) const;
  void set_owner(uint32_t agent, unsigned worker);
  void set_seal(fabric::SealPolicy policy);  // of every edge; while no worker runs
  // Ethernet, IPv4 and UDP headers of what agent `i` sends: 42 bytes, lengths for `payload` bytes
  // of UDP payload.
  void write_headers(uint32_t i, uint8_t* at, size_t udp_payload) const;
  // Sum of a worker counter and of all drops over the workers.
  uint64_t counter(fabric::Counter fabric::WorkerCounters::*member) const;
  uint64_t drops(std::string* which = nullptr) const;
  // Calls that were denied, by reason, in words; empty: none.
  std::string denials() const;

 private:
  InMemoryRelay() = default;
  Result<void> make_ports();
  control::TrustConfig trust_config() const;
  Result<void> make_tables();   // trust and sessions alone
  Result<void> make_control();  // inside a Control
  Result<void> make_sessions();

  House house_;
  Clock clock_;
  fabric::Topology topology_;
  wire::Mac mac_{};
  std::unique_ptr<fabric::Arena> arena_;
  std::unique_ptr<dataplane::Plane> plane_;
  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;  // the store's answers
  std::unique_ptr<control::Control> control_;
  std::unique_ptr<control::TrustTable> own_trust_;
  std::unique_ptr<control::SessionTable> own_sessions_;
  control::TrustTable* trust_ = nullptr;  // control's or our own
  control::SessionTable* sessions_ = nullptr;
  std::vector<rte_ring*> rx_, tx_;
  std::unique_ptr<AgentSide[]> agents_;
  std::vector<uint32_t> labels_;
};

}  // namespace sluice::bench
