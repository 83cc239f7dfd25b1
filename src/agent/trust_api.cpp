#include "agent/trust_api.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/front/route.h"
#include "agent/request.h"
#include "crypto/text.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr uint64_t kMostQuotaCalls = 1'000'000'000;
constexpr uint64_t kLongestQuotaS = 366ull * 24 * 3600;
constexpr uint64_t kLongestLifeS = 10ull * 366 * 24 * 3600;
constexpr size_t kShortestDigest = 8;

constexpr std::string_view kPending = "/v1/trust/pending";

Result<pb::Right> right_field(const json& body, const char* key, pb::Right otherwise) {
  if (!body.contains(key)) return otherwise;
  const auto text = string_field(body, key);
  if (text && *text == "may_send") return pb::MAY_SEND;
  if (text && *text == "may_open") return pb::MAY_OPEN;
  if (text && *text == "reply_only") return pb::REPLY_ONLY;
  return fail(ErrorCode::kUsage,
              fmt::format("\"{}\" is one of may_send, may_open and reply_only", key));
}

template <typename Names>
Result<void> names_field(const json& body, const char* key, Names* out) {
  const auto it = body.find(key);
  if (it == body.end()) return {};
  const bool texts =
      it->is_array() && it->size() <= wire::kMostTerms &&
      std::all_of(it->begin(), it->end(), [](const json& n) {
        return n.is_string() && !n.get_ref<const std::string&>().empty() &&
               wire::is_plain_text(n.get_ref<const std::string&>(), wire::kMostTermBytes);
      });
  if (!texts) {
    return fail(ErrorCode::kUsage,
                fmt::format("\"{}\" is a list of at most {} names of up to {} printable bytes", key,
                            wire::kMostTerms, wire::kMostTermBytes));
  }
  for (const json& n : *it) *out->Add() = n.get<std::string>();
  return {};
}

Result<std::string> line_field(const json& body, const char* key, size_t most) {
  if (!body.contains(key)) return std::string();
  auto text = string_field(body, key);
  if (!text) return text;
  if (!wire::is_plain_text(*text, most)) {
    return fail(ErrorCode::kUsage,
                fmt::format("\"{}\" is one line of at most {} bytes", key, most));
  }
  return text;
}

// reply_only is what a missing right means.
const char* name_of(pb::Right right) {
  return right == pb::RIGHT_UNSPECIFIED ? to_string(Right::kReplyOnly)
                                        : to_string(static_cast<Right>(right));
}

json terms_json(const pb::Terms& t) {
  return {
      {"right", name_of(t.right())},
      {"scopes", std::vector<std::string>(t.scopes().begin(), t.scopes().end())},
      {"protocols", std::vector<std::string>(t.protocols().begin(), t.protocols().end())},
      {"capabilities", std::vector<std::string>(t.capabilities().begin(), t.capabilities().end())}};
}

json waiting_json(const WaitingTrust& w) {
  json out = {{"request", crypto::to_hex(w.digest)},
              {"did", crypto::to_did(w.peer)},
              {"justification", w.request.justification()},
              {"asked", terms_json(w.request.asked())},
              {"offered", terms_json(w.request.offered())},
              {"received_ms", w.received_ms},
              {"expires_ms", w.expires_ms},
              {"trust_ends_ms",
               w.request.expires_ms() == 0 ? json(nullptr) : json(w.request.expires_ms())}};
  if (w.incoming) {
    out["name"] = w.peer_name;
    out["address"] = to_string(w.peer_address);
  }
  return out;
}

}  // namespace

const TrustApi::Post* TrustApi::find_post(const std::string& path) {
  static constexpr Post kPosts[] = {
      {"/v1/trust/request", &TrustApi::ask},         {"/v1/trust/approve", &TrustApi::approve},
      {"/v1/trust/reject", &TrustApi::reject},       {"/v1/trust/untrust", &TrustApi::untrust},
      {"/v1/visibility", &TrustApi::set_visibility},
  };
  const auto it = std::find_if(std::begin(kPosts), std::end(kPosts),
                               [&](const Post& p) { return p.path == path; });
  return it == std::end(kPosts) ? nullptr : it;
}

bool TrustApi::handles(const http::Request& request) const {
  if (request.method == "GET") return request.path == kPending;
  return request.method == "POST" && find_post(request.path) != nullptr;
}

void TrustApi::handle(const http::Request& request, http::Respond respond, Now now) {
  if (request.method == "GET") return respond(pending());
  const auto body = parse_body(request);
  if (!body) return respond(http::error_response(body.error()));
  if (!agent_.tunnel().up(now)) {
    return respond(http::error_response(
        {ErrorCode::kUnreachable, "there is no session with the relay; see: sluice-agent info"}));
  }
  (this->*find_post(request.path)->handle)(*body, std::move(respond), now);
}

http::Response TrustApi::pending() const {
  json incoming = json::array(), outgoing = json::array();
  for (const WaitingTrust& w : agent_.trust().waiting()) {
    (w.incoming ? incoming : outgoing).push_back(waiting_json(w));
  }
  return json_response({{"incoming", std::move(incoming)}, {"outgoing", std::move(outgoing)}});
}

// By digest (or its beginning), DID, address or name.
Result<WaitingTrust> TrustApi::find_waiting(const std::string& who, bool incoming) const {
  const auto did = crypto::parse_did(who);
  const auto address = parse_virtual_address(who);
  const WaitingTrust* found = nullptr;
  for (const WaitingTrust& w : agent_.trust().waiting()) {
    if (w.incoming != incoming) continue;
    const bool by_digest =
        who.size() >= kShortestDigest && crypto::to_hex(w.digest).starts_with(who);
    const bool match = did       ? w.peer == *did
                       : address ? w.incoming && w.peer_address == *address
                                 : by_digest || (w.incoming && w.peer_name == who);
    if (!match) continue;
    // What is approved must be what was read.
    if (found != nullptr) {
      return fail(ErrorCode::kConflict,
                  fmt::format("more than one request fits \"{}\"; name one by its digest, see: "
                              "sluice-agent pending",
                              who));
    }
    found = &w;
  }
  if (found != nullptr) return *found;
  return fail(ErrorCode::kNotFound,
              fmt::format("no request {} \"{}\" waits; see: sluice-agent pending",
                          incoming ? "from" : "to", who));
}

void TrustApi::ask(const json& body, http::Respond respond, Now now) {
  const auto refuse = [&](const Error& e) { respond(http::error_response(e)); };
  const auto peer = string_field(body, "peer");
  if (!peer) return refuse(peer.error());
  const auto why = line_field(body, "justification", wire::kMostJustification);
  if (!why) return refuse(why.error());
  if (why->empty()) {
    return refuse({ErrorCode::kUsage,
                   "\"justification\" is missing: say why, in one line; it is "
                   "signed and shown to the peer"});
  }
  const auto life = number_field(body, "for_s", 0, kLongestLifeS, 0);
  if (!life) return refuse(life.error());
  const auto right = right_field(body, "right", pb::MAY_SEND);
  if (!right) return refuse(right.error());
  const auto offer = right_field(body, "offer", pb::MAY_SEND);
  if (!offer) return refuse(offer.error());
  TrustWish wish;
  wish.justification = *why;
  wish.life_ms = *life * 1000;
  // reply_only is what a missing right means, and canonical form leaves it out.
  if (*right != pb::REPLY_ONLY) wish.asked.set_right(*right);
  if (*offer != pb::REPLY_ONLY) wish.offered.set_right(*offer);
  for (const auto& r : {names_field(body, "scopes", wish.asked.mutable_scopes()),
                        names_field(body, "protocols", wish.asked.mutable_protocols()),
                        names_field(body, "capabilities", wish.asked.mutable_capabilities())}) {
    if (!r) return refuse(r.error());
  }
  // By the names that envelopes have: what is spelt otherwise would be granted and match nothing.
  for (std::string& name : *wish.asked.mutable_protocols()) {
    const auto known = protocol_of(name);
    if (!known && name != wire::kProtocolNames[0]) {
      return refuse(
          {ErrorCode::kUsage,
           fmt::format("\"{}\" is no protocol: raw, a2a, mcp, openai-responses, anp, acp", name)});
    }
    if (known) name = wire::kProtocolNames[size_t(*known)];
  }
  for (const std::string& name : wish.asked.capabilities()) {
    const auto& names = wire::kCapabilityNames;
    if (name.empty() || std::find(std::begin(names), std::end(names), name) == std::end(names)) {
      return refuse(
          {ErrorCode::kUsage, fmt::format("\"{}\" is no capability: read, delegate, tool_call, "
                                          "workflow_command",
                                          name)});
    }
  }
  const auto send = [this, respond, wish](const crypto::PublicKey& to, Now at) {
    TrustWish to_peer = wish;
    to_peer.to = to;
    agent_.trust(at).ask(to_peer, agent_.relay_now(at), [respond, to](const Result<Submitted>& s) {
      if (!s) return respond(http::error_response(s.error()));
      respond(json_response({{"state", s->agreed ? "approved" : "pending"},
                             {"request", crypto::to_hex(s->digest)},
                             {"peer", crypto::to_did(to)}}));
    });
  };
  if (const auto did = crypto::parse_did(*peer)) return send(*did, now);
  if (const auto known = agent_.find(*peer, now)) return send(*known, now);
  agent_.trust(now).look_up(*peer, agent_.relay_now(now),
                            [this, respond, send](const Result<FoundPeer>& found) {
                              if (!found) return respond(http::error_response(found.error()));
                              send(found->identity, agent_.last_now());
                            });
}

void TrustApi::answer(const json& body, bool approve, http::Respond respond, Now now) {
  const auto refuse = [&](const Error& e) { respond(http::error_response(e)); };
  const auto who = string_field(body, "peer");
  if (!who) return refuse(who.error());
  const auto life = number_field(body, "for_s", 0, kLongestLifeS, 0);
  if (!life) return refuse(life.error());
  const auto reason = line_field(body, "reason", wire::kMostReason);
  if (!reason) return refuse(reason.error());
  const auto calls = number_field(body, "quota_calls", 0, kMostQuotaCalls, 0);
  if (!calls) return refuse(calls.error());
  const auto period = number_field(body, "quota_s", *calls == 0 ? 0 : 1, kLongestQuotaS, 0);
  if (!period) return refuse(period.error());
  if ((*calls == 0) != (*period == 0)) {
    return refuse({ErrorCode::kUsage, "\"quota_calls\" and \"quota_s\" go together"});
  }
  const auto waiting = find_waiting(*who, true);
  if (!waiting) return refuse(waiting.error());
  const auto done = [respond, approve, w = *waiting](const Result<Submitted>& done_as) {
    if (!done_as) return respond(http::error_response(done_as.error()));
    respond(json_response({{"state", approve ? "approved" : "rejected"},
                           {"request", crypto::to_hex(w.digest)},
                           {"statement", crypto::to_hex(done_as->digest)},
                           {"peer", crypto::to_did(w.peer)},
                           {"name", w.peer_name}}));
  };
  if (approve) {
    const TrustQuota quota{static_cast<uint32_t>(*calls), static_cast<uint32_t>(*period)};
    agent_.trust(now).approve(*waiting, *life * 1000, quota, agent_.relay_now(now), done);
  } else {
    agent_.trust(now).reject(*waiting, *reason, agent_.relay_now(now), done);
  }
}

void TrustApi::approve(const json& body, http::Respond respond, Now now) {
  answer(body, true, std::move(respond), now);
}

void TrustApi::reject(const json& body, http::Respond respond, Now now) {
  answer(body, false, std::move(respond), now);
}

void TrustApi::untrust(const json& body, http::Respond respond, Now now) {
  const auto refuse = [&](const Error& e) { respond(http::error_response(e)); };
  const auto who = string_field(body, "peer");
  if (!who) return refuse(who.error());
  const auto reason = line_field(body, "reason", wire::kMostReason);
  if (!reason) return refuse(reason.error());
  const auto peer = agent_.find_edge(*who, now);
  const char* const what = peer ? "pair" : "request";
  const auto done = [respond, what](const Result<Submitted>& done_as) {
    if (!done_as) return respond(http::error_response(done_as.error()));
    respond(json_response(
        {{"state", "ended"}, {"what", what}, {"statement", crypto::to_hex(done_as->digest)}}));
  };
  if (peer) {
    return agent_.trust(now).untrust(**peer, *reason, agent_.relay_now(now), done);
  }
  if (const auto own = find_waiting(*who, false)) {
    return agent_.trust(now).take_back(*own, agent_.relay_now(now), done);
  }
  refuse(peer.error());
}

void TrustApi::set_visibility(const json& body, http::Respond respond, Now now) {
  const auto text = string_field(body, "visibility");
  if (!text || (*text != "public" && *text != "private")) {
    return respond(
        http::error_response({ErrorCode::kUsage, "\"visibility\" is one of public and private"}));
  }
  agent_.trust(now).set_visibility(*text == "public", agent_.relay_now(now),
                                   [respond, text = *text](const Result<Submitted>& done_as) {
                                     if (!done_as)
                                       return respond(http::error_response(done_as.error()));
                                     respond(json_response({{"visibility", text}}));
                                   });
}

}  // namespace sluice::agent
