#include "bench/in_memory.h"

#include <algorithm>
#include <fstream>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <fmt/format.h>

#include "crypto/hash.h"

namespace sluice::bench {
namespace {

// Longer than any run: what a bench measures is not the rekey.
constexpr uint32_t kLifeS = 86'400;
constexpr uint16_t kUdpPort = 7600;
constexpr uint32_t kAgentNet = 0x0a010000;  // 10.1.0.0 and up
constexpr uint8_t kRelayIp[4] = {10, 0, 0, 1};
// Every bucket is charged, and none is ever empty.
constexpr control::RateConfig kRate{.packets_per_s = 100'000'000, .bytes_per_s = 100'000'000'000};

fabric::Topology topology_of(const House& house) {
  fabric::Topology t;
  t.mode = house.mode;
  t.file_prefix = fmt::format("sluice-bench-{}", getpid());
  t.burst = house.burst;
  const unsigned cores = static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN));
  const auto core_of = [&](unsigned w) {
    return w < house.cores.size() ? house.cores[w] : (house.first_core + w) % cores;
  };
  t.control_core = (house.first_core + house.workers) % cores;
  while (!house.cores.empty() &&
         std::count(house.cores.begin(), house.cores.end(), t.control_core) &&
         t.control_core + 1 < cores) {
    ++t.control_core;
  }
  for (unsigned w = 0; w < house.workers; ++w) {
    t.workers.push_back({core_of(w), {{0, static_cast<uint16_t>(w)}}});
  }
  t.verifiers.assign(house.verifiers, t.control_core);
  // They share control's core, and let it work while they have nothing to do.
  if (house.verifiers != 0) t.idle = fabric::IdleMode::kBackoff;
  return t;
}

fabric::ArenaSizes sizes_of(const House& house) {
  return {.agents = house.sessions + house.bystanders,
          .edges = house.sessions * house.edges + house.bystanders * house.bystander_edges + 2,
          .sessions = house.sessions + house.spare_sessions + 1,
          .lanes_in = 1,
          .workers = house.workers,
          .tenants = std::max<uint32_t>(1, static_cast<uint32_t>(house.tenants.size())),
          .prepared_keys = house.prepared_keys,
          .call_pages = house.call_pages,
          .calls_each = house.calls_each,
          .keys_each = house.keys_each,
          .latencies = house.latency
                           ? 1 + std::max<uint32_t>(1, static_cast<uint32_t>(house.tenants.size()))
                           : 0,
          .credentials = house.credentials};
}

dataplane::MemoryNeed need_of(const House& house) {
  return dataplane::memory_need(topology_of(house), house.buffers,
                                fabric::Arena::needed(sizes_of(house)));
}

}  // namespace

size_t InMemoryRelay::pages_needed(const House& house) {
  return (need_of(house).total() >> 21) + 1;
}

size_t InMemoryRelay::pages_free() {
  size_t pages = 0;
  std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") >> pages;
  return pages;
}

Result<std::unique_ptr<dataplane::Eal>> InMemoryRelay::start_eal(const House& house) {
  return dataplane::Eal::start(topology_of(house), need_of(house));
}

Result<std::unique_ptr<InMemoryRelay>> InMemoryRelay::create(const House& house) {
  std::unique_ptr<InMemoryRelay> relay(new InMemoryRelay);
  relay->house_ = house;
  relay->topology_ = topology_of(house);
  if (auto r = relay->make_ports(); !r) return tl::unexpected(r.error());
  const bool huge = house.mode != fabric::EalMode::kNoHuge;
  auto arena = fabric::Arena::create(sizes_of(house),
                                     huge ? fabric::PageKind::kHuge : fabric::PageKind::kSmall);
  if (!arena) return tl::unexpected(arena.error());
  relay->arena_ = std::move(*arena);
  const dataplane::WorkerOptions options{.udp_port = kUdpPort,
                                         .dscp = 0,
                                         .ipv4_udp_checksum = false,
                                         .burst = house.burst,
                                         .latency = house.latency};
  auto plane = dataplane::Plane::create(relay->topology_, options, need_of(house), relay->clock_,
                                        *relay->arena_);
  if (!plane) return tl::unexpected(plane.error());
  relay->plane_ = std::move(*plane);
  relay->mac_ = relay->plane_->worker(0).context().ports[0].mac;
  auto tables = house.state_dir.empty() ? relay->make_tables() : relay->make_control();
  if (!tables) return tl::unexpected(tables.error());
  if (auto r = relay->make_sessions(); !r) return tl::unexpected(r.error());
  return relay;
}

InMemoryRelay::~InMemoryRelay() {
  control_.reset();  // packets that it holds go back to the plane's pool
  plane_.reset();
  for (auto* list : {&rx_, &tx_}) {
    for (rte_ring* r : *list) {
      void* m = nullptr;
      while (rte_ring_dequeue(r, &m) == 0) {
      }
      rte_ring_free(r);
    }
  }
}

Result<void> InMemoryRelay::make_ports() {
  static int made = 0;
  const int n = made++;
  for (unsigned q = 0; q < house_.workers; ++q) {
    const auto ring = [&](const char* kind) {
      return rte_ring_create(fmt::format("b{}_{}{}", n, kind, q).c_str(), house_.ring,
                             SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    };
    rx_.push_back(ring("rx"));
    tx_.push_back(ring("tx"));
    if (rx_.back() == nullptr || tx_.back() == nullptr) {
      return fail(ErrorCode::kResource, "no memory for the rings of net_ring");
    }
  }
  const std::string name = fmt::format("b{}", n);
  if (rte_eth_from_rings(name.c_str(), rx_.data(), house_.workers, tx_.data(), house_.workers, 0) <
      0) {
    return fail(ErrorCode::kResource, "no net_ring port");
  }
  fabric::PortConfig port;
  port.name = "memory";
  port.device = "net_ring_" + name;
  port.mtu = house_.mtu;
  fabric::PortAddress address;
  address.ip = wire::mapped_ip4(kRelayIp);
  port.addresses = {address};
  topology_.ports = {port};
  return {};
}

void InMemoryRelay::write_headers(uint32_t i, uint8_t* at, size_t udp_payload) const {
  wire::PathHeader path{};
  uint8_t* p = path.bytes;
  std::memcpy(p, mac_.data(), 6);
  const uint8_t from[6] = {2, 0x11, 0x22, 0x33, 0x44, 0x55};
  std::memcpy(p + 6, from, 6);
  store_be16(p + 12, wire::kEtherIp4);
  p[14] = 0x45;
  p[14 + 8] = 64;
  p[14 + 9] = wire::kProtoUdp;
  store_be32(p + 14 + 12, kAgentNet + i);
  std::memcpy(p + 14 + 16, kRelayIp, 4);
  store_be16(p + 34, static_cast<uint16_t>(20000 + i % 40000));
  store_be16(p + 36, kUdpPort);
  // There and back: what a path keeps beside its headers is filled in.
  path = wire::reply_path(wire::reply_path(p, false, 0).bytes, false, 0);
  wire::write_headers(at, path, static_cast<uint16_t>(udp_payload), 0);
}

uint16_t InMemoryRelay::tenant_of(uint32_t agent) const {
  if (house_.tenants.empty() || agent >= house_.sessions) return 1;
  return static_cast<uint16_t>(1 + uint64_t{agent} * house_.tenants.size() / house_.sessions);
}

control::TrustConfig InMemoryRelay::trust_config() const {
  control::TrustConfig config;
  for (uint32_t i = 0; i < house_.sessions + house_.bystanders; ++i) {
    control::TrustAgent a;
    a.name = fmt::format("g{}", i);
    if (house_.identities.empty()) {
      store_le(a.identity.data(), uint64_t{i} + 1);
    } else {
      a.identity = house_.identities.at(i);
    }
    a.tenant = tenant_of(i);
    a.rate = kRate;
    config.agents.push_back(std::move(a));
  }
  const auto pair_up = [&config](uint32_t first, uint32_t count, unsigned edges) {
    for (uint32_t i = 0; i < count; ++i) {
      for (uint32_t bits = 1; bits <= edges; ++bits) {
        if ((i ^ bits) < i) continue;
        control::TrustPair p;
        p.from = config.agents[first + i].name;
        p.to = config.agents[first + (i ^ bits)].name;
        p.forward_rate = p.backward_rate = kRate;
        config.pairs.push_back(std::move(p));
      }
    }
  };
  pair_up(0, house_.sessions, house_.edges);
  pair_up(house_.sessions, house_.bystanders, house_.bystander_edges);
  for (uint16_t t = 1; t <= std::max<size_t>(1, house_.tenants.size()); ++t) {
    config.tenants.push_back(
        {.line = 0, .id = t, .rate = house_.tenants.empty() ? kRate : house_.tenants[t - 1]});
  }
  return config;
}

Result<void> InMemoryRelay::make_tables() {
  own_trust_ = std::make_unique<control::TrustTable>(*arena_, clock_);
  own_sessions_ =
      std::make_unique<control::SessionTable>(*arena_, plane_->qsbr(), clock_, kLifeS, kLifeS, 1);
  trust_ = own_trust_.get();
  sessions_ = own_sessions_.get();
  auto change = trust_->apply(trust_config());
  if (!change) return tl::unexpected(change.error());
  trust_->mark_durable(change->new_agents);
  trust_->activate();
  return {};
}

Result<void> InMemoryRelay::make_control() {
  crypto::init();
  control::Config config;
  config.topology = topology_;
  config.handshake.session_life_s = kLifeS;
  if (house_.offline == 0) config.handshake.unconfirmed_s = kLifeS;
  config.relay.state_dir = house_.state_dir;
  config.trust = trust_config();
  control::RelayKeys keys;
  keys.tunnel = crypto::X25519KeyPair::generate();
  keys.operator_key = crypto::Identity::generate();
  auto store = control::Store::open(house_.state_dir, [this](std::function<void()> f) {
    const std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(f));
  });
  if (!store) return tl::unexpected(store.error());
  auto control = control::Control::create(config, std::move(keys), std::move(*store),
                                          {clock_, *arena_, plane_->qsbr(), plane_->mailboxes(),
                                           [this] {
                                             if (at_cut) at_cut();
                                             return plane_->port_status();
                                           },
                                           [this](std::function<void()> f) {
                                             const std::lock_guard lock(posted_mutex_);
                                             posted_.push_back(std::move(f));
                                           }});
  if (!control) return tl::unexpected(control.error());
  control_ = std::move(*control);
  trust_ = &control_->trust();
  sessions_ = &control_->sessions();
  return {};
}

unsigned InMemoryRelay::poll_control() {
  const unsigned pause = control_->poll();
  std::vector<std::function<void()>> ready;
  {
    const std::lock_guard lock(posted_mutex_);
    ready.swap(posted_);
  }
  for (auto& f : ready) f();
  return ready.empty() ? pause : 0;
}

Result<void> InMemoryRelay::make_sessions() {
  const uint32_t n = house_.sessions;
  agents_ = std::make_unique<AgentSide[]>(n);
  labels_.resize(size_t{n} * house_.edges);
  for (const control::EdgeEntry& e : trust_->edges()) {
    if (e.from >= n) continue;
    labels_[size_t{e.from} * house_.edges + (e.from ^ e.to) - 1] = e.label;
  }

  for (uint32_t i = 0; i < n; ++i) {
    AgentSide& a = agents_[i];
    a.label = label(i, 0);
    a.peer = i ^ 1;
    if (i >= n - house_.offline) continue;
    crypto::NoiseKeys keys;
    crypto::random_bytes({keys.initiator_to_responder.data(), 32});
    crypto::random_bytes({keys.responder_to_initiator.data(), 32});
    crypto::random_bytes(keys.hash);
    crypto::aead().expand(keys.initiator_to_responder.data(), a.send);
    crypto::aead().expand(keys.responder_to_initiator.data(), a.receive);
    uint8_t salts[8];
    crypto::hkdf_sha256(keys.hash, "sluice/1 salts", salts);
    std::memcpy(a.send_salt, salts, 4);
    std::memcpy(a.receive_salt, salts + 4, 4);

    uint8_t frame[128] = {};
    write_headers(i, frame, wire::kDataMin);
    wire::IpView view;
    if (wire::parse_ip({frame, 42 + wire::kDataMin}, house_.mtu, view) != wire::IpVerdict::kUdp) {
      return fail(ErrorCode::kInternal, "the bench's own frame does not parse");
    }
    const auto slot = sessions_->next_free();
    if (!slot) return fail(ErrorCode::kInternal, "no session slot");
    a.session = *slot;
    control::HelloDigest digest{};
    store_le(digest.data(), uint64_t{i} + 1);
    sessions_->publish(*slot, {.agent = i,
                               .peer_index = i + 1,
                               .keys = &keys,
                               .path = wire::reply_path(frame, view, 0),
                               .hello = digest,
                               .is_rekey = false});
    sessions_->confirm(*slot, arena_->sessions()[*slot].generation);
    arena_->sessions()[*slot].reported_generation = arena_->sessions()[*slot].generation;
    set_owner(i, i / 2 % house_.workers);
  }
  return {};
}

void InMemoryRelay::set_owner(uint32_t agent, unsigned worker) {
  arena_->agents()[agent].owner.store(worker, std::memory_order_release);
}

void InMemoryRelay::set_seal(fabric::SealPolicy policy) {
  for (auto& e : arena_->edges()) e.seals = fabric::seals_of(policy);
}

uint64_t InMemoryRelay::counter(fabric::Counter fabric::WorkerCounters::*member) const {
  uint64_t sum = 0;
  for (unsigned w = 0; w < house_.workers; ++w) sum += (arena_->counters(w).*member).get();
  return sum;
}

uint64_t InMemoryRelay::drops(std::string* which) const {
  uint64_t sum = 0;
  for (unsigned w = 0; w < house_.workers; ++w) {
    for (size_t r = 1; r < fabric::kDropReasons; ++r) {
      const uint64_t n = arena_->counters(w).drops[r].get();
      if (n != 0 && which != nullptr)
        *which += fmt::format("{} {} ", fabric::kDropTable[r].name, n);
      sum += n;
    }
  }
  return sum;
}

std::string InMemoryRelay::denials() const {
  std::string out;
  for (size_t r = 1; r < wire::kCallReasons; ++r) {
    uint64_t sum = 0;
    for (unsigned w = 0; w < house_.workers; ++w) sum += arena_->counters(w).calls[r].get();
    if (sum != 0) out += fmt::format("{} {} ", wire::kCallReasonTable[r].name, sum);
  }
  return out;
}

}  // namespace sluice::bench
