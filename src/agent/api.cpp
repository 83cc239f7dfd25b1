#include "agent/api.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/request.h"
#include "agent/tun/net.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxWaitMs = 60'000;
constexpr size_t kMaxMessages = 4'096;  // of one answer
constexpr size_t kMaxBatch = 65'536;    // of one request
constexpr uint64_t kMaxPings = 10'000'000;

}  // namespace

Api::Api(const AgentIdentity& identity, const Pins& pins, Agent& agent, IdentityChange& change,
         std::function<bool()> room, std::function<DaemonView()> view)
    : identity_(identity),
      pins_(pins),
      agent_(agent),
      change_(change),
      view_(std::move(view)),
      sends_(agent, room),
      receives_(inbox_),
      pings_(agent, room),
      trust_(agent),
      calls_(agent) {}

void Api::handle(const http::Request& request, http::Respond respond, Instant at) {
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";
  if (request.path == "/v1/info" && get) return respond(info(at));
  if (request.path == "/v1/peers" && get) return respond(peers(at));
  if (request.path == "/v1/messages" && post) return send_messages(request, std::move(respond), at);
  if (request.path == "/v1/messages" && get)
    return receive_messages(request, std::move(respond), at);
  if (request.path == "/v1/ping" && post) return ping(request, std::move(respond), at);
  if (request.path == "/v1/identity/rotate" && post) return rotate_identity(std::move(respond), at);
  if (calls_.handles(request)) return calls_.handle(request, std::move(respond), at);
  if (trust_.handles(request)) return trust_.handle(request, std::move(respond), at.now);
  respond(http::error_response(
      {ErrorCode::kUsage, fmt::format("there is no {} {}", request.method, request.path)}));
}

void Api::on_message(const PeerEdge& from, Bytes data) {
  inbox_.add({from.identity, from.name, to_buffer(data)});
}

void Api::on_pong(const crypto::PublicKey& from, uint64_t id, uint64_t now_us) {
  pings_.on_pong(from, id, now_us);
}

void Api::pump(Instant at) {
  sends_.pump(at);
  receives_.pump(at);
  pings_.pump(at);
  calls_.pump(at);
}

uint64_t Api::wake_us() const {
  return std::min({sends_.wake_us(), receives_.wake_us(), pings_.wake_us(), calls_.wake_us()});
}

void Api::send_messages(const http::Request& request, http::Respond respond, Instant at) {
  const auto refuse = [&](const Error& e) { respond(http::error_response(e)); };
  const auto body = parse_body(request);
  if (!body) return refuse(body.error());
  const auto name = string_field(*body, "peer");
  if (!name) return refuse(name.error());
  const auto list = body->find("messages");
  if (list == body->end() || !list->is_array() || list->size() > kMaxBatch) {
    return refuse({ErrorCode::kUsage,
                   fmt::format("\"messages\" is not a list of up to {} base64 texts", kMaxBatch)});
  }
  const auto peer = agent_.find(*name, at.now);
  if (!peer) return refuse(peer.error());
  std::vector<Buffer> messages;
  messages.reserve(list->size());
  for (const json& item : *list) {
    auto bytes =
        item.is_string() ? crypto::from_base64(item.get_ref<const std::string&>()) : std::nullopt;
    if (!bytes) {
      return refuse({ErrorCode::kUsage,
                     fmt::format("message {} of the list is not base64", messages.size() + 1)});
    }
    // Before any of them leaves: a batch is not half sent for what could be seen beforehand.
    if (agent_.max_message() > 0 && bytes->size() > agent_.max_message()) {
      return refuse(
          {ErrorCode::kTooLarge,
           fmt::format("message {} of the list has {} bytes; {} is the largest that fits in "
                       "one packet on the path to the relay",
                       messages.size() + 1, bytes->size(), agent_.max_message())});
    }
    messages.push_back(std::move(*bytes));
  }
  sends_.add(*peer, std::move(messages), std::move(respond), at);
}

void Api::receive_messages(const http::Request& request, http::Respond respond, Instant at) {
  const auto refuse = [&](const Error& e) { respond(http::error_response(e)); };
  const auto most = query_number(request, "max", 1, kMaxMessages, 256);
  if (!most) return refuse(most.error());
  const auto wait_ms = query_number(request, "wait_ms", 0, kMaxWaitMs, 0);
  if (!wait_ms) return refuse(wait_ms.error());
  std::optional<crypto::PublicKey> from;
  if (const auto it = request.query.find("peer"); it != request.query.end()) {
    const auto peer = agent_.find(it->second, at.now);
    if (!peer) return refuse(peer.error());
    from = *peer;
  }
  receives_.add(*most, from, at.us + *wait_ms * 1000, request.peer.pid, std::move(respond));
}

void Api::ping(const http::Request& request, http::Respond respond, Instant at) {
  const auto refuse = [&](const Error& e) { respond(http::error_response(e)); };
  const auto body = parse_body(request);
  if (!body) return refuse(body.error());
  const auto name = string_field(*body, "peer");
  if (!name) return refuse(name.error());
  PingOptions options;
  const struct {
    const char* name;
    uint64_t least, most;
    uint64_t& value;
  } fields[] = {{"count", 1, kMaxPings, options.count},
                {"interval_us", 0, 3'600'000'000, options.interval_us},
                {"window", 1, 65'536, options.window},
                {"size", kPingIdSize, 65'535, options.size},
                {"timeout_ms", 1, 60'000, options.timeout_ms}};
  for (const auto& f : fields) {
    const auto value = number_field(*body, f.name, f.least, f.most, f.value);
    if (!value) return refuse(value.error());
    f.value = *value;
  }
  const auto peer = agent_.find(*name, at.now);
  if (!peer) return refuse(peer.error());
  pings_.add(*peer, options, std::move(respond), at);
}

void Api::rotate_identity(http::Respond respond, Instant at) {
  if (!agent_.tunnel().up(at.now)) {
    return respond(http::error_response(
        {ErrorCode::kUnreachable, "there is no session with the relay; see: sluice-agent info"}));
  }
  change_.begin(at.now, [this, former = identity_.did(), respond](const Result<void>& r) {
    if (!r) return respond(http::error_response(r.error()));
    respond(json_response({{"did", identity_.did()}, {"former_did", former}}));
  });
}

// --- What is -----------------------------------------------------------------------------------

http::Response Api::peers(Instant at) const {
  json list = json::array();
  const TunNet net(identity_.join.relay_id);
  for (const PeerEdge* e : agent_.edges()) {
    json row = {{"did", crypto::to_did(e->identity)},
                {"name", e->name},
                {"address", to_string(e->address)},
                {"ipv6", to_text(net.address(e->address))},
                {"right", to_string(e->right)},
                {"seal", to_string(e->seal)},
                {"state", e->usable() ? "ok" : "refused"},
                {"source", e->request ? "agreement" : "operator"},
                {"verified", agent_.trust().is_verified(*e)},
                {"expires_ms", e->expires_ms == 0 ? json(nullptr) : json(e->expires_ms)}};
    if (!e->usable()) row["reason"] = e->refused;
    if (const PeerSession* s = agent_.session(e->identity)) {
      const PeerCounters& c = s->counters();
      row["session"] = {
          {"ready", s->ready(at.now)},
          {"sent", c.sent},
          {"received", c.received},
          {"handshakes", c.handshakes},
          {"failures", c.failures},
          {"dropped", c.dropped_replay + c.dropped_bad_tag + c.dropped_unknown_key +
                          c.dropped_handshake + c.dropped_malformed + c.dropped_queue}};
      if (!s->last_error().empty()) row["session"]["last_error"] = s->last_error();
    }
    list.push_back(std::move(row));
  }
  return json_response({{"synced", agent_.control().synced()}, {"peers", std::move(list)}});
}

http::Response Api::info(Instant at) const {
  const Tunnel& t = agent_.tunnel();
  const TunnelCounters& c = t.counters();
  const DaemonView v = view_();
  json out = {{"did", identity_.did()},
              {"name", identity_.name},
              {"tenant", identity_.tenant},
              {"version", SLUICE_VERSION},
              {"started_ms", v.started_unix_ms},
              {"relay",
               {{"name", identity_.relay_name()},
                {"key", crypto::to_base64(agent_.relay_key())},
                {"id", crypto::to_base64(identity_.join.relay_id)},
                {"address", v.relay_address},
                {"own_address", v.own_address}}},
              {"session", {{"up", t.up(at.now)}, {"clock_offset_ms", t.clock_offset_ms()}}},
              {"path", {{"offload", v.offload}}},
              {"address", nullptr},
              {"key_log", nullptr},
              {"last_error", nullptr}};
  if (!v.key_log.empty()) out["key_log"] = v.key_log;
  out["tun"] = v.tun;
  if (t.welcome()) {
    const auto& w = *t.welcome();
    out["address"] = to_string(VirtualAddress::from_u64(w.address));
    auto& s = out["session"];
    s["age_ms"] = t.session_age_ms(at.now);
    s["relay_epoch"] = fmt::format("{:016x}", w.relay_epoch);
    s["mtu"] = unsigned{w.mtu};
    s["max_message"] = agent_.max_message();
    s["trust_life_s"] = w.trust_life_s;
    if (t.relay_rtt_ms()) s["relay_rtt_ms"] = *t.relay_rtt_ms();
  }
  size_t usable = 0, total = 0;
  for (const PeerEdge* e : agent_.edges()) ++total, usable += e->usable() ? 1 : 0;
  out["peers"] = {
      {"synced", agent_.control().synced()}, {"usable", usable}, {"refused", total - usable}};
  if (pins_.operator_key) out["operator"] = crypto::to_did(*pins_.operator_key);
  out["revocations"] = json::array();
  for (const Revocation& r : agent_.revocations()) {
    out["revocations"].push_back({{"did", crypto::to_did(r.identity)},
                                  {"reason", r.reason},
                                  {"issued_ms", r.issued_ms},
                                  {"received_ms", r.received_ms}});
  }
  const AgentCounters& a = agent_.counters();
  const CallCounters& k = agent_.calls().counters();
  out["calls"] = {{"opened", k.opened},
                  {"served", k.served},
                  {"denied", k.denied},
                  {"dropped_open", k.dropped_open},
                  {"without_credential", k.without_credential},
                  {"dropped_accept", k.dropped_accept},
                  {"dropped_frame", k.dropped_frame}};
  out["counters"] = {{"messages_sent", a.messages_sent},
                     {"messages_received", a.messages_received},
                     {"inbox_waiting", inbox_.size()},
                     {"inbox_dropped", inbox_.dropped()},
                     {"dropped_label", a.dropped_label},
                     {"dropped_ip", a.dropped_ip},
                     {"dropped_offline", a.dropped_offline},
                     {"hellos", c.hellos},
                     {"retries", c.retries},
                     {"welcomes", c.welcomes},
                     {"rekeys", c.rekeys},
                     {"reconnects", c.reconnects},
                     {"bad_times", c.bad_times},
                     {"pings", c.pings},
                     {"challenges_answered", c.challenges_answered},
                     {"packets_sent", c.sent},
                     {"packets_received", c.received},
                     {"dropped_malformed", c.dropped_malformed},
                     {"dropped_replay", c.dropped_replay},
                     {"dropped_bad_tag", c.dropped_bad_tag},
                     {"dropped_session", c.dropped_session},
                     {"dropped_handshake", c.dropped_handshake},
                     {"dropped_frame", c.dropped_frame},
                     {"udp_sent", v.udp_sent},
                     {"udp_received", v.udp_received},
                     {"udp_dropped", v.udp_dropped},
                     {"udp_errors", v.udp_errors}};
  if (!v.last_error.message.empty()) {
    out["last_error"] = {{"message", v.last_error.message}, {"unix_ms", v.last_error.unix_ms}};
  }
  return json_response(out);
}

}  // namespace sluice::agent
