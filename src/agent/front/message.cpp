#include "agent/front/message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include <fmt/format.h>
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

bool begins_with(std::string_view text, std::string_view start) {
  return text.size() >= start.size() &&
         std::equal(start.begin(), start.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
         });
}

std::string_view view(boost::beast::string_view s) {
  return {s.data(), s.size()};
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

template <bool kIsRequest>
Result<http::header<kIsRequest>> parse_head(std::string_view text) {
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
  return std::move(parser.get().base());
}

}  // namespace

void drop_hop_fields(HttpFields& fields) {
  std::vector<std::string> named;
  for (const auto& token : http::token_list(fields[http::field::connection])) {
    named.emplace_back(token.data(), token.size());
  }
  for (const auto& f : fields) {
    if (begins_with(view(f.name_string()), "sluice-")) named.emplace_back(view(f.name_string()));
  }
  for (const http::field f : kHopFields) fields.erase(f);
  for (const std::string& name : named) fields.erase(name);
}

std::string upgrade_of(const HttpFields& fields) {
  if (!http::token_list(fields[http::field::connection]).exists("upgrade")) return "";
  return std::string(view(fields[http::field::upgrade]));
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

Result<RequestHead> parse_request(std::string_view text) {
  return parse_head<true>(text);
}

Result<ResponseHead> parse_response(std::string_view text) {
  return parse_head<false>(text);
}

std::optional<uint64_t> content_length(const HttpFields& fields) {
  const auto text = view(fields[http::field::content_length]);
  uint64_t out = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

bool is_chunked(const HttpFields& fields) {
  return http::token_list(fields[http::field::transfer_encoding]).exists("chunked");
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
