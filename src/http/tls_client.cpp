#include "http/tls_client.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/span_body.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "http/bounds.h"

namespace sluice::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::steady_clock;

// Runs one asynchronous operation to its end or the deadline.
template <typename Start>
error_code step(asio::io_context& io, tcp::socket& socket, steady_clock::time_point deadline,
                Start&& start) {
  std::optional<error_code> done;
  io.restart();
  start([&done](error_code ec, auto&&...) { done = ec; });
  while (!done && steady_clock::now() < deadline) io.run_one_until(deadline);
  if (done) return *done;
  error_code ignored;
  socket.close(ignored);
  while (!done) io.run_one();
  return asio::error::timed_out;
}

}  // namespace

Result<TlsTarget> parse_https_url(std::string_view url, uint16_t default_port) {
  const auto bad = [&] {
    return fail(ErrorCode::kUsage, fmt::format("{} is not https://HOST or https://HOST:PORT", url));
  };
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme)) return bad();
  std::string_view rest = url.substr(kScheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  TlsTarget out;
  out.port = default_port;
  const size_t close = rest.starts_with('[') ? rest.find(']') : std::string_view::npos;
  if (rest.starts_with('[') && close == std::string_view::npos) return bad();
  const size_t host_end = close != std::string_view::npos ? close + 1 : rest.find(':');
  if (host_end < rest.size()) {
    const std::string_view port = rest.substr(host_end + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (rest[host_end] != ':' || error != std::errc() || end != port.data() + port.size() ||
        out.port == 0) {
      return bad();
    }
  }
  out.host = rest.substr(0, host_end);
  if (close != std::string_view::npos) out.host = out.host.substr(1, out.host.size() - 2);
  const bool plain = std::all_of(out.host.begin(), out.host.end(), [](unsigned char c) {
    return c > ' ' && c < 0x7f &&
           std::string_view("/?#@[]\\").find(char(c)) == std::string_view::npos;
  });
  if (out.host.empty() || !plain) return bad();
  return out;
}

TlsClient::TlsClient(TlsTarget target, std::string service)
    : target_(std::move(target)), service_(std::move(service)) {
  const bool v6 = target_.host.find(':') != std::string::npos;
  where_ =
      fmt::format("https://{}{}{}:{}", v6 ? "[" : "", target_.host, v6 ? "]" : "", target_.port);
}

Result<Response> TlsClient::request(std::string_view method, std::string_view target,
                                    std::string_view body, std::chrono::milliseconds timeout,
                                    std::string_view content_type) const {
  const auto deadline = steady_clock::now() + timeout;
  const auto lost = [&](const error_code& ec, ErrorCode code, std::string_view how) {
    if (ec == asio::error::timed_out) {
      return fail(ErrorCode::kTimeout,
                  fmt::format("{} did not answer on {} in time", service_, where_));
    }
    return fail(code, fmt::format("{} on {} {} ({})", service_, where_, how, ec.message()));
  };
  asio::io_context io;
  asio::ssl::context tls(asio::ssl::context::tls_client);
  if (auto ok = prepare(tls, target_.files); !ok) return tl::unexpected(ok.error());
  asio::ssl::stream<tcp::socket> stream(io, tls);
  tcp::socket& socket = stream.next_layer();
  error_code ec;
  stream.set_verify_mode(asio::ssl::verify_peer, ec);
  stream.set_verify_callback(asio::ssl::host_name_verification(target_.host), ec);
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(target_.host, std::to_string(target_.port), ec);
  if (ec) return lost(ec, ErrorCode::kUnreachable, "cannot be found");
  ec = step(io, socket, deadline, [&](auto done) { asio::async_connect(socket, found, done); });
  if (ec)
    return lost(ec, ErrorCode::kUnreachable, "does not answer: is it running, with admin.tls?");
  // The name in the handshake; of an address there is none.
  error_code is_name;
  (void)asio::ip::make_address(target_.host, is_name);
  if (is_name) SSL_set_tlsext_host_name(stream.native_handle(), target_.host.c_str());
  ec = step(io, socket, deadline,
            [&](auto done) { stream.async_handshake(asio::ssl::stream_base::client, done); });
  if (ec) return lost(ec, ErrorCode::kPermission, "shows no certificate that fits");

  beast::http::request<beast::http::span_body<const char>> request;
  request.version(11);
  request.method_string({method.data(), method.size()});
  request.target({target.data(), target.size()});
  request.set(beast::http::field::host, target_.host);
  request.set(beast::http::field::connection, "close");
  if (!body.empty()) {
    request.set(beast::http::field::content_type, {content_type.data(), content_type.size()});
  }
  request.body() = {body.data(), body.size()};
  request.prepare_payload();
  // A server that refuses may close before it took all: its answer counts then.
  const error_code written = step(
      io, socket, deadline, [&](auto done) { beast::http::async_write(stream, request, done); });
  beast::flat_buffer buffer;
  beast::http::response_parser<beast::http::string_body> parser;
  parser.body_limit(kResponseLimit);
  if (socket.is_open()) {
    ec = step(io, socket, deadline,
              [&](auto done) { beast::http::async_read(stream, buffer, parser, done); });
  } else {
    ec = written;
  }
  if (ec) {
    return lost(ec, ErrorCode::kPermission,
                "ends the connection: does admin.roles name this certificate?");
  }
  auto message = parser.release();
  const auto type = message[beast::http::field::content_type];
  return Response{.status = static_cast<int>(message.result_int()),
                  .content_type = std::string(type.data(), type.size()),
                  .body = std::move(message.body())};
}

}  // namespace sluice::http
