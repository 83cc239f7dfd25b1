#include "control/admin_api.h"

#include <arpa/inet.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "base/log.h"
#include "control/openapi_document.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

std::string endpoint_text(const wire::PathHeader& path) {
  char text[INET6_ADDRSTRLEN] = {};
  const auto ip = path.remote_ip();
  if (path.v6()) {
    inet_ntop(AF_INET6, ip.data(), text, sizeof text);
    return fmt::format("[{}]:{}", text, path.remote_port());
  }
  inet_ntop(AF_INET, ip.data() + 12, text, sizeof text);
  return fmt::format("{}:{}", text, path.remote_port());
}

bool closed_by_window(const fabric::Edge& edge, uint64_t now) {
  return now >= edge.window_until.load(std::memory_order_relaxed);
}

json port_json(const fabric::PortStatus& p) {
  return {{"name", p.name},
          {"device", p.device},
          {"driver", p.driver},
          {"mac", p.mac},
          {"mtu", p.mtu},
          {"rx_queues", p.rx_queues},
          {"tx_queues", p.tx_queues},
          {"numa_node", p.socket},
          {"link_up", p.link_up},
          {"link_mbps", p.link_mbps},
          {"rx_missed", p.rx_missed},
          {"rx_no_buffer", p.rx_no_buffer},
          {"tx_errors", p.tx_errors},
          {"worst_drain_us", p.worst_drain_us}};
}

}  // namespace

http::Response AdminApi::status() {
  const auto& around = control_.around();
  const auto& topology = control_.config().topology;
  const Clock& clock = around.clock;
  json workers = json::array();
  for (unsigned w = 0; w < topology.workers.size(); ++w) {
    const auto& c = around.arena.counters(w);
    json queues = json::array();
    for (const auto& q : topology.workers[w].queues) {
      queues.push_back(fmt::format("{}/{}", topology.ports[q.port].name, q.queue));
    }
    workers.push_back({{"worker", w},
                       {"core", topology.workers[w].core},
                       {"queues", queues},
                       {"polls", c.polls.get()},
                       {"busy_polls", c.busy_polls.get()},
                       {"busy_us", clock.us_from_ticks(c.busy_ticks.get())},
                       {"longest_poll_us", clock.us_from_ticks(c.longest_poll_ticks.get())}});
  }
  json ports = json::array();
  for (const auto& p : around.ports()) ports.push_back(port_json(p));
  size_t confirmed = 0, active = 0, revoked = 0;
  for (const auto& [slot, s] : control_.sessions().entries()) confirmed += s.confirmed ? 1 : 0;
  for (const auto& a : control_.trust().agents()) {
    active += a.standing() && !a.revoked ? 1 : 0;
    revoked += a.revoked ? 1 : 0;
  }
  const auto& header = around.arena.header();
  return ok({{"version", SLUICE_VERSION},
             {"uptime_s", clock.us_from_ticks(clock.ticks() - control_.started()) / 1e6},
             {"epoch", fmt::format("{:016x}", control_.epoch())},
             {"relay_key", crypto::to_base64url(control_.keys().tunnel.public_key)},
             {"relay_id", crypto::to_base64url(control_.keys().id)},
             {"udp_port", control_.config().relay.udp_port},
             {"eal_mode", name_of(topology.mode)},
             {"aead",
              {{"library", std::string("IPsec-MB ") + header.ipsec_mb_version},
               {"path", header.ipsec_mb_path}}},
             {"workers", workers},
             {"ports", ports},
             {"sessions",
              {{"confirmed", confirmed},
               {"unconfirmed", control_.sessions().entries().size() - confirmed},
               {"free", control_.sessions().free_slots()}}},
             {"agents", {{"active", active}, {"revoked", revoked}}},
             {"edges", control_.trust().edges().size()},
             {"public_key_batches",
              {{"path", crypto::name_of(crypto::batch_engine())},
               {"prepared_keys", control_.prepared_keys().counts().ready},
               {"prepared_keys_room", control_.prepared_keys().counts().room},
               {"prepared", control_.prepared_keys().counts().prepared},
               {"evicted", control_.prepared_keys().counts().evicted}}},
             {"under_load", control_.handshakes().under_load()},
             {"x25519_operations", crypto::x25519_operations()},
             {"store_commits", control_.store().commits()}});
}

http::Response AdminApi::agents(const Caller& caller) {
  json out = json::array();
  const auto& arena = control_.around().arena;
  for (const auto& a : control_.trust().agents()) {
    if ((!a.standing() && !a.revoked && !a.over) || !caller.sees(a.address.tenant)) continue;
    json j = {{"name", a.name},
              {"did", crypto::to_did(a.identity)},
              {"address", to_string(a.address)},
              {"tenant", a.address.tenant},
              {"state", a.revoked      ? "revoked"
                        : a.standing() ? "active"
                                       : "expired"},
              {"source", a.configured ? "config" : name_of(a.source)},
              {"visibility", a.visibility == Visibility::kPublic ? "public" : "private"},
              {"edges", control_.trust().edges_of(a.index).size()},
              {"packets", arena.agents()[a.index].packets.get()},
              {"bytes", arena.agents()[a.index].bytes.get()},
              {"session", nullptr}};
    if (a.ends_ms() != 0) j["expires_at_ms"] = a.ends_ms();
    if (!a.formers.empty()) {
      j["former_dids"] = json::array();
      for (const auto& f : a.formers) j["former_dids"].push_back(crypto::to_did(f.identity));
    }
    if (a.revoked) {
      j["revoked_reason"] = a.revoked_reason;
      j["revoked_at_ms"] = a.revoked_ms;
    }
    const uint32_t slot = arena.agents()[a.index].session.load(std::memory_order_relaxed);
    const auto s = control_.sessions().entries().find(slot);
    if (s != control_.sessions().entries().end()) {
      wire::PathHeader path{};
      (void)arena.sessions()[slot].read_endpoint(path);
      j["session"] = {{"index", slot},
                      {"endpoint", endpoint_text(path)},
                      {"port", control_.config().topology.ports.at(path.port).name},
                      {"worker", arena.agents()[a.index].owner.load(std::memory_order_relaxed)},
                      {"began_at_ms", s->second.began_ms}};
    }
    out.push_back(std::move(j));
  }
  return ok({{"agents", out}});
}

// What holds the calls of an edge, as far as anything does; and its circuit.
json AdminApi::calls_json(const EdgeEntry& e) const {
  const EdgeLimits& limits = control_.trust().limits();
  const CallTerms& terms = limits.terms().at(e.terms.calls);
  json quotas = json::array();
  for (const QuotaUse& q : limits.used(e)) {
    quotas.push_back({{"calls", q.quota.calls},
                      {"period_s", q.quota.period_s},
                      {"used", q.used},
                      {"ends_ms", q.ends_ms == 0 ? json() : json(q.ends_ms)}});
  }
  json windows = json::array();
  for (const WindowSet& set : terms.windows) {
    json names = json::array();
    for (const TimeWindow& w : set) names.push_back(to_string(w));
    windows.push_back(std::move(names));
  }
  constexpr const char* kCircuits[] = {"closed", "open", "half_open"};
  const auto circuit = control_.around().arena.edges()[e.slot].circuit.state.load();
  json approval = {{"capabilities", wire::capability_names(terms.approve_capabilities)},
                   {"scopes", terms.approve_scopes}};
  return {{"per_s", e.terms.rate.calls_per_s},
          {"at_once", terms.at_once},
          {"quotas", std::move(quotas)},
          {"approval", std::move(approval)},
          {"windows", std::move(windows)},
          {"circuit", circuit < std::size(kCircuits) ? kCircuits[circuit] : "closed"}};
}

http::Response AdminApi::edges(const Caller& caller) {
  json out = json::array();
  for (const EdgeEntry& e : control_.trust().edges()) {
    const auto& record = control_.around().arena.edges()[e.slot];
    const AgentEntry& from = control_.trust().agent(e.from);
    const AgentEntry& to = control_.trust().agent(e.to);
    if (!caller.sees(from.address.tenant) && !caller.sees(to.address.tenant)) continue;
    json calls = calls_json(e);
    out.push_back({{"from", from.name},
                   {"from_did", crypto::to_did(from.identity)},
                   {"to", to.name},
                   {"to_did", crypto::to_did(to.identity)},
                   {"right", name_of(e.terms.right)},
                   {"seal", name_of(e.terms.seal)},
                   {"source", e.agreement == 0 ? "config" : "agreement"},
                   {"packets", record.packets.get()},
                   {"bytes", record.bytes.get()},
                   {"open", !closed_by_window(record, control_.around().clock.ticks())},
                   {"calls", std::move(calls)}});
  }
  return ok({{"edges", out}});
}

http::Response AdminApi::counters() {
  const auto& arena = control_.around().arena;
  json workers = json::array(), totals = json::object(), drops = json::array();
  uint64_t drop_sum = 0;
  for (const auto& c : fabric::kWorkerCounterTable) totals[c.name] = 0;
  for (unsigned w = 0; w < arena.sizes().workers; ++w) {
    json one = json::object();
    for (const auto& c : fabric::kWorkerCounterTable) {
      const uint64_t v = (arena.counters(w).*c.member).get();
      one[c.name] = v;
      totals[c.name] = std::string_view(c.name) == "longest_poll_ticks"
                           ? std::max(totals[c.name].get<uint64_t>(), v)
                           : totals[c.name].get<uint64_t>() + v;
    }
    workers.push_back(std::move(one));
  }
  for (size_t r = 1; r < fabric::kDropReasons; ++r) {
    uint64_t n = 0;
    for (unsigned w = 0; w < arena.sizes().workers; ++w) n += arena.counters(w).drops[r].get();
    drop_sum += n;
    drops.push_back({{"reason", fabric::kDropTable[r].name},
                     {"count", n},
                     {"severity", name(fabric::kDropTable[r].severity)},
                     {"text", fabric::kDropTable[r].text}});
  }
  totals["drops"] = drop_sum;
  json calls = json::object();
  for (size_t r = 0; r < wire::kCallReasons; ++r) {
    uint64_t n = 0;
    for (unsigned w = 0; w < arena.sizes().workers; ++w) n += arena.counters(w).calls[r].get();
    calls[wire::kCallReasonTable[r].name] = n;
  }
  json handshakes = json::object();
  for (size_t i = 0; i < size_t(HandshakeOutcome::kCount); ++i) {
    handshakes[kOutcomeTable[i].name] = control_.handshakes().counts()[i];
  }
  const auto& ch = control_.channel().counts();
  return ok({{"totals", totals},
             {"workers", workers},
             {"drops", drops},
             {"calls", calls},
             {"handshakes", handshakes},
             {"control_messages",
              {{"sent", ch.sent},
               {"repeated", ch.repeated},
               {"acknowledged", ch.acknowledged},
               {"given_up", ch.given_up},
               {"received", ch.received},
               {"malformed", ch.malformed}}},
             {"x25519_operations", crypto::x25519_operations()}});
}

AdminApi::AdminApi(Control& control)
    : control_(control),
      callers_(control.config().admin, control.enrolment()),
      enrolment_(control),
      trust_(control),
      policy_(control),
      store_(control),
      relay_(control),
      audit_(control),
      calls_(control),
      metrics_(control),
      latency_(control),
      trace_(control),
      events_(control),
      vault_(control),
      credentials_(control) {
  const auto read = [this](const char* path, auto&& answer) {
    routes_.push_back({"GET", path, Role::kAuditor, false,
                       [answer](const AdminCall& c, http::Respond r) { r(answer(c.caller)); }});
  };
  read("/v1/status", [this](const Caller&) { return status(); });
  read("/v1/counters", [this](const Caller&) { return counters(); });
  read("/v1/agents", [this](const Caller& c) { return agents(c); });
  read("/v1/edges", [this](const Caller& c) { return edges(c); });
  read("/v1/openapi.json", [](const Caller&) {
    return http::Response{200, "application/json", kOpenApi};
  });
  enrolment_.add_routes(routes_);
  trust_.add_routes(routes_);
  policy_.add_routes(routes_);
  store_.add_routes(routes_);
  relay_.add_routes(routes_);
  audit_.add_routes(routes_);
  calls_.add_routes(routes_);
  metrics_.add_routes(routes_);
  latency_.add_routes(routes_);
  trace_.add_routes(routes_);
  events_.add_routes(routes_);
  vault_.add_routes(routes_);
  credentials_.add_routes(routes_);
}

void AdminApi::handle(http::Request request, http::Respond respond) {
  // Who may not be here does not learn what is.
  const auto caller = callers_.identify(request.peer);
  if (!caller) return respond(http::error_response(caller.error()));
  const auto route = std::find_if(routes_.begin(), routes_.end(), [&](const AdminRoute& r) {
    return request.method == r.method && request.path == r.path;
  });
  if (route == routes_.end()) {
    return respond(refused(ErrorCode::kNotFound, fmt::format("no {} {} here: see docs/admin-api.md",
                                                             request.method, request.path)));
  }
  if (caller->role < route->least || (route->global && caller->tenant)) {
    return respond(
        refused(ErrorCode::kPermission,
                fmt::format("{} {} is for the role {}{}; {} is {}{}", request.method, request.path,
                            name_of(route->least), route->global ? " over all tenants" : "",
                            caller->name, name_of(caller->role),
                            caller->tenant ? fmt::format(" of tenant {}", *caller->tenant) : "")));
  }
  // A page in the browser of somebody with a certificate could send anything else unasked.
  const bool secret = request.content_type == http::kSecretType;
  if (request.method == "POST" && !request.peer.certificate.empty() && !secret &&
      request.content_type != "application/json") {
    return respond(
        refused(ErrorCode::kUsage, "over TLS a POST needs Content-Type: application/json"));
  }
  std::shared_ptr<crypto::SecretBuffer> held;
  if (secret && request.method == "POST") {
    // From here on it is nowhere else.
    held = std::make_shared<crypto::SecretBuffer>(Bytes(request.secret));
    request.secret = {};
  }
  const json body = request.method != "POST" ? json::object()
                    : !secret                ? json::parse(request.body, nullptr, false)
                    : request.query.contains("about")
                        ? json::parse(request.query.at("about"), nullptr, false)
                        : json::object();
  if (!body.is_object()) {
    return respond(
        refused(ErrorCode::kUsage, "the body must be a JSON object: see docs/admin-api.md"));
  }
  route->handle({request, body, *caller, std::move(held)}, std::move(respond));
}

}  // namespace sluice::control
