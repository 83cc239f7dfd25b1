// The relay's tables in one segment of shared memory that is ours, not EAL's: a memfd with huge
// pages where there are any, kept out of core dumps, without a pointer inside, so that a successor
// process can adopt it. Created once at start by the main thread, before any worker; freed last.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "crypto/prepared_key.h"
#include "fabric/call.h"
#include "fabric/credential.h"
#include "fabric/edge_calls.h"
#include "fabric/latency.h"
#include "fabric/records.h"

namespace sluice::fabric {

struct ArenaSizes {
  uint32_t agents = 0;
  uint32_t edges = 0;
  uint32_t sessions = 0;
  uint32_t lanes_in = 1;       // receive windows per session
  uint32_t workers = 1;        // send lanes: each worker's own array of counters
  uint32_t tenants = 1;        // tenants with a limit
  uint32_t prepared_keys = 0;  // identities made ready for verification
  uint32_t call_pages = 0;     // agents that may have calls at a time
  uint32_t calls_each = 16;    // open calls of one agent; powers of two, at least 8
  uint32_t keys_each = 64;     // idempotency keys of one agent
  uint32_t scope_sets = 0;     // different sets of scopes that edges may have
  uint32_t edge_calls = 0;     // edges whose calls have limits
  uint32_t latencies = 0;      // histograms of each worker: its own, then tenants'; 0: none
  uint32_t credentials = 0;    // that calls may need at a time (CredentialTable)
};

// What calls over an edge may name, as the envelope has it: ascending, then zeros.
struct alignas(64) ScopeSet {
  static constexpr size_t kMost = 16;
  uint64_t scopes[kMost] = {};

  bool contains(uint64_t scope) const noexcept {
    for (const uint64_t s : scopes) {
      if (s == scope) return scope != 0;
    }
    return false;
  }
};

// The first 512 bytes. Everything needed to decide whether this program may adopt the segment.
struct ArenaHeader {
  uint64_t magic;
  uint32_t layout_version;
  uint32_t header_size;
  ArenaSizes sizes;
  uint32_t session_size, agent_size, edge_size, window_size, counters_size, share_size;
  uint32_t prepared_size, call_size, edge_calls_size, latency_size;
  uint32_t credential_size, agent_credentials_size;
  uint64_t total;
  uint64_t relay_at, agents_at, edges_at, sessions_at, windows_at, lanes_at, counters_at;
  uint64_t shares_at, prepared_at;
  uint64_t calls_at, keys_at, page_owners_at, scopes_at, edge_calls_at, latencies_at;
  uint64_t agent_credentials_at;
  char ipsec_mb_version[32];
  char ipsec_mb_path[16];  // key schedules differ between the library's paths
};
static_assert(sizeof(ArenaHeader) <= 512);

inline constexpr uint64_t kArenaMagic = 0x314e4552'43554c53;  // "SLUCREN1"
inline constexpr uint32_t kArenaLayout = 9;

enum class PageKind : uint8_t { kHuge, kSmall };

class Arena {
 public:
  // Bytes that `create` will map, in 2 MB pages.
  static size_t needed(const ArenaSizes& sizes);

  // kHuge fails with kResource where there are not enough free huge pages.
  // `worker_nodes`: the NUMA node of each worker (numa.h); none: as the kernel likes.
  static Result<std::unique_ptr<Arena>> create(const ArenaSizes& sizes, PageKind pages,
                                               std::span<const unsigned> worker_nodes = {});
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const ArenaHeader& header() const { return *header_; }
  const ArenaSizes& sizes() const { return header_->sizes; }
  int fd() const { return fd_.get(); }

  RelayRecord& relay() const { return *relay_; }
  std::span<Agent> agents() const { return {agents_, sizes().agents}; }
  std::span<Edge> edges() const { return {edges_, sizes().edges}; }
  std::span<Session> sessions() const { return {sessions_, sizes().sessions}; }
  ReplayWindow& window(uint32_t session, uint32_t lane) const {
    return windows_[size_t{session} * header_->sizes.lanes_in + lane];
  }
  // The next sequence that `worker` seals with on `session`; that worker alone writes it while the
  // session is published, control zeroes it before publication.
  uint64_t& lane_counter(uint32_t worker, uint32_t session) const {
    return lanes_[size_t{worker} * header_->sizes.sessions + session];
  }
  WorkerCounters& counters(uint32_t worker) const { return counters_[worker]; }
  TenantShare& tenant_share(uint32_t worker, uint32_t slot) const {
    return shares_[size_t{worker} * header_->sizes.tenants + slot];
  }
  // Filled by control; a worker reads the one that an agent's record names.
  std::span<crypto::PreparedKey> prepared_keys() const {
    return {prepared_, sizes().prepared_keys};
  }
  // Of an agent's page. Its records: the owner; a callee's owner its own line.
  CallTable calls(uint32_t page) const {
    return {calls_ + size_t{page} * sizes().calls_each, sizes().calls_each};
  }
  IdempotencyKey* keys(uint32_t page) const { return keys_ + size_t{page} * sizes().keys_each; }
  // Which agent has the page; kNone: none. Written by that agent's owner.
  std::atomic<uint32_t>& page_agent(uint32_t page) const { return page_agents_[page]; }
  // Of a worker: place 0 is all that it forwarded, the others of the tenants to which control gave
  // them (Agent::latency_place). Empty where nothing is measured.
  std::span<LatencyHistogram> latencies(uint32_t worker) const {
    return {latencies_ + size_t{worker} * sizes().latencies, sizes().latencies};
  }
  // Filled by control while no edge names it.
  std::span<ScopeSet> scopes() const { return {scopes_, sizes().scope_sets}; }
  std::span<EdgeCalls> edge_calls() const { return {edge_calls_, sizes().edge_calls}; }
  // Also where there is room for none: then calls that need one are denied.
  std::span<AgentCredentials> agent_credentials() const {
    return {agent_credentials_, sizes().agents};
  }
  std::span<CredentialSlot> credentials() const { return credentials_->slots(); }

 private:
  Arena() = default;
  static ArenaHeader layout(const ArenaSizes& sizes);

  Fd fd_;
  uint8_t* base_ = nullptr;
  size_t size_ = 0;
  ArenaHeader* header_ = nullptr;
  RelayRecord* relay_ = nullptr;
  Agent* agents_ = nullptr;
  Edge* edges_ = nullptr;
  Session* sessions_ = nullptr;
  ReplayWindow* windows_ = nullptr;
  uint64_t* lanes_ = nullptr;
  WorkerCounters* counters_ = nullptr;
  TenantShare* shares_ = nullptr;
  crypto::PreparedKey* prepared_ = nullptr;
  CallRecord* calls_ = nullptr;
  IdempotencyKey* keys_ = nullptr;
  std::atomic<uint32_t>* page_agents_ = nullptr;
  ScopeSet* scopes_ = nullptr;
  EdgeCalls* edge_calls_ = nullptr;
  LatencyHistogram* latencies_ = nullptr;
  AgentCredentials* agent_credentials_ = nullptr;
  std::unique_ptr<CredentialTable> credentials_;  // a segment of its own
};

}  // namespace sluice::fabric
