#include "agent/front/message.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <nlohmann/json.hpp>

namespace sluice::agent {
namespace {

namespace http = boost::beast::http;

constexpr std::array kHopFields = {http::field::connection,       http::field::keep_alive,
                                   http::field::proxy_connection, http::field::te,
                                   http::field::trailer,          http::field::transfer_encoding,
                                   http::field::upgrade,          http::field::proxy_authenticate,
                                   http::field::expect,           http::field::proxy_authorization};

char plain(char c) {
  if (c == '_') return '-';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_ours(std::string_view name) {
  constexpr std::string_view kStart = "sluice-";
  return name.size() >= kStart.size() && std::equal(kStart.begin(), kStart.end(), name.begin(),
                                                    [](char a, char b) { return a == plain(b); });
}

void append_fields(std::string& out, const HttpFields& fields) {
  for (const auto& f : fields) {
    out.append(f.name_string().data(), f.name_string().size());
    out += ": ";
    out.append(f.value().data(), f.value().size());
    out += "\r\n";
  }
  out += "\r\n";
}

template <bool kIsRequest, typename Parsed>
Result<Parsed> parse_head(std::string_view text) {
  http::parser<kIsRequest, http::empty_body> parser;
  parser.header_limit(kMostHead);
  parser.body_limit(boost::none);
  parser.skip(true);
  boost::system::error_code ec;
  parser.put(boost::asio::buffer(text), ec);
  if (ec || !parser.is_header_done()) {
    return fail(ErrorCode::kUsage,
                fmt::format("it is no HTTP head: {}", ec ? ec.message() : "it is not whole"));
  }
  Parsed out{std::move(parser.get().base()), {parser.chunked(), std::nullopt}};
  if (const auto length = parser.content_length()) out.framing.length = *length;
  if (has_odd_coding(out.head)) {
    return fail(ErrorCode::kUsage, "it has a transfer coding other than chunked");
  }
  return out;
}

template <typename Take>
void for_each_token(const HttpFields& fields, http::field name, const Take& take) {
  const auto range = fields.equal_range(name);
  for (auto it = range.first; it != range.second; ++it) {
    for (const auto& token : http::token_list(it->value())) take(token);
  }
}

}  // namespace

bool has_odd_coding(const HttpFields& fields) {
  size_t codings = 0;
  bool odd = false;
  const auto range = fields.equal_range(http::field::transfer_encoding);
  for (auto it = range.first; it != range.second; ++it) {
    odd |= !boost::beast::iequals(it->value(), "chunked");
    ++codings;
  }
  return odd || codings > 1;
}

bool has_dot_segments(std::string_view target) {
  std::string path(target.substr(0, target.find('?')));
  std::string decoded;
  for (size_t i = 0; i < path.size(); ++i) {
    const bool dot = i + 2 < path.size() && path[i] == '%' && path[i + 1] == '2' &&
                     (path[i + 2] == 'e' || path[i + 2] == 'E');
    const bool slash = i + 2 < path.size() && path[i] == '%' &&
                       ((path[i + 1] == '2' && (path[i + 2] | 0x20) == 'f') ||
                        (path[i + 1] == '5' && (path[i + 2] | 0x20) == 'c'));
    decoded += dot ? '.' : slash || path[i] == '\\' ? '/' : path[i];
    if (dot || slash) i += 2;
  }
  decoded += '/';
  return decoded.find("/./") != std::string::npos || decoded.find("/../") != std::string::npos;
}

void drop_hop_fields(HttpFields& fields) {
  std::vector<std::string> named;
  for_each_token(fields, http::field::connection, [&](boost::beast::string_view token) {
    // Nobody's to name: without it the message is another one.
    if (!boost::beast::iequals(token, "host")) named.emplace_back(token.data(), token.size());
  });
  for (const auto& f : fields) {
    if (is_ours(view(f.name_string()))) named.emplace_back(view(f.name_string()));
  }
  for (const http::field f : kHopFields) fields.erase(f);
  fields.erase("HTTP2-Settings");
  for (const std::string& name : named) fields.erase(name);
}

void set_framing(HttpFields& fields, const Framing& framing) {
  fields.erase(http::field::content_length);
  fields.erase(http::field::transfer_encoding);
  if (framing.chunked) {
    fields.set(http::field::transfer_encoding, "chunked");
  } else if (framing.length) {
    fields.set(http::field::content_length, std::to_string(*framing.length));
  }
}

std::string upgrade_of(const HttpFields& fields) {
  bool asked = false;
  for_each_token(fields, http::field::connection, [&](boost::beast::string_view token) {
    asked |= boost::beast::iequals(token, "upgrade");
  });
  const auto protocol = fields[http::field::upgrade];
  if (!asked || boost::beast::iequals(protocol, "h2c")) return "";
  return std::string(view(protocol));
}

void set_upgrade(HttpFields& fields, const std::string& protocol) {
  fields.set(http::field::connection, "Upgrade");
  fields.set(http::field::upgrade, protocol);
}

std::string to_text(const RequestHead& head) {
  std::string out =
      fmt::format("{} {} HTTP/1.1\r\n", view(head.method_string()), view(head.target()));
  append_fields(out, head);
  return out;
}

std::string to_text(const ResponseHead& head) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", head.result_int(), view(head.reason()));
  append_fields(out, head);
  return out;
}

std::optional<size_t> head_size(Bytes bytes) {
  constexpr std::string_view kEnd = "\r\n\r\n";
  const std::string_view text = as_text(bytes);
  const size_t at = text.find(kEnd);
  if (at == std::string_view::npos) return std::nullopt;
  return at + kEnd.size();
}

Result<ParsedRequest> parse_request(std::string_view text) {
  return parse_head<true, ParsedRequest>(text);
}

Result<ParsedResponse> parse_response(std::string_view text) {
  return parse_head<false, ParsedResponse>(text);
}

ProblemText to_text(const Problem& p, bool keep_alive) {
  nlohmann::json body = {
      {"type", "about:blank"},
      {"title", std::string(http::obsolete_reason(http::int_to_status(p.status)))},
      {"status", p.status},
      {"reason", p.reason},
      {"detail", p.detail}};
  if (!p.hint.empty()) body["hint"] = p.hint;
  if (!p.trace.empty()) body["trace"] = p.trace;
  if (p.retry_after_ms != 0) body["retry_after_ms"] = p.retry_after_ms;
  ResponseHead head;
  head.result(p.status);
  head.set(http::field::content_type, "application/problem+json");
  head.set(http::field::cache_control, "no-store");
  if (p.retry_after_ms != 0) {
    head.set(http::field::retry_after, std::to_string((p.retry_after_ms + 999) / 1000));
  }
  if (!keep_alive) head.set(http::field::connection, "close");
  ProblemText out;
  out.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  head.set(http::field::content_length, std::to_string(out.body.size()));
  out.head = to_text(head);
  return out;
}

}  // namespace sluice::agent
