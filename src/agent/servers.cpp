#include "agent/servers.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/request.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr uint64_t kLookEveryUs = 1'000'000;
constexpr size_t kAnswerBytes = 4u << 20;  // more work than that waits for the next question

}  // namespace

Servers::Server* Servers::find(const std::string& id) {
  const auto it =
      std::find_if(servers_.begin(), servers_.end(), [&](const Server& s) { return s.id == id; });
  return it == servers_.end() ? nullptr : &*it;
}

AcceptStatus Servers::admit(const PeerEdge& from, const wire::Envelope& envelope) {
  Server* best = nullptr;
  bool any = false;
  uint64_t places = 0;
  for (Server& s : servers_) {
    if (s.slots == 0 || is_gone(s.pid)) continue;
    any = true;
    places += s.slots;
    const bool freer = best == nullptr || s.slots - s.busy > best->slots - best->busy;
    if (s.busy < s.slots && freer) best = &s;
  }
  if (!any) return AcceptStatus::kNotServed;
  const auto its = std::count_if(places_.begin(), places_.end(), [&](const auto& p) {
    if (p.first.first != from.identity) return false;
    const Server* s = find(p.second.server);
    return s != nullptr && s->slots > 0;
  });
  if (best == nullptr || uint64_t(its) >= most_of_one(places)) return AcceptStatus::kBusy;
  ++best->busy;
  places_[{from.identity, envelope.counter}] = {best->id, fmt::format("{:016x}", next_token_++)};
  return AcceptStatus::kAccepted;
}

void Servers::on_request(Call& call) {
  const auto place = places_.find({call.peer(), call.id()});
  if (place == places_.end()) return;
  if (Server* s = find(place->second.server)) {
    s->ready.push_back({place->second.token, call.peer(), call.envelope(), call.take_result()});
  }
}

void Servers::on_cancelled(const Call& call) {
  const auto place = places_.find({call.peer(), call.id()});
  if (place == places_.end()) return;
  const auto [server, token] = place->second;
  places_.erase(place);
  Server* s = find(server);
  if (s == nullptr) return;
  --s->busy;
  const size_t waited =
      std::erase_if(s->ready, [mine = token](const Work& w) { return w.token == mine; });
  if (waited == 0) s->cancelled.push_back(token);
}

void Servers::ask(const std::string& id, uint64_t slots, uint64_t until_us, pid_t pid,
                  http::Respond respond, Instant at) {
  Server* s = find(id);
  if (s == nullptr) {
    if (servers_.size() >= kMost) {
      return respond(http::error_response(
          {ErrorCode::kResource, fmt::format("{} programs serve calls already", kMost)}));
    }
    s = &servers_.emplace_back();
    s->id = id;
  }
  s->pid = pid;
  s->slots = slots;
  s->seen_us = at.us;
  // Only the last question is answered with work.
  if (s->wait) s->wait->respond(nothing_for(*s));
  s->wait = Wait{until_us, std::move(respond)};
  hand_over(*s, at);
}

http::Response Servers::nothing_for(const Server& s) {
  return json_response({{"calls", json::array()}, {"cancelled", json::array()}, {"busy", s.busy}});
}

Result<void> Servers::leave(const std::string& id, Instant at) {
  Server* s = find(id);
  if (s == nullptr) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no server {}", id));
  }
  agent_.touch(at.now);
  if (s->wait) {
    s->wait->respond(nothing_for(*s));
  }
  drop(id);
  return {};
}

void Servers::hand_over(Server& s, Instant at) {
  if (!s.wait || (s.ready.empty() && s.cancelled.empty() && at.us < s.wait->until_us)) return;
  json calls = json::array();
  size_t bytes = 0;
  for (; !s.ready.empty() && bytes < kAnswerBytes; s.ready.pop_front()) {
    const Work& w = s.ready.front();
    const wire::Envelope& e = w.envelope;
    const PeerEdge* edge = agent_.edge(w.peer);
    json scopes = json::array();
    for (size_t i = 0; i < e.scope_count; ++i) {
      const uint64_t scope = e.scopes[i];
      scopes.push_back(crypto::to_hex(bytes_of(scope)));
    }
    bytes += w.data.size();
    calls.push_back({{"call", w.token},
                     {"from", crypto::to_did(w.peer)},
                     {"name", edge == nullptr ? "" : edge->name},
                     {"address", to_string(VirtualAddress::from_u64(e.issuer))},
                     {"verified", edge != nullptr && agent_.trust().is_verified(*edge)},
                     {"trace", crypto::to_hex(bytes_of(e.trace))},
                     {"idempotency_key", crypto::to_hex(bytes_of(e.idempotency))},
                     {"capability", wire::name_of(wire::kCapabilityNames, e.capability)},
                     {"protocol", wire::name_of(wire::kProtocolNames, e.protocol)},
                     {"service", unsigned{e.service}},
                     {"scopes", std::move(scopes)},
                     {"data", crypto::to_base64(w.data)}});
  }
  const http::Respond respond = std::move(s.wait->respond);
  s.wait.reset();
  s.seen_us = at.us;
  respond(json_response({{"calls", std::move(calls)},
                         {"cancelled", std::exchange(s.cancelled, {})},
                         {"busy", s.busy}}));
}

Result<void> Servers::answer(const std::string& server, const std::string& token, uint16_t status,
                             Buffer response) {
  const auto place = std::find_if(places_.begin(), places_.end(), [&](const auto& p) {
    return p.second.token == token && p.second.server == server;
  });
  if (place == places_.end()) {
    return fail(ErrorCode::kNotFound, "the call is over, or not this server's");
  }
  const auto [peer, id] = place->first;
  places_.erase(place);
  if (Server* s = find(server)) --s->busy;
  Call* call = agent_.peer_call(peer, id);
  if (call == nullptr || !call->answer(status, std::move(response))) {
    return fail(ErrorCode::kNotFound, "the call is over");
  }
  return {};
}

// Its calls are answered in its place, so that no caller waits for it.
void Servers::drop(const std::string& id) {
  std::vector<CallKey> left;
  for (const auto& [key, place] : places_) {
    if (place.server == id) left.push_back(key);
  }
  for (const CallKey& key : left) {
    places_.erase(key);
    Call* call = agent_.peer_call(key.first, key.second);
    if (call == nullptr) continue;
    const auto status = uint16_t(CallStatus::kServerGone);
    if (!call->answer(status, {})) call->end(CallEnd::kFailed, status);
  }
  servers_.remove_if([&](const Server& s) { return s.id == id; });
}

void Servers::pump(Instant at) {
  for (Server& s : servers_) hand_over(s, at);
  if (servers_.empty() || at.us < looked_us_ + kLookEveryUs) return;
  looked_us_ = at.us;
  std::vector<std::string> gone;
  for (const Server& s : servers_) {
    if (is_gone(s.pid) || (!s.wait && at.us >= s.seen_us + kLeaseUs)) gone.push_back(s.id);
  }
  for (const std::string& id : gone) drop(id);
}

uint64_t Servers::wake_us() const {
  if (servers_.empty()) return kNever;
  uint64_t at = looked_us_ + kLookEveryUs;
  for (const Server& s : servers_) {
    if (s.wait) at = std::min(at, s.wait->until_us);
  }
  return at;
}

}  // namespace sluice::agent
