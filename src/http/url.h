// Request targets: percent encoding (RFC 3986 §2.1) and `/path?key=value` (RFC 9112 §3.2.1).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sluice::http {

// Everything but the unreserved characters as %XX: fit for a path segment, a key or a value.
std::string percent_encode(std::string_view text);

// A broken escape or a NUL byte is kUsage. '+' stays a plus.
Result<std::string> percent_decode(std::string_view text);

struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};

// In keys and values '+' is a space; a key given twice, a path with no leading '/' and a fragment
// are kUsage.
Result<Target> parse_target(std::string_view target);

}  // namespace sluice::http
