// The trust part of the daemon's local API; every answer waits for the relay's:
//   POST /v1/trust/request {"peer":X,"justification":T[,"for_s":N,"right":R,"offer":R,"scopes":[…],
//                            "protocols":[…],"capabilities":[…]]} → {"state","request","peer"}
//   GET  /v1/trust/pending   {"incoming":[…],"outgoing":[…]}
//   POST /v1/trust/approve   {"peer":W[,"for_s":N,"quota_calls":N,"quota_s":N]} →
//   {"state":"approved",…} POST /v1/trust/reject    {"peer":W[,"reason":T]} POST /v1/trust/untrust
//   {"peer":X[,"reason":T]}: ends a pair, or takes back an own request POST /v1/visibility
//   {"visibility":"public"|"private"}
// X is a DID, an address or a name; W as well, of somebody who has asked, or a request's digest.
// R is may_send, may_open or reply_only. One thread.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "agent/agent.h"
#include "http/message.h"

namespace sluice::agent {

class TrustApi {
 public:
  explicit TrustApi(Agent& agent) : agent_(agent) {}

  bool handles(const http::Request& request) const;
  void handle(const http::Request& request, http::Respond respond, Now now);

 private:
  struct Post {
    std::string_view path;
    void (TrustApi::*handle)(const nlohmann::json& body, http::Respond respond, Now now);
  };
  static const Post* find_post(const std::string& path);

  void ask(const nlohmann::json& body, http::Respond respond, Now now);
  void approve(const nlohmann::json& body, http::Respond respond, Now now);
  void reject(const nlohmann::json& body, http::Respond respond, Now now);
  void answer(const nlohmann::json& body, bool approve, http::Respond respond, Now now);
  void untrust(const nlohmann::json& body, http::Respond respond, Now now);
  void set_visibility(const nlohmann::json& body, http::Respond respond, Now now);
  http::Response pending() const;
  Result<WaitingTrust> find_waiting(const std::string& who, bool incoming) const;

  Agent& agent_;
};

}  // namespace sluice::agent
