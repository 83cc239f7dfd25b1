// The operator's API of a rig, asked as root asks it, without a socket.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include <nlohmann/json.hpp>

#include "control/admin_api.h"
#include "packet/rig.h"

namespace rig {

class AdminClient {
 public:
  explicit AdminClient(Rig& r) : r_(r), api_(*r.control) {}

  // Polls the rig until there is an answer.
  sluice::http::Response get(const std::string& path,
                             const std::map<std::string, std::string>& query = {}) {
    std::optional<sluice::http::Response> out;
    ask(path, query, [&](const sluice::http::Response& a) { out = a; });
    EXPECT_TRUE(r_.poll_until([&] { return out.has_value(); }));
    return out.value_or(sluice::http::Response{.status = 0, .body = "{}"});
  }
  nlohmann::json json(const std::string& path, const std::map<std::string, std::string>& query = {},
                      int status = 200) {
    const auto answer = get(path, query);
    EXPECT_EQ(answer.status, status) << answer.body;
    return nlohmann::json::parse(answer.body);
  }
  // The answer comes when it comes.
  void ask(const std::string& path, const std::map<std::string, std::string>& query,
           sluice::http::Respond respond) {
    api_.handle({.method = "GET",
                 .path = path,
                 .query = query,
                 .body = {},
                 .content_type = {},
                 .peer = {.pid = 0, .uid = geteuid(), .gid = 0, .certificate = {}}},
                std::move(respond));
  }
  sluice::control::AdminApi& api() { return api_; }

 private:
  Rig& r_;
  sluice::control::AdminApi api_;
};

}  // namespace rig
