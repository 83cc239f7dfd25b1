#include "http/message.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::http {

using nlohmann::json;

Response error_response(const Error& error) {
  const ErrorInfo& row = info(error.code);
  const json body = {{"error", {{"code", row.name}, {"message", error.message}}}};
  // Messages may quote bytes of a peer that are not UTF-8.
  return {.status = row.http_status,
          .body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

Error error_from(const Response& response) {
  const json body = json::parse(response.body, nullptr, false);
  if (body.is_object() && body.contains("error") && body["error"].is_object()) {
    const json& error = body["error"];
    const auto code = error.find("code");
    const auto message = error.find("message");
    if (code != error.end() && code->is_string() && message != error.end() &&
        message->is_string()) {
      const auto row = std::find_if(std::begin(kErrorTable), std::end(kErrorTable),
                                    [&](const ErrorInfo& r) { return *code == r.name; });
      if (row != std::end(kErrorTable)) {
        return {static_cast<ErrorCode>(row - std::begin(kErrorTable)), message->get<std::string>()};
      }
    }
  }
  return {ErrorCode::kInternal,
          fmt::format("the answer has status {} and no error in the documented form: {}",
                      response.status, response.body.substr(0, 200))};
}

}  // namespace sluice::http
