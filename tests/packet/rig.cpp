#include "packet/rig.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "control.pb.h"
#include "control/capacity.h"
#include "fabric/buffer.h"
#include "packet/guard.h"

namespace rig {

using namespace sluice;

namespace {

int next_rig = 0;

// rte_eth_from_rings needs an EAL; one serves all rigs of the process.
void start_eal() {
  static std::unique_ptr<dataplane::Eal> eal;
  if (eal) return;
  fabric::Topology t;
  t.mode = fabric::EalMode::kNoHuge;
  t.file_prefix = "sluice-packet-tests";
  for (unsigned i = 0; i < 1; ++i) t.workers.push_back({0, {}});
  dataplane::MemoryNeed need;
  need.pool = size_t{512} << 20;
  auto started = dataplane::Eal::start(t, need);
  if (!started) throw std::runtime_error(started.error().message);
  eal = std::move(*started);
}

constexpr uint64_t kHz = 2'600'000'000;

}  // namespace

std::set<std::string>& produced_reasons() {
  static std::set<std::string> set;
  return set;
}

oracle::Mac mac_of(unsigned n) {
  return {0x02, 0x11, 0x22, 0x33, 0x44, static_cast<uint8_t>(n)};
}

struct Rig::Port {
  std::vector<rte_ring*> rx, tx;
  std::string device;
  ~Port() {
    for (auto* list : {&rx, &tx}) {
      for (rte_ring* r : *list) {
        void* m = nullptr;
        while (rte_ring_dequeue(r, &m) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
        rte_ring_free(r);
      }
    }
  }
};

Rig::Rig(Setup setup) : clock(kHz), setup_(setup) {
  crypto::init();
  start_eal();
  ++next_rig;
  folder_ = std::filesystem::temp_directory_path() /
            ("sluice-rig-" + std::to_string(getpid()) + "-" + std::to_string(next_rig));
  std::filesystem::create_directories(folder_);

  auto& t = config.topology;
  t.mode = fabric::EalMode::kNoHuge;
  t.burst = 32;
  for (unsigned w = 0; w < setup.workers; ++w) {
    fabric::WorkerConfig worker;
    worker.core = w;
    for (uint16_t p = 0; p < setup.ports; ++p)
      worker.queues.push_back({p, static_cast<uint16_t>(w)});
    t.workers.push_back(worker);
  }
  for (unsigned v = 0; v < setup.verifiers; ++v) t.verifiers.push_back(v);
  make_ports();
  config.limits.agents = 64;
  config.limits.edges = 256;
  config.limits.sessions = setup.sessions;
  config.limits.calls_per_agent = setup.calls_per_agent;
  config.limits.idempotency_keys_per_agent = setup.keys_per_agent;
  config.handshake.agent_lanes = setup.agent_lanes;
  config.handshake.under_load_per_s = setup.under_load_per_s;
  config.handshake.under_load_burst = setup.under_load_burst;
  config.relay.state_dir = folder_;
  config.observability.latency = setup.latency;
  config.observability.latency_tenants = setup.latency_tenants;
  config.when_stale =
      setup.max_staleness_s == 0 ? control::WhenStale::kForward : control::WhenStale::kRefuse;
  config.max_staleness_s = std::max(setup.max_staleness_s, 1u);

  config.calls = setup.calls;

  crypto::Key256 secret;
  for (size_t i = 0; i < 32; ++i) secret.data()[i] = static_cast<uint8_t>(i + 1);
  keys.tunnel = crypto::X25519KeyPair::from_secret(secret);
  keys.operator_key = crypto::Identity::generate();
  relay_key = keys.tunnel.public_key;

  const auto sizes = control::arena_sizes(config);
  arena = std::move(*fabric::Arena::create(sizes, fabric::PageKind::kSmall));
  need_ = dataplane::memory_need(t, 8191, 0);
  const dataplane::WorkerOptions options{.udp_port = 7600,
                                         .dscp = setup.dscp,
                                         .ipv4_udp_checksum = setup.ipv4_udp_checksum,
                                         .burst = t.burst,
                                         .calls = control::call_options(config.calls),
                                         .latency = setup.latency};
  auto made = dataplane::Plane::create(t, options, need_, clock, *arena);
  if (!made) throw std::runtime_error(made.error().message);
  plane = std::move(*made);
}

Rig::~Rig() {
  control.reset();
  posted.clear();
  // Whatever the test did, every buffer is back once the rings are empty and rings' leftovers sent.
  for (int i = 0; i < 40; ++i) {
    poll_workers();
    drain_all();
  }
  EXPECT_EQ(take_trespasses(), "");
  EXPECT_TRUE(strayed_ == 0 || counters().at("handed_out") > 0);
  for (auto take : {&fabric::Mailboxes::take_rekey, &fabric::Mailboxes::take_frame,
                    &fabric::Mailboxes::take_hello}) {
    while ((plane->mailboxes().*take)()) {
    }
  }
  EXPECT_EQ(buffers_in_use(), 0u) << "the mempool is not whole at the end";
  ports_.clear();
  plane.reset();
  arena.reset();
  std::error_code ec;
  std::filesystem::remove_all(folder_, ec);
}

void Rig::make_ports() {
  for (unsigned p = 0; p < setup_.ports; ++p) {
    auto port = std::make_unique<Port>();
    const auto ring = [&](const char* kind, unsigned q, unsigned size) {
      char name[64];
      std::snprintf(name, sizeof name, "%s%d_%u_%u", kind, next_rig, p, q);
      rte_ring* r = rte_ring_create(name, size, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
      if (r == nullptr) throw std::runtime_error("no ring");
      return r;
    };
    for (unsigned q = 0; q < setup_.workers; ++q) {
      port->rx.push_back(ring("rx", q, 4096));
      port->tx.push_back(ring("tx", q, setup_.tx_ring));
    }
    char name[32];
    std::snprintf(name, sizeof name, "r%d_%u", next_rig, p);
    if (rte_eth_from_rings(name, port->rx.data(), setup_.workers, port->tx.data(), setup_.workers,
                           0) < 0) {
      throw std::runtime_error("no net_ring port");
    }
    fabric::PortConfig c;
    c.name = p == 0 ? "north" : "south" + std::to_string(p);
    c.device = std::string("net_ring_") + name;
    c.mtu = setup_.mtu;
    fabric::PortAddress v4, v6;
    const uint8_t four[4] = {10, 0, static_cast<uint8_t>(p), 1};
    v4.ip = wire::mapped_ip4(four);
    v6.v6 = true;
    v6.ip = {0xfd, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(p), 0, 0, 0, 0, 0, 0, 0, 1};
    c.addresses = {v4, v6};
    config.topology.ports.push_back(c);
    port->device = c.device;
    ports_.push_back(std::move(port));
  }
}

std::unique_ptr<Agent> Rig::make_agent(uint8_t seed, const std::string& name, unsigned port,
                                       bool v6) {
  auto agent = std::make_unique<Agent>(seed, name);
  agent->port = port;
  oracle::Flow& f = agent->flow;
  f.src_mac = mac_of(seed);
  f.dst_mac = {};  // net_ring's own address
  f.v6 = v6;
  const auto& address = config.topology.ports[port].addresses[v6 ? 1 : 0].ip;
  if (v6) {
    std::copy(address.begin(), address.end(), f.dst_ip.begin());
    f.src_ip = f.dst_ip;
    f.src_ip[15] = seed;
  } else {
    f.dst_ip = {address[12], address[13], address[14], address[15]};
    f.src_ip = f.dst_ip;
    f.src_ip[3] = seed;
  }
  f.src_port = static_cast<uint16_t>(40000 + seed);
  f.dst_port = 7600;
  return agent;
}

Agent& Rig::add_agent(uint8_t seed, const std::string& name, unsigned port, bool v6,
                      uint16_t tenant) {
  auto agent = make_agent(seed, name, port, v6);
  control::TrustAgent t;
  t.name = name;
  t.identity = agent->peer.identity();
  t.tenant = tenant;
  t.enrol = agent->peer.enrol_statement(relay_key, tenant, name, clock.unix_ms());
  t.e2e_key = agent->peer.e2e_public();
  config.trust.agents.push_back(t);
  std::unique_ptr<Agent>& slot = agents[name];
  slot = std::move(agent);
  return *slot;
}

void Rig::trust(const std::string& a, const std::string& b, control::EdgeRight forward,
                control::EdgeRight backward) {
  config.trust.pairs.push_back({0, a, b, forward, backward});
}

void Rig::start() {
  auto store = control::Store::open(folder_, [this](std::function<void()> f) {
    const std::lock_guard lock(posted_mutex);
    posted.push_back(std::move(f));
  });
  if (!store) throw std::runtime_error(store.error().message);
  control::RelayKeys copy;
  copy.tunnel = keys.tunnel.clone();
  copy.operator_key = crypto::Identity::from_seed(keys.operator_key.seed());
  auto made = control::Control::create(config, std::move(copy), std::move(*store),
                                       {clock,
                                        *arena,
                                        plane->qsbr(),
                                        plane->mailboxes(),
                                        [this] { return plane->port_status(); },
                                        [this](std::function<void()> f) {
                                          const std::lock_guard lock(posted_mutex);
                                          posted.push_back(std::move(f));
                                        },
                                        {},
                                        plane->verifier_qsbr(),

                                        [this] { return plane->links(); }});
  if (!made) throw std::runtime_error(made.error().message);
  control = std::move(*made);
}

void Rig::inject(unsigned port, const Buf& frame, unsigned queue) {
  rte_mbuf* m = fabric::take_buffer(plane->pool());
  ASSERT_NE(m, nullptr);
  if (frame.size() > rte_pktmbuf_tailroom(m)) {
    rte_pktmbuf_free(m);
    FAIL() << "frame of " << frame.size() << " bytes does not fit a buffer";
  }
  std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(frame.size())), frame.data(),
              frame.size());
  m->ol_flags |= rx_flags;
  given_away(m);
  ASSERT_EQ(rte_ring_enqueue(ports_[port]->rx[queue], m), 0);
}

std::vector<Buf> Rig::drain(unsigned port) {
  std::vector<Buf> out;
  for (rte_ring* r : ports_[port]->tx) {
    void* p = nullptr;
    while (rte_ring_dequeue(r, &p) == 0) {
      taken_over(p);
      auto* m = static_cast<rte_mbuf*>(p);
      const auto* d = rte_pktmbuf_mtod(m, const uint8_t*);
      out.emplace_back(d, d + rte_pktmbuf_data_len(m));
      fabric::drop_buffer(m);
    }
  }
  return out;
}

std::vector<Buf> Rig::drain_all() {
  std::vector<Buf> out;
  for (unsigned p = 0; p < setup_.ports; ++p) {
    for (auto& f : drain(p)) out.push_back(std::move(f));
  }
  return out;
}

void Rig::poll_workers() {
  uint64_t waiting = 0;
  for (unsigned w = 0; w < setup_.workers; ++w) poll_worker(w);
  for (unsigned w = 0; w < setup_.workers; ++w) {
    waiting += arena->counters(w).handed_out.get() - arena->counters(w).handed_in.get();
  }
  if (waiting != 0) {
    for (unsigned w = 0; w < setup_.workers; ++w) poll_worker(w);
  }
}

unsigned Rig::poll_worker(unsigned w) {
  const WorkerGuard guard;
  for (unsigned v = 0; v < setup_.verifiers && !verifiers_stand_still; ++v) {
    while (plane->verifier(v).poll_once() != 0) {
    }
  }
  return plane->worker(w).poll_once();
}

void Rig::poll(unsigned rounds) {
  for (unsigned i = 0; i < rounds; ++i) {
    poll_workers();
    poll_control();
  }
}

void Rig::poll_control() {
  if (control) control->poll();
  std::deque<std::function<void()>> ready;
  {
    const std::lock_guard lock(posted_mutex);
    ready.swap(posted);
  }
  for (auto& f : ready) f();
}

bool Rig::poll_until(const std::function<bool()>& done, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    poll();
  }
  return true;
}

Buf Rig::hello_frame(Agent& a, oracle::HelloOptions options) {
  if (options.time_ms == 0) {
    options.time_ms = std::max<uint64_t>(clock.unix_ms(), a.last_time + 1);
    a.last_time = options.time_ms;
  }
  return oracle::udp_frame(a.flow, a.peer.hello(relay_key, options));
}

void Rig::send(Agent& a, const Buf& payload) {
  unsigned queue = a.queue;
  if (setup_.workers > 1 && ++a.sent % 10 == 0) {
    queue = (queue + 1 + a.sent / 10 % (setup_.workers - 1)) % setup_.workers;
    ++strayed_;
  }
  inject(a.port, oracle::udp_frame(a.flow, payload), queue);
}

bool Rig::connect(Agent& a, oracle::HelloOptions options) {
  inject(a.port, hello_frame(a, options), a.queue);
  bool welcomed = false;
  poll_until([&] {
    for (const Buf& f : drain(a.port)) {
      const auto parsed = oracle::parse_udp_frame(f);
      if (!parsed) continue;
      if (a.peer.read_retry(parsed->payload)) {
        send(a, a.peer.resend_with_cookie());
        continue;
      }
      if (const auto w = a.peer.read_welcome(parsed->payload); w && w->has_session()) {
        a.welcome = *w;
        welcomed = true;
      }
    }
    return welcomed;
  });
  if (!welcomed) return false;
  send(a, a.peer.seal(0, 0, 0, 0, {}, {}));
  poll_until([&] {
    const auto slot = a.welcome.sender_index;
    const auto it = control->sessions().entries().find(slot);
    return it != control->sessions().entries().end() && it->second.confirmed;
  });
  for (int i = 0; i < 40; ++i) {
    clock.advance_ms(5);
    poll(2);
    (void)receive(a);
    poll(2);
  }
  return true;
}

std::vector<std::pair<uint64_t, pb::Control>> Rig::answers_of(Agent& a) {
  (void)receive(a);
  return std::exchange(a.answers, {});
}

Buf Rig::datagram(Agent& from, const std::string& to, const Buf& message, oracle::SealOptions o) {
  return from.peer.seal(1, 0, from.labels.at(to), 0, {}, message, o);
}

std::vector<oracle::Frame> Rig::receive(Agent& a) {
  std::vector<oracle::Frame> out;
  for (const Buf& f : drain(a.port)) {
    const auto parsed = oracle::parse_udp_frame(f);
    if (!parsed || parsed->flow.dst_port != a.flow.src_port) continue;
    const auto frame = a.peer.open(parsed->payload);
    if (!frame) continue;
    if (frame->frame != 7) {
      out.push_back(*frame);
      continue;
    }
    pb::Control body;
    if (!body.ParseFromArray(frame->extension.data(), static_cast<int>(frame->extension.size())))
      continue;
    if (body.has_edge_sync()) {
      if (body.edge_sync().part() == 0) a.labels.clear();
      for (const auto& e : body.edge_sync().edges()) {
        a.labels[e.name()] = e.label();
        a.rights[e.name()] = e.right();
        a.rotations[e.name()] = {e.rotations().begin(), e.rotations().end()};
      }
    }
    if (body.has_revoked()) {
      pb::Statement s;
      s.ParseFromString(body.revoked().statement());
      a.revoked_notices.push_back(s.trust_revoke().reason());
    }
    if (body.has_pending()) {
      if (body.pending().part() == 0) a.pending.clear();
      for (const auto& p : body.pending().pending()) a.pending.push_back(p);
    }
    if (body.has_told()) a.told.push_back(body.told());
    if (body.has_relay_key()) a.relay_keys.push_back(body.relay_key());
    if (body.has_outcome() || body.has_found() || body.has_fetched()) {
      a.answers.emplace_back(frame->call_id, body);
      continue;
    }
    pb::Control ack;
    ack.mutable_ack();
    const std::string bytes = ack.SerializeAsString();
    send(a, a.peer.seal(7, 0, 0, frame->call_id, Buf(bytes.begin(), bytes.end()), {}));
  }
  return out;
}

std::map<std::string, uint64_t> Rig::counters() const {
  std::map<std::string, uint64_t> out;
  for (unsigned w = 0; w < setup_.workers; ++w) {
    const auto& c = arena->counters(w);
    for (const auto& info : fabric::kWorkerCounterTable) out[info.name] += (c.*info.member).get();
    for (size_t r = 1; r < fabric::kDropReasons; ++r) {
      out[std::string("drop.") + fabric::kDropTable[r].name] += c.drops[r].get();
    }
    for (size_t r = 0; r < wire::kCallReasons; ++r) {
      out[std::string("call.") + wire::kCallReasonTable[r].name] += c.calls[r].get();
    }
  }
  return out;
}

void Rig::check_balance() {
  const auto c = counters();
  uint64_t drops = 0;
  for (const auto& [name, value] : c) {
    if (name.starts_with("drop.")) drops += value;
  }
  EXPECT_EQ(c.at("rx_packets") + c.at("handed_in") + c.at("injected") + c.at("challenges") +
                c.at("credentials") + c.at("resumed"),
            c.at("parked") + c.at("tx_packets") + c.at("punted") + c.at("handed_out") + drops);
}

size_t Rig::buffers_in_use() const {
  return rte_mempool_in_use_count(plane->pool());
}

}  // namespace rig
