#include "agent/request.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::agent {

using nlohmann::json;

Result<json> parse_body(const http::Request& request) {
  json body = json::parse(request.body, nullptr, false);
  if (!body.is_object()) return fail(ErrorCode::kUsage, "the body is not a JSON object");
  return body;
}

Result<uint64_t> number_field(const json& body, const char* name, uint64_t least, uint64_t most,
                              uint64_t otherwise) {
  const auto it = body.find(name);
  if (it == body.end()) return otherwise;
  if (it->is_number_unsigned()) {
    if (const auto v = it->get<uint64_t>(); v >= least && v <= most) return v;
  }
  return fail(ErrorCode::kUsage,
              fmt::format("\"{}\" is not a whole number from {} to {}", name, least, most));
}

Result<bool> flag_field(const json& body, const char* name) {
  const auto it = body.find(name);
  if (it == body.end()) return false;
  if (!it->is_boolean())
    return fail(ErrorCode::kUsage, fmt::format("\"{}\" is neither true nor false", name));
  return it->get<bool>();
}

Result<std::string> string_field(const json& body, const char* name) {
  const auto it = body.find(name);
  if (it == body.end() || !it->is_string() || it->get_ref<const std::string&>().empty()) {
    return fail(ErrorCode::kUsage, fmt::format("\"{}\" is missing or not a text", name));
  }
  return it->get<std::string>();
}

Result<uint64_t> query_number(const http::Request& request, const char* name, uint64_t least,
                              uint64_t most, uint64_t otherwise) {
  const auto it = request.query.find(name);
  if (it == request.query.end()) return otherwise;
  uint64_t value = 0;
  bool digits = !it->second.empty() && it->second.size() <= 12;
  for (char c : it->second) {
    digits = digits && c >= '0' && c <= '9';
    value = value * 10 + uint64_t(c - '0');
  }
  if (digits && value >= least && value <= most) return value;
  return fail(ErrorCode::kUsage, fmt::format("{} in the query is not a whole number from {} to {}",
                                             name, least, most));
}

http::Response json_response(const json& body) {
  return {.body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

}  // namespace sluice::agent
