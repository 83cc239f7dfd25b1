#include "fabric/arena.h"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "fabric/numa.h"

namespace sluice::fabric {
namespace {

constexpr size_t kHugePage = 2u << 20;
constexpr size_t kSmallPage = 4096;
constexpr size_t kHeaderSize = 512;

constexpr size_t round_up(size_t n, size_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Starts the lifetime of `count` records in memory that is already zero.
template <typename T>
T* construct(uint8_t* base, uint64_t at, size_t count) {
  T* first = reinterpret_cast<T*>(base + at);
  for (size_t i = 0; i < count; ++i) new (first + i) T();
  return first;
}

}  // namespace

ArenaHeader Arena::layout(const ArenaSizes& sizes) {
  ArenaHeader h{};
  h.magic = kArenaMagic;
  h.layout_version = kArenaLayout;
  h.header_size = sizeof(ArenaHeader);
  h.sizes = sizes;
  h.session_size = sizeof(Session);
  h.agent_size = sizeof(Agent);
  h.edge_size = sizeof(Edge);
  h.window_size = sizeof(ReplayWindow);
  h.counters_size = sizeof(WorkerCounters);
  h.share_size = sizeof(TenantShare);
  h.prepared_size = sizeof(crypto::PreparedKey);
  h.call_size = sizeof(CallRecord);
  h.edge_calls_size = sizeof(EdgeCalls);
  h.latency_size = sizeof(LatencyHistogram);
  h.credential_size = sizeof(CredentialSlot);
  h.agent_credentials_size = sizeof(AgentCredentials);
  uint64_t at = kHeaderSize;
  const auto place = [&at](uint64_t bytes) {
    const uint64_t here = at;
    at = round_up(at + bytes, 64);
    return here;
  };
  h.relay_at = place(sizeof(RelayRecord));
  h.agents_at = place(uint64_t{sizes.agents} * sizeof(Agent));
  h.edges_at = place(uint64_t{sizes.edges} * sizeof(Edge));
  h.sessions_at = place(uint64_t{sizes.sessions} * sizeof(Session));
  h.windows_at = place(uint64_t{sizes.sessions} * sizes.lanes_in * sizeof(ReplayWindow));
  h.lanes_at = place(uint64_t{sizes.sessions} * sizes.workers * sizeof(uint64_t));
  h.counters_at = place(uint64_t{sizes.workers} * sizeof(WorkerCounters));
  h.shares_at = place(uint64_t{sizes.workers} * sizes.tenants * sizeof(TenantShare));
  h.prepared_at = place(uint64_t{sizes.prepared_keys} * sizeof(crypto::PreparedKey));
  h.calls_at = place(uint64_t{sizes.call_pages} * sizes.calls_each * sizeof(CallRecord));
  h.keys_at = place(uint64_t{sizes.call_pages} * sizes.keys_each * sizeof(IdempotencyKey));
  h.page_owners_at = place(uint64_t{sizes.call_pages} * sizeof(std::atomic<uint32_t>));
  h.scopes_at = place(uint64_t{sizes.scope_sets} * sizeof(ScopeSet));
  h.edge_calls_at = place(uint64_t{sizes.edge_calls} * sizeof(EdgeCalls));
  h.latencies_at = place(uint64_t{sizes.workers} * sizes.latencies * sizeof(LatencyHistogram));
  h.agent_credentials_at = place(uint64_t{sizes.agents} * sizeof(AgentCredentials));
  h.total = round_up(at, kHugePage);
  std::strncpy(h.ipsec_mb_version, crypto::Aead::library_version(), sizeof h.ipsec_mb_version - 1);
  std::strncpy(h.ipsec_mb_path, crypto::aead().path(), sizeof h.ipsec_mb_path - 1);
  return h;
}

size_t Arena::needed(const ArenaSizes& sizes) {
  return layout(sizes).total + CredentialTable::needed(sizes.credentials);
}

Result<std::unique_ptr<Arena>> Arena::create(const ArenaSizes& sizes, PageKind pages,
                                             std::span<const unsigned> worker_nodes) {
  const ArenaHeader h = layout(sizes);
  std::unique_ptr<Arena> arena(new Arena);
  const bool huge = pages == PageKind::kHuge;
  const unsigned flags = MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0u);
  arena->fd_ = Fd(memfd_create("sluice-arena", flags));
  if (!arena->fd_ || ftruncate(arena->fd_.get(), static_cast<off_t>(h.total)) != 0) {
    return fail(ErrorCode::kResource, fmt::format("cannot create the table segment of {} MiB: {}",
                                                  h.total >> 20, std::strerror(errno)));
  }
  void* p = mmap(nullptr, h.total, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd_.get(), 0);
  if (p != MAP_FAILED) {
    arena->base_ = static_cast<uint8_t*>(p);
    arena->size_ = h.total;
    for (const Stretch& s : spread(h, worker_nodes, huge ? kHugePage : kSmallPage)) prefer(p, s);
  }
  // A page that is missing is an error here, not a SIGBUS on a worker.
  if (p == MAP_FAILED || madvise(p, h.total, MADV_POPULATE_WRITE) != 0) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot map {} MiB of {} pages for the tables: {}; free memory, lower "
                            "limits:, reserve huge pages or set eal.mode: no_huge",
                            h.total >> 20, huge ? "huge" : "ordinary", std::strerror(errno)));
  }
  madvise(p, h.total, MADV_DONTDUMP);
  arena->header_ = new (p) ArenaHeader(h);
  uint8_t* base = arena->base_;
  arena->relay_ = construct<RelayRecord>(base, h.relay_at, 1);
  arena->agents_ = construct<Agent>(base, h.agents_at, sizes.agents);
  arena->edges_ = construct<Edge>(base, h.edges_at, sizes.edges);
  arena->sessions_ = construct<Session>(base, h.sessions_at, sizes.sessions);
  arena->windows_ =
      construct<ReplayWindow>(base, h.windows_at, size_t{sizes.sessions} * sizes.lanes_in);
  arena->lanes_ = construct<uint64_t>(base, h.lanes_at, size_t{sizes.sessions} * sizes.workers);
  arena->counters_ = construct<WorkerCounters>(base, h.counters_at, sizes.workers);
  arena->shares_ = construct<TenantShare>(base, h.shares_at, size_t{sizes.workers} * sizes.tenants);
  arena->prepared_ = construct<crypto::PreparedKey>(base, h.prepared_at, sizes.prepared_keys);
  arena->calls_ =
      construct<CallRecord>(base, h.calls_at, size_t{sizes.call_pages} * sizes.calls_each);
  arena->keys_ =
      construct<IdempotencyKey>(base, h.keys_at, size_t{sizes.call_pages} * sizes.keys_each);
  arena->page_agents_ = construct<std::atomic<uint32_t>>(base, h.page_owners_at, sizes.call_pages);
  for (uint32_t i = 0; i < sizes.call_pages; ++i) arena->page_agents_[i].store(kNone);
  arena->scopes_ = construct<ScopeSet>(base, h.scopes_at, sizes.scope_sets);
  arena->edge_calls_ = construct<EdgeCalls>(base, h.edge_calls_at, sizes.edge_calls);
  arena->latencies_ =
      construct<LatencyHistogram>(base, h.latencies_at, size_t{sizes.workers} * sizes.latencies);
  arena->agent_credentials_ =
      construct<AgentCredentials>(base, h.agent_credentials_at, sizes.agents);
  auto credentials = CredentialTable::create(sizes.credentials, huge);
  if (!credentials) return tl::unexpected(credentials.error());
  arena->credentials_ = std::move(*credentials);
  return arena;
}

Arena::~Arena() {
  if (base_ == nullptr) return;
  // Keys do not outlive the process in a page that somebody else gets.
  if (header_ != nullptr) {
    crypto::wipe(relay_, sizeof(RelayRecord));
    crypto::wipe(sessions_, sizes().sessions * sizeof(Session));
  }
  munmap(base_, size_);
}

}  // namespace sluice::fabric
