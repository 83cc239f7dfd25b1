#include "control/control.h"

#include <algorithm>

#include "base/log.h"
#include "crypto/cookie.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

constexpr unsigned kTellsPerPoll = 256;  // agents that hear of a new key of the relay
constexpr unsigned kBusyUs = 20;
constexpr unsigned kIdleUs = 500;
// Once nothing has happened for a while: each look interrupts whatever shares the core.
constexpr unsigned kQuietUs = 2000;
constexpr uint64_t kQuietAfterMs = 50;
constexpr uint64_t kPublishMs = 100;
constexpr int64_t kClockStepMs = 50;
constexpr uint64_t kQuotaMs = 1000;
constexpr size_t kEndsPerPoll = 64;  // agents whose admission is over

std::vector<uint16_t> port_mtus(const Config& config) {
  std::vector<uint16_t> out;
  for (const auto& p : config.topology.ports) out.push_back(p.mtu);
  return out;
}

Changes enrol_changes(const std::vector<AgentRow>& rows) {
  Changes out{"config", rows.front().created_ms, {}};
  out.list.assign(rows.begin(), rows.end());
  return out;
}

// A start must not fail because an agent has handed over meanwhile; a reload says so and refuses.
TrustConfig without_formers(TrustConfig trust, const TrustTable& table) {
  std::set<std::string> gone;
  for (const TrustAgent& a : trust.agents) {
    const AgentEntry* now = table.successor_of(a.identity);
    if (now == nullptr) continue;
    spdlog::error(
        "line {}: {} has handed over to another identity and is left out, with its pairs: "
        "put {} in the place of its did, and its new statement",
        a.line, a.name, crypto::to_did(now->identity));
    gone.insert(a.name);
  }
  std::erase_if(trust.agents, [&](const TrustAgent& a) { return gone.contains(a.name); });
  std::erase_if(trust.pairs,
                [&](const TrustPair& p) { return gone.contains(p.from) || gone.contains(p.to); });
  return trust;
}

}  // namespace

uint64_t fill_relay_record(fabric::Arena& arena) {
  fabric::RelayRecord& r = arena.relay();
  r.epoch = crypto::random_u64();
  crypto::random_bytes(r.challenge_key);
  crypto::random_bytes(r.idempotency_key);
  return r.epoch;
}

static std::vector<audit::RecordRing*> audit_rings(fabric::Mailboxes& mailboxes) {
  std::vector<audit::RecordRing*> out;
  for (unsigned w = 0; w < mailboxes.workers(); ++w) out.push_back(mailboxes.of(w).audit.get());
  return out;
}

fabric::CallOptions call_options(const CallsConfig& c) {
  return {.skew_ms = int64_t{c.skew_s} * 1000,
          .longest_life_ms = uint64_t{c.longest_life_s} * 1000,
          .idle_ms = uint64_t{c.idle_s} * 1000,
          .circuit_percent = c.circuit_percent,
          .circuit_calls = c.circuit_calls,
          .circuit_within_ms = c.circuit_within_s * 1000,
          .circuit_open_ms = c.circuit_open_s * 1000};
}

Control::Control(const Config& config, RelayKeys keys, std::unique_ptr<Store> store,
                 Surroundings around)
    : config_(config),
      keys_(std::move(keys)),
      around_(std::move(around)),
      started_(around_.clock.ticks()),
      events_(around_.clock),
      watch_(*this),
      trust_(around_.arena, around_.clock),
      sessions_(around_.arena, around_.qsbr, around_.clock, config_.handshake.session_life_s,
                config_.handshake.unconfirmed_s, config_.handshake.agent_lanes),
      prepared_(around_.arena, around_.qsbr, around_.clock, crypto::batch_engine(),
                around_.verifiers),
      channel_(keys_, around_.clock, trust_, sessions_, around_.arena, around_.mailboxes),
      owners_(around_.clock, around_.arena, around_.mailboxes),
      store_(std::move(store)),
      enrolment_(around_.clock, trust_, channel_, *store_),
      keyring_(keys_, config_.relay.state_dir, around_.clock, around_.arena, *store_),
      handshakes_({.keyring = keyring_,
                   .config = config_.handshake,
                   .epoch = fill_relay_record(around_.arena),
                   .workers = static_cast<uint8_t>(config_.topology.workers.size()),
                   .port_mtu = port_mtus(config_)},
                  around_.clock, trust_, sessions_, enrolment_, prepared_, around_.arena,
                  around_.mailboxes),
      revocations_(around_.clock, around_.qsbr, trust_, sessions_, channel_, *store_, around_.arena,
                   around_.ports),
      pace_(around_.clock),
      directory_(around_.clock, trust_, *store_, pace_),
      ceremony_(keys_, around_.clock, trust_, channel_, *store_, enrolment_, revocations_, pace_),
      policies_(around_.clock, around_.qsbr, trust_, channel_, ceremony_, enrolment_, *store_),
      approvals_(config_.calls, around_.clock, around_.arena, trust_, around_.mailboxes),
      vault_(config_.vault, around_.clock, trust_, *store_, events_, around_.post),
      slots_(around_.clock, around_.arena, around_.qsbr, trust_),
      credentials_(around_.clock, vault_, slots_, around_.post) {
  vault_.on_turn([this](bool unlocked, const std::string& actor) {
    audit_->act(unlocked ? audit::Act::kVaultUnlock : audit::Act::kVaultLock, actor);
  });
  keyring_.on_change([this] {
    to_tell_.clear();
    for (const auto& [slot, session] : sessions_.entries()) {
      if (session.confirmed) to_tell_.push_back(session.agent);
    }
  });
  ceremony_.on_rotation([this](uint32_t agent) { prepared_.forget(agent); });
  revocations_.on_answer(
      [this](const Cut& cut, const RevocationAnswer& a) { audit_->proof(cut, a); });
  channel_.serve({[this](uint32_t agent, uint64_t request, const pb::Signed& envelope) {
                    ceremony_.submit(agent, envelope, [this, agent, request](const Outcome& o) {
                      answer_submit(agent, request, o);
                    });
                  },
                  [this](uint32_t agent, uint64_t request, const pb::Lookup& lookup) {
                    directory_.lookup(agent, lookup, [this, agent, request](const pb::Found& f) {
                      pb::Control body;
                      *body.mutable_found() = f;
                      channel_.answer(agent, request, body);
                    });
                  },
                  [this](uint32_t agent, uint64_t request, const pb::Fetch& fetch) {
                    directory_.fetch(agent, fetch, [this, agent, request](const pb::Signed& s) {
                      pb::Control body;
                      *body.mutable_fetched() = s;
                      channel_.answer(agent, request, body);
                    });
                  }});
}

void Control::answer_submit(uint32_t agent, uint64_t request, const Outcome& o) {
  pb::Control body;
  pb::Outcome& out = *body.mutable_outcome();
  out.set_code(info(o.code).code);
  out.set_text(info(o.code).text);
  out.set_hint(info(o.code).hint);
  out.set_digest(o.digest.data(), o.digest.size());
  out.set_agreed(o.agreed);
  channel_.answer(agent, request, body);
}

Result<std::unique_ptr<Control>> Control::create(const Config& config, RelayKeys keys,
                                                 std::unique_ptr<Store> store,
                                                 Surroundings around) {
  std::unique_ptr<Control> control(
      new Control(config, std::move(keys), std::move(store), std::move(around)));
  const Clock& clock = control->around_.clock;
  const uint64_t began = clock.ticks();
  auto snapshot = control->store_->load();
  if (!snapshot) return tl::unexpected(snapshot.error());
  const uint64_t read = clock.ticks();
  auto audit = AuditTrail::open(
      clock, control->trust_, *control->store_, control->handshakes_.counts(),
      control->around_.post, *snapshot,
      {.folder =
           config.audit.folder.empty() ? config.relay.state_dir + "/audit" : config.audit.folder,
       .origin = config.audit.origin.empty() ? "sluice/" + crypto::to_base64url(control->keys_.id)
                                             : config.audit.origin,
       .relay_id = control->keys_.id,
       .epoch = control->epoch(),
       .workers = audit_rings(control->around_.mailboxes),
       .cores = control->around_.spare_cores,
       .retention = {config.audit.keep_for_s * 1000, config.audit.keep_bytes},
       .alert_days = config.audit.alert_days,
       .when_unavailable = config.audit.when_unavailable,
       .seen = [c = control.get()](const audit::Record& r) { c->events_.add(r); }});
  if (!audit) return tl::unexpected(audit.error());
  control->audit_ = std::move(*audit);
  // Beside the building of the tables: half a second each of a store with a million edges.
  auto sound = control->store_->check();
  if (auto r = control->keyring_.restore(*snapshot); !r) return tl::unexpected(r.error());
  control->enrolment_.restore(*snapshot);
  if (auto r = control->policies_.restore(*snapshot); !r) return tl::unexpected(r.error());
  control->trust_.restore(*snapshot);
  control->ceremony_.restore(*snapshot);
  control->vault_.restore(*snapshot);
  auto change = control->trust_.apply(without_formers(config.trust, control->trust_));
  if (!change) return tl::unexpected(change.error());
  if (!change->new_agents.empty()) {
    if (auto r = control->store_->apply_now(enrol_changes(change->new_agents)); !r)
      return tl::unexpected(r.error());
    control->trust_.mark_durable(change->new_agents);
  }
  control->trust_.activate();
  // Calls that need a credential get it, or are denied, from the first on.
  control->slots_.serve(control->credentials_);
  control->vault_.serve(&control->credentials_);
  if (auto r = sound.get(); !r) return tl::unexpected(r.error());
  control->publish(clock.ticks());
  spdlog::info(
      "{} agents and {} agreements of the store read in {:.0f} ms, in force after {:.0f} ms",
      snapshot->agents.size(), snapshot->pairs.size(), clock.us_from_ticks(read - began) / 1000,
      clock.us_from_ticks(clock.ticks() - read) / 1000);
  spdlog::info("{} agents and {} pairs in force, {} of {} agents known are revoked", change->agents,
               change->pairs, snapshot->revocations.size(), control->trust_.agents().size());
  return control;
}

void Control::on_event(const fabric::Event& e) {
  if (e.kind == fabric::Event::Kind::kWantsMove) return owners_.want(e.subject, e.worker, e.detail);
  if (e.kind == fabric::Event::Kind::kParked) return approvals_.parked(e.subject, e.detail);
  if (e.kind == fabric::Event::Kind::kCircuit) return circuit_changed(e.subject, e.detail);
  if (!sessions_.confirm(e.subject, e.detail)) return;
  const SessionEntry& s = sessions_.entries().at(e.subject);
  const AgentEntry& agent = trust_.agent(s.agent);
  wire::PathHeader path{};
  (void)around_.arena.sessions()[e.subject].read_endpoint(path);
  audit_->session({s.agent, path, s.is_rekey});
  if (agent.revoked) return;  // while it connected: there is nothing that it is to know
  if (s.is_rekey) {
    spdlog::debug("{} renewed its session", agent.name);
    return;
  }
  spdlog::info("{} ({}) connected through port {}", agent.name, to_string(agent.address),
               config_.topology.ports.at(path.port).name);
  channel_.introduce(s.agent);
  ceremony_.introduce(s.agent);
}

void Control::circuit_changed(uint32_t slot, uint32_t state) {
  if (!trust_.edges().contains(slot)) return;
  const EdgeEntry& edge = trust_.edges().at(slot);
  const auto& from = trust_.agent(edge.from).name;
  const auto& to = trust_.agent(edge.to).name;
  const std::string subject = to_string(trust_.agent(edge.from).address) + " to " +
                              to_string(trust_.agent(edge.to).address);
  switch (static_cast<fabric::CircuitState>(state)) {
    case fabric::CircuitState::kOpen:
      events_.add(EventKind::kCircuitOpen, subject);
      return spdlog::warn("calls of {} to {} are refused for {} s: too many failed", from, to,
                          config_.calls.circuit_open_s);
    case fabric::CircuitState::kHalfOpen:
      return spdlog::info("one call of {} to {} is let through to try", from, to);
    case fabric::CircuitState::kClosed:
      events_.add(EventKind::kCircuitClosed, subject);
      return spdlog::info("calls of {} to {} are let through again", from, to);
  }
}

// A second's calls at most are forgotten by a crash.
void Control::keep_quotas(uint64_t now) {
  if (keeping_quotas_ || now - quotas_kept_ < around_.clock.ticks_from_ms(kQuotaMs)) return;
  quotas_kept_ = now;
  Changes changes{"relay", around_.clock.unix_ms(), {}};
  for (const EdgeLimits::Change& c : trust_.limits().take_changes()) {
    changes.list.push_back(QuotaUseRow{trust_.agent(c.from).address.to_u64(),
                                       trust_.agent(c.to).address.to_u64(), c.use.quota.period_s,
                                       c.use.used, c.use.ends_ms});
  }
  if (changes.list.empty()) return;
  keeping_quotas_ = true;
  store_->apply(std::move(changes), [this](const Result<WriteTimes>& r) {
    keeping_quotas_ = false;
    if (r) return;
    spdlog::error("what is used of quotas could not be kept: {}", r.error().message);
    trust_.limits().keep_all_again();
  });
}

// Not at each round: workers share the line.
void Control::publish(uint64_t now) {
  if (published_ != 0 && now - published_ < around_.clock.ticks_from_ms(kPublishMs)) return;
  published_ = now;
  const Clock& clock = around_.clock;
  fabric::RelayRecord& relay = around_.arena.relay();
  const uint64_t stale_at = now + clock.ticks_from_ms(uint64_t{config_.max_staleness_s} * 1000);
  if (config_.when_stale != WhenStale::kForward) {
    relay.stale_at.store(stale_at, std::memory_order_relaxed);
  }
  const int64_t tick0 =
      static_cast<int64_t>(clock.unix_ms()) - static_cast<int64_t>(now / (clock.hz() / 1000));
  relay.unix_at_tick0_ms.store(tick0, std::memory_order_relaxed);
  // It was set, or the two clocks have drifted apart.
  if (std::abs(tick0 - clock_known_) > kClockStepMs) {
    // At the start ends were computed a moment ago.
    if (clock_known_ != 0) {
      trust_.clock_was_set();
      slots_.clock_was_set();
    }
    clock_known_ = tick0;
  }
  relay.audited.store(audit_ ? audit_->calls() : fabric::kCallsDenied, std::memory_order_relaxed);
  relay.calls_stale_at.store(stale_at, std::memory_order_relaxed);
}

// Who is no longer admitted is not active from the first step on; its sessions end with it.
bool Control::end_admissions() {
  const auto ended = trust_.end_admissions(around_.clock.unix_ms(), kEndsPerPoll);
  for (const uint32_t agent : ended) {
    sessions_.retire_agent(agent);
    events_.add(EventKind::kAdmissionOver, to_string(trust_.agent(agent).address));
    spdlog::info("the time for which {} was admitted is over: its sessions end",
                 trust_.agent(agent).name);
  }
  return !ended.empty();
}

unsigned Control::poll() {
  publish(around_.clock.ticks());
  watch_.poll(around_.clock.ticks());
  bool busy = false;
  while (const auto e = around_.mailboxes.take_event()) {
    busy = true;
    on_event(*e);
  }
  busy = handshakes_.poll() || busy;
  busy = prepared_.poll() || busy;
  busy = channel_.poll() || busy;
  sessions_.poll();
  trust_.poll();
  busy = revocations_.poll() || busy;
  busy = directory_.poll() || busy;
  busy = end_admissions() || busy;
  ceremony_.poll();
  busy = keyring_.poll() || busy;
  for (unsigned i = 0; i < kTellsPerPoll && !to_tell_.empty(); ++i) {
    channel_.tell_relay_key(to_tell_.back());
    to_tell_.pop_back();
    busy = true;
  }
  busy = policies_.poll() || busy;
  busy = approvals_.poll() || busy;
  busy = vault_.poll() || busy;
  credentials_.poll();
  busy = slots_.poll() || busy;
  keep_quotas(around_.clock.ticks());
  busy = audit_->poll() || busy;
  busy = events_.poll() || busy;
  if (handshakes_.backlog()) return 0;
  const uint64_t now = around_.clock.ticks();
  if (busy) {
    last_busy_ = now;
    return kBusyUs;
  }
  return now - last_busy_ < around_.clock.ticks_from_ms(kQuietAfterMs) ? kIdleUs : kQuietUs;
}

void Control::enforce(const TrustChange& change) {
  for (const uint32_t agent : change.removed) {
    sessions_.retire_agent(agent);
    spdlog::info("{} is no longer configured: its sessions end", trust_.agent(agent).name);
  }
  for (const uint32_t agent : change.touched) channel_.sync_edges(agent);
}

void Control::reconcile(const Snapshot& snapshot) {
  audit_->look_again();
  const auto rotated = trust_.catch_up(snapshot);
  for (const uint32_t agent : rotated) prepared_.forget(agent);
  if (!rotated.empty()) ceremony_.reconcile(snapshot);
  for (const uint32_t agent : trust_.reconcile(snapshot)) {
    sessions_.retire_agent(agent);
    for (const uint32_t peer : trust_.close_edges(trust_.agent(agent))) channel_.sync_edges(peer);
  }
  policies_.reconcile(snapshot);
  keyring_.reconcile(snapshot);
  vault_.reconcile(snapshot);
  // What the disk does not hold as standing does not stand.
  for (const PairKey& pair : trust_.end_agreements_but(snapshot)) {
    channel_.sync_edges(pair.first);
    channel_.sync_edges(pair.second);
  }
}

Result<TrustChange> Control::reload(const TrustConfig& trust) {
  auto change = trust_.apply(trust);
  if (!change) return change;
  enforce(*change);
  audit_->act(audit::Act::kReload, "config");
  if (change->waiting != 0) {
    spdlog::warn(
        "{} pairs wait for edge slots that rest for 180 s, and open then; limits.edges is short",
        change->waiting);
  }
  trust_.activate();
  if (!change->new_agents.empty()) {
    store_->apply(enrol_changes(change->new_agents), [this, rows = change->new_agents](
                                                         Result<WriteTimes> r) {
      if (r) {
        trust_.mark_durable(rows);
        trust_.activate();
      } else {
        spdlog::error("new agents stay locked out until the next reload: {}", r.error().message);
      }
    });
  }
  return change;
}

}  // namespace sluice::control
