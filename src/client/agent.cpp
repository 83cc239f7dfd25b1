// Everything of an Agent that is one question and its answer; calls stand in call.cpp.
#include "sluice/agent.h"

#include <algorithm>

#include <fmt/format.h>

#include "client/agent_impl.h"
#include "http/url.h"

namespace sluice::client {

using nlohmann::json;

namespace {

// Signing, the relay's commit, and the way there and back.
constexpr Milliseconds kTrustAnswer{60'000};
// The daemon's bounds of one question.
constexpr Milliseconds kLongestWait{60'000};
constexpr size_t kMostMessages = 4'096;
// A handshake with the peer goes before the first message.
constexpr Milliseconds kSendAnswer{60'000};

}  // namespace

Agent::Agent(std::string state) : impl_(std::make_unique<Impl>(state)) {}
Agent::~Agent() = default;

Info Agent::info() {
  const json a = impl_->transport.get("/v1/info");
  Info out;
  out.did = text_of(a, "did");
  out.name = text_of(a, "name");
  out.address = text_of(a, "address");
  out.version = text_of(a, "version");
  out.tenant = static_cast<unsigned>(number_of(a, "tenant"));
  if (const auto relay = a.find("relay"); relay != a.end()) out.relay = text_of(*relay, "name");
  if (const auto session = a.find("session"); session != a.end()) {
    out.connected = flag_of(*session, "up");
    out.max_message = number_of(*session, "max_message");
  }
  return out;
}

std::vector<Peer> Agent::peers() {
  std::vector<Peer> out;
  const json answer = impl_->transport.get("/v1/peers");
  for (const json& row : rows_of(answer, "peers")) {
    Peer p;
    p.did = text_of(row, "did");
    p.name = text_of(row, "name");
    p.address = text_of(row, "address");
    p.right = text_of(row, "right");
    p.state = text_of(row, "state");
    p.reason = text_of(row, "reason");
    p.verified = flag_of(row, "verified");
    if (const uint64_t ms = number_of(row, "expires_ms"); ms != 0) {
      p.expires = std::chrono::system_clock::time_point(Milliseconds(ms));
    }
    out.push_back(std::move(p));
  }
  return out;
}

void Agent::send(std::string_view peer, const std::vector<std::string>& messages) {
  size_t bytes = 0;
  json list = json::array();
  for (const std::string& m : messages) {
    bytes += m.size();
    list.push_back(to_base64(m));
  }
  if (bytes > kMostBytes) {
    throw Error("too_large", fmt::format("the messages have {} bytes; {} is the most at once",
                                         bytes, kMostBytes));
  }
  impl_->transport.post("/v1/messages", {{"peer", peer}, {"messages", std::move(list)}},
                        kSendAnswer);
}

std::vector<Message> Agent::receive(Milliseconds wait, std::size_t most, std::string_view peer) {
  const auto wait_ms = std::clamp<int64_t>(wait.count(), 0, kLongestWait.count());
  const size_t at_most = std::clamp<size_t>(most, 1, kMostMessages);
  std::string target = fmt::format("/v1/messages?max={}&wait_ms={}", at_most, wait_ms);
  if (!peer.empty()) target += "&peer=" + http::percent_encode(peer);
  std::vector<Message> out;
  const json answer = impl_->transport.get(target, Milliseconds(wait_ms) + Transport::kAnswer);
  for (const json& m : rows_of(answer, "messages")) {
    out.push_back({text_of(m, "from"), text_of(m, "name"), bytes_of(m, "data")});
  }
  return out;
}

bool Agent::request_trust(std::string_view peer, std::string_view justification,
                          const TrustOptions& options) {
  json body = {{"peer", peer},
               {"justification", justification},
               {"right", options.right},
               {"offer", options.offer}};
  if (options.life) body["for_s"] = options.life->count();
  if (!options.scopes.empty()) body["scopes"] = options.scopes;
  if (!options.protocols.empty()) body["protocols"] = options.protocols;
  if (!options.capabilities.empty()) body["capabilities"] = options.capabilities;
  return text_of(impl_->transport.post("/v1/trust/request", body, kTrustAnswer), "state") ==
         "approved";
}

std::vector<TrustRequest> Agent::pending() {
  std::vector<TrustRequest> out;
  const json answer = impl_->transport.get("/v1/trust/pending");
  for (const json& w : rows_of(answer, "incoming")) {
    out.push_back({text_of(w, "request"), text_of(w, "did"), text_of(w, "name"),
                   text_of(w, "justification")});
  }
  return out;
}

void Agent::approve(std::string_view who) {
  impl_->transport.post("/v1/trust/approve", {{"peer", who}}, kTrustAnswer);
}

void Agent::reject(std::string_view who, std::string_view reason) {
  json body = {{"peer", who}};
  if (!reason.empty()) body["reason"] = reason;
  impl_->transport.post("/v1/trust/reject", body, kTrustAnswer);
}

void Agent::untrust(std::string_view peer, std::string_view reason) {
  json body = {{"peer", peer}};
  if (!reason.empty()) body["reason"] = reason;
  impl_->transport.post("/v1/trust/untrust", body, kTrustAnswer);
}

}  // namespace sluice::client
