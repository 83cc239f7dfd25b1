// Reading what callers of the local API ask for: JSON bodies and queries, with errors that name the
// field. No state.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"
#include "http/message.h"

namespace sluice::agent {

// The body as a JSON object; kUsage otherwise.
Result<nlohmann::json> parse_body(const http::Request& request);

// Unsigned and within [least, most]; `otherwise` when the field is not there.
Result<uint64_t> number_field(const nlohmann::json& body, const char* name, uint64_t least,
                              uint64_t most, uint64_t otherwise);
// False when the field is not there.
Result<bool> flag_field(const nlohmann::json& body, const char* name);
Result<std::string> string_field(const nlohmann::json& body, const char* name);

Result<uint64_t> query_number(const http::Request& request, const char* name, uint64_t least,
                              uint64_t most, uint64_t otherwise);

http::Response json_response(const nlohmann::json& body);

}  // namespace sluice::agent
