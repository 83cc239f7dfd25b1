#include "control/admin_route.h"

#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::control {

using nlohmann::json;

http::Response ok(const json& body) {
  return {200, "application/json", body.dump() + "\n"};
}

http::Response refused(ErrorCode code, std::string text) {
  return http::error_response({code, std::move(text)});
}

Result<std::string> text_of(const json& body, const char* key, const char* what) {
  if (!body.contains(key) || !body[key].is_string()) {
    return fail(ErrorCode::kUsage, fmt::format("\"{}\" is missing: give {}", key, what));
  }
  return body[key].get<std::string>();
}

Result<uint64_t> number_of(const json& body, const char* key, uint64_t least, uint64_t most,
                           uint64_t otherwise) {
  if (!body.contains(key)) return otherwise;
  if (!body[key].is_number_unsigned() || body[key].get<uint64_t>() < least ||
      body[key].get<uint64_t>() > most) {
    return fail(ErrorCode::kUsage,
                fmt::format("\"{}\" is a number from {} to {}", key, least, most));
  }
  return body[key].get<uint64_t>();
}

Result<uint64_t> query_number(const http::Request& request, const char* key, uint64_t otherwise) {
  const auto it = request.query.find(key);
  if (it == request.query.end()) return otherwise;
  uint64_t out = 0;
  const char* end = it->second.data() + it->second.size();
  const auto [at, ec] = std::from_chars(it->second.data(), end, out);
  if (ec != std::errc() || at != end) {
    return fail(ErrorCode::kUsage, fmt::format("{} is a number", key));
  }
  return out;
}

Result<void> may_touch(const Caller& caller, uint16_t tenant) {
  if (caller.sees(tenant)) return {};
  return fail(ErrorCode::kPermission,
              fmt::format("{} has a role in tenant {} only", caller.name, *caller.tenant));
}

}  // namespace sluice::control
