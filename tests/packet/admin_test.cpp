// The operator's API has exactly the calls that its document names, for exactly the roles.
#include "control/admin_api.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include <nlohmann/json.hpp>

#include "packet/rig.h"

namespace rig {
namespace {

TEST(Admin, HasExactlyTheCallsOfItsDocument) {
  Rig r;
  r.start();
  sluice::control::AdminApi api(*r.control);
  std::set<std::string> served, documented;
  for (const auto& route : api.routes()) {
    served.insert(std::string(route.method) + " " + route.path + " " +
                  std::string(name_of(route.least)) + (route.global ? " global" : ""));
  }
  nlohmann::json document;
  api.handle({.method = "GET",
              .path = "/v1/openapi.json",
              .query = {},
              .body = {},
              .peer = {.pid = 0, .uid = geteuid(), .gid = 0, .certificate = {}}},
             [&](const sluice::http::Response& answer) {
               EXPECT_EQ(answer.status, 200);
               document = nlohmann::json::parse(answer.body);
             });
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, call] : methods.items()) {
      documented.insert((method == "get" ? "GET " : "POST ") + path + " " +
                        call["x-role"].get<std::string>() +
                        (call["x-all-tenants"].get<bool>() ? " global" : ""));
    }
  }
  EXPECT_EQ(served, documented);
  EXPECT_GT(served.size(), 15u);
}

}  // namespace
}  // namespace rig
