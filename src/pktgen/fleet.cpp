#include "pktgen/fleet.h"

#include <time.h>
#include <unistd.h>

#include <csignal>

#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_mbuf.h>

#include <fmt/format.h>

namespace sluice::pktgen {
namespace {

constexpr uint16_t kDataRoom = 2048;
constexpr double kNeighbourSeconds = 20;
constexpr timespec kNap = {0, 200'000};
// While nothing but the measurement goes on: it may share a core with the one that measures.
constexpr timespec kLongNap = {0, 5'000'000};
constexpr uint64_t kQuietAfterMs = 50;

volatile std::sig_atomic_t g_interrupted = 0;

void on_signal(int) {
  g_interrupted = 1;
}

int run_worker(void* worker) {
  static_cast<Worker*>(worker)->run();
  return 0;
}

// Answers what asks for us, too: the relay may want our address first.
std::optional<wire::Mac> listen(const Port& port, const AddressRange& own,
                                const wire::IpBytes& relay) {
  std::optional<wire::Mac> found;
  for (uint16_t q = 0; q < port.queues(); ++q) {
    rte_mbuf* packets[32];
    const uint16_t n = rte_eth_rx_burst(port.id(), q, packets, 32);
    for (uint16_t i = 0; i < n; ++i) {
      rte_mbuf* m = packets[i];
      const MutBytes frame{rte_pktmbuf_mtod(m, uint8_t*), m->data_len};
      if (const auto mac = read_answer(frame, own.v6, relay)) found = mac;
      if (!answer_question(own, frame) || rte_eth_tx_burst(port.id(), 0, &m, 1) == 0) {
        rte_pktmbuf_free(m);
      }
    }
  }
  return found;
}

}  // namespace

bool interrupted() noexcept {
  return g_interrupted != 0;
}

void catch_signals() noexcept {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

Result<std::unique_ptr<Fleet>> Fleet::start(const FleetOptions& options) {
  std::unique_ptr<Fleet> fleet(new Fleet(options));
  auto keys = KeySource::open(options.seed_file, false);
  if (!keys) return tl::unexpected(keys.error());
  fleet->keys_ = std::make_unique<KeySource>(std::move(*keys));
  if (!options.pcap.empty()) {
    auto file = CaptureFile::open(options.pcap);
    if (!file) return tl::unexpected(file.error());
    fleet->capture_file_ = std::move(*file);
  }
  auto eal = Eal::start(options);
  if (!eal) return tl::unexpected(eal.error());
  fleet->eal_ = std::move(*eal);
  const auto room = std::max<uint16_t>(kDataRoom, static_cast<uint16_t>(options.mtu + 128));
  auto pool = create_pool("pktgen", buffers_needed(options), room);
  if (!pool) return tl::unexpected(pool.error());
  fleet->pool_ = std::move(*pool);
  if (options.presealed != 0) {
    auto presealed = create_pool("presealed", options.presealed + 512, options.presealed_room);
    if (!presealed) return tl::unexpected(presealed.error());
    fleet->presealed_pool_ = std::move(*presealed);
  }
  for (size_t i = 0; i < options.devices.size(); ++i) {
    if (auto r = fleet->start_device(i); !r) return tl::unexpected(r.error());
  }
  // All devices first: a relay over memif connects to every socket at its start, once.
  for (size_t i = 0; i < options.devices.size(); ++i) {
    if (auto r = fleet->prepare_flows(i); !r) return tl::unexpected(r.error());
  }
  if (auto r = fleet->start_workers(); !r) return tl::unexpected(r.error());
  return fleet;
}

Result<void> Fleet::start_device(size_t index) {
  auto d = std::make_unique<Device>();
  d->options = options_.devices[index];
  auto port = Port::start(d->options, options_.queues, options_, pool_.get());
  if (!port) return tl::unexpected(port.error());
  d->port = std::move(*port);
  auto mailbox = Mailbox::create(static_cast<unsigned>(index), pool_.get());
  if (!mailbox) return tl::unexpected(mailbox.error());
  d->mailbox = std::move(*mailbox);
  if (options_.pcap_packets != 0) {
    auto ring =
        CaptureRing::create(static_cast<unsigned>(index), pool_.get(), options_.pcap_packets);
    if (!ring) return tl::unexpected(ring.error());
    d->capture = std::move(*ring);
  }
  devices_.push_back(std::move(d));
  return {};
}

Result<void> Fleet::prepare_flows(size_t index) {
  Device& d = *devices_[index];
  if (all_zero(d.options.relay_mac)) {
    if (auto r = find_relay(d); !r) return r;
  }
  const auto step = static_cast<uint32_t>(options_.devices.size());
  const uint32_t agents = options_.population.agents;
  const auto count = static_cast<uint32_t>((agents - index + step - 1) / step);
  d.flows = std::make_unique<FlowTable>(count);
  for (uint32_t local = 0; local < count; ++local) {
    Flow& f = d.flows->flows[local];
    set_header(f, d.options, d.port->mac(), local * step + static_cast<uint32_t>(index));
    f.queue = static_cast<uint8_t>(local % options_.queues);
  }
  return {};
}

// memif passes nothing before the other side has polled, so the first questions may be lost.
Result<void> Fleet::find_relay(Device& d) {
  const AddressRange own{d.options.v6, d.options.base, addresses_used(options_.population.agents),
                         d.port->mac()};
  const uint64_t begin = clock_.ticks();
  uint64_t next = begin;
  while (!interrupted() && clock_.us_from_ticks(clock_.ticks() - begin) < kNeighbourSeconds * 1e6) {
    if (clock_.ticks() >= next) {
      next = clock_.ticks() + clock_.ticks_from_ms(200);
      rte_mbuf* m = rte_pktmbuf_alloc(pool_.get());
      if (m != nullptr) {
        const size_t size = build_question(own, d.options.relay, rte_pktmbuf_mtod(m, uint8_t*));
        rte_pktmbuf_append(m, static_cast<uint16_t>(size));
        if (rte_eth_tx_burst(d.port->id(), 0, &m, 1) == 0) rte_pktmbuf_free(m);
      }
    }
    if (const auto mac = listen(*d.port, own, d.options.relay)) {
      d.options.relay_mac = *mac;
      return {};
    }
    nanosleep(&kNap, nullptr);
  }
  if (interrupted()) return fail(ErrorCode::kTimeout, "interrupted before the relay was found");
  return fail(
      ErrorCode::kTimeout,
      fmt::format("{}: nobody answers for the relay's address within {} s: is the relay up, "
                  "on this link, and does --relay name one of its port's addresses? "
                  "(--relay-mac skips the question)",
                  d.options.device, kNeighbourSeconds));
}

Result<void> Fleet::start_workers() {
  for (const auto& d : devices_) send_times_.push_back(&d->send_times);
  std::vector<Mailbox*> mailboxes;
  std::vector<FlowTable*> tables;
  unsigned lcore = 0;
  for (size_t i = 0; i < devices_.size(); ++i) {
    Device& d = *devices_[i];
    const WorkerContext context{
        .device = static_cast<uint8_t>(i),
        .clock = clock_,
        .port = *d.port,
        .options = d.options,
        .addresses = {d.options.v6, d.options.base, addresses_used(options_.population.agents),
                      d.port->mac()},
        .population = options_.population,
        .pool = pool_.get(),
        .presealed_pool = presealed_pool_.get(),
        .flows = *d.flows,
        .mailbox = *d.mailbox,
        .stats = d.stats,
        .capture = d.capture.get(),
        .send_times = d.send_times,
        .all_send_times = send_times_,
        .ns_per_tick = 1e9 / double(clock_.hz())};
    d.worker = std::make_unique<Worker>(context, options_.relay_key);
    lcore = rte_get_next_lcore(lcore, 1, 0);
    d.lcore = lcore;
    if (int rc = rte_eal_remote_launch(run_worker, d.worker.get(), lcore); rc != 0) {
      return fail(ErrorCode::kResource,
                  fmt::format("worker {} does not start: {}", i, strerror(-rc)));
    }
    mailboxes.push_back(d.mailbox.get());
    tables.push_back(d.flows.get());
  }
  connector_ = std::make_unique<Connector>(options_, *keys_, clock_, mailboxes, tables);
  return {};
}

Fleet::~Fleet() {
  for (auto& d : devices_) {
    if (d->worker) d->worker->stop();
  }
  for (auto& d : devices_) {
    if (d->worker && d->lcore != 0) rte_eal_wait_lcore(d->lcore);
  }
  for (auto& d : devices_) {
    if (d->capture && capture_file_) capture_file_->write_all(*d->capture);
  }
}

double Fleet::share(size_t device) const {
  return double(devices_[device]->flows->flows.size()) / options_.population.agents;
}

uint64_t Fleet::capture_missed() const {
  uint64_t n = 0;
  for (const auto& d : devices_) n += d->capture ? d->capture->missed() : 0;
  return n;
}

void Fleet::serve() {
  const bool busy = connector_->poll();
  const uint64_t now = clock_.ticks();
  if (busy) last_busy_ = now;
  bool quiet = now - last_busy_ > clock_.ticks_from_ms(kQuietAfterMs);
  for (auto& d : devices_) {
    if (!d->capture) continue;
    capture_file_->write_all(*d->capture);
    quiet = false;  // what it holds is bounded
  }
  if (!busy) nanosleep(quiet ? &kLongNap : &kNap, nullptr);
}

Result<void> Fleet::connect(const std::function<void(const Connector&)>& progress) {
  const uint64_t begin = clock_.ticks();
  while (!connector_->all_up()) {
    if (interrupted()) return fail(ErrorCode::kTimeout, "interrupted before all agents were up");
    const double seconds = clock_.us_from_ticks(clock_.ticks() - begin) / 1e6;
    if (seconds > options_.connect_timeout_s) {
      return fail(ErrorCode::kTimeout,
                  fmt::format("{} of {} agents connected within {:.0f} s: {}", connector_->up(),
                              options_.population.agents, seconds, connector_->complaint()));
    }
    serve();
    progress(*connector_);
  }
  return {};
}

}  // namespace sluice::pktgen
