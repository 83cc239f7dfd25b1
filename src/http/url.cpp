#include "http/url.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

Result<std::string> decode_form(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return percent_decode(spaced);
}

}  // namespace

std::string percent_encode(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return fail(ErrorCode::kUsage,
                    fmt::format("broken percent escape at byte {} of \"{}\"", i, text));
      }
      c = static_cast<char>(high << 4 | low);
      i += 2;
    }
    if (c == '\0') return fail(ErrorCode::kUsage, "NUL byte in the request target");
    out += c;
  }
  return out;
}

Result<Target> parse_target(std::string_view target) {
  if (target.empty() || target.front() != '/') {
    return fail(ErrorCode::kUsage,
                fmt::format("the request target \"{}\" does not begin with '/'", target));
  }
  if (target.find('#') != std::string_view::npos) {
    return fail(ErrorCode::kUsage, fmt::format("the request target \"{}\" has a fragment", target));
  }
  const size_t mark = target.find('?');
  auto path = percent_decode(target.substr(0, mark));
  if (!path) return tl::unexpected(path.error());
  Target out{.path = std::move(*path), .query = {}};
  std::string_view rest =
      mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    auto key = decode_form(pair.substr(0, equals));
    if (!key) return tl::unexpected(key.error());
    auto value = decode_form(pair.substr(std::min(equals + 1, pair.size())));
    if (!value) return tl::unexpected(value.error());
    if (!out.query.try_emplace(*key, std::move(*value)).second) {
      return fail(ErrorCode::kUsage, fmt::format("the query has \"{}\" twice", *key));
    }
  }
  return out;
}

}  // namespace sluice::http
