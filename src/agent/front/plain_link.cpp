#include "agent/front/plain_link.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/read.hpp>

namespace sluice::agent {
namespace {

namespace http = boost::beast::http;
using std::chrono::seconds;

constexpr seconds kConnectWithin{10};
constexpr size_t kReplayable = 64u << 10;

class PlainLink final : public UpstreamLink, public std::enable_shared_from_this<PlainLink> {
 public:
  PlainLink(asio::io_context& io, std::shared_ptr<Upstream> upstream, CallWaiter& waiter,
            RequestBody& body)
      : io_(io),
        limit_(io.get_executor()),
        upstream_(std::move(upstream)),
        waiter_(waiter),
        body_(body) {}

  awaitable<std::optional<LinkFailure>> ask(OutgoingRequest& request) override {
    const UpstreamConfig& config = upstream_->row.config;
    const UpstreamUrl url = config.url;
    prepare(request, config);
    const http::verb method = request.head.method();
    const bool may_repeat = method == http::verb::get || method == http::verb::head ||
                            method == http::verb::put || method == http::verb::delete_ ||
                            method == http::verb::options;
    for (bool again = false;; again = true) {
      const bool reused = co_await connect(url);
      if (waiter_.call() == nullptr) co_return std::nullopt;
      if (!connection_) {
        co_return LinkFailure{
            502, "upstream_unreachable",
            fmt::format("the peer's server at {} does not answer: {}", url.authority(), why_)};
      }
      limit(request.timeout);
      const error_code ec = co_await say(request);
      limit_.stop();
      if (waiter_.call() == nullptr) co_return std::nullopt;
      if (!ec) break;
      // A connection that was kept may have ended at the other side meanwhile. What must not be
      // done twice is not asked twice (RFC 9110, 9.2.2).
      if (reused && may_repeat && !again && !late_ && !streamed_ && !body_.bad()) {
        connection_.reset();
        upstream_->idle.clear();
        continue;
      }
      if (body_.bad()) {
        co_return LinkFailure{400, "bad_request",
                              "the request's body is longer or shorter than it says"};
      }
      if (late_) {
        co_return LinkFailure{
            504, "upstream_timeout",
            fmt::format("the peer's server did not answer within {} s", request.timeout.count())};
      }
      co_return LinkFailure{
          502, "upstream_unreachable",
          fmt::format("the peer's server at {} broke off: {}", url.authority(), ec.message())};
    }
    request_ = crypto::SecretText();
    answer = parser_->get().base();
    upgraded = upgrade_of(answer);
    keep_alive_ = parser_->get().keep_alive();
    if (const auto n = parser_->content_length()) length = *n;
    co_return std::nullopt;
  }

  awaitable<LinkRead> read(std::string& out, bool soon) override {
    if (parser_->is_done()) co_return LinkRead::kEnd;
    if (soon && (connection_->buffer.size() == 0 || parser_->chunked())) co_return LinkRead::kMore;
    if (!piece_) piece_.reset(new uint8_t[kPiece]);
    parser_->get().body().data = piece_.get();
    parser_->get().body().size = kPiece;
    auto [ec, n] =
        co_await http::async_read_some(connection_->socket, connection_->buffer, *parser_, kToken);
    const size_t got = kPiece - parser_->get().body().size;
    out.append(reinterpret_cast<const char*>(piece_.get()), got);
    if (ec == http::error::need_buffer) ec = {};
    if (ec == http::error::end_of_stream && parser_->is_done()) ec = {};
    if (ec) co_return LinkRead::kBroken;
    co_return parser_->is_done() ? LinkRead::kEnd : LinkRead::kMore;
  }

  awaitable<void> tunnel(Redactor& redactor) override {
    uplink_runs_ = true;
    asio::co_spawn(io_, tunnel_up(shared_from_this(), owner_.lock()), asio::detached);
    Buffer piece(kPiece);
    std::string out;
    if (connection_->buffer.size() > 0) {
      const auto early = connection_->buffer.data();
      redactor.push({static_cast<const uint8_t*>(early.data()), early.size()}, out);
      connection_->buffer.consume(connection_->buffer.size());
      co_await waiter_.write(as_bytes(out));
    }
    while (waiter_.call() != nullptr) {
      const auto [ec, n] =
          co_await connection_->socket.async_read_some(asio::buffer(piece), kToken);
      if (ec && ec != asio::error::eof) {
        waiter_.end(CallEnd::kFailed, uint16_t(CallStatus::kUpstreamReset));
      }
      out.clear();
      redactor.push(Bytes(piece).first(n), out);
      if (ec) redactor.finish(out);
      if (!out.empty() && !co_await waiter_.write(as_bytes(out))) break;
      if (ec) break;
    }
    waiter_.end_writing();
    while (uplink_runs_) co_await side_.wait();
  }

  void close() override {
    if (!connection_) return;
    error_code ignored;
    connection_->socket.close(ignored);
  }

  awaitable<void> stop() override {
    stopping_ = true;
    waiter_.readable.set();
    if (uplink_runs_) close();
    while (uplink_runs_) co_await side_.wait();
  }

  void keep() override {
    const bool reusable = keep_alive_ && !uplink_runs_ && body_.ended() && !body_.bad() &&
                          connection_ && connection_->buffer.size() == 0;
    if (!reusable || upstream_->idle.size() >= Upstream::kMostIdle) return;
    connection_->idle_since = steady_clock::now();
    connection_->tag = tag_;
    if (tag_ != ByteArray<16>{}) connection_->wipe();
    upstream_->idle.push_back(std::move(connection_));
  }

 private:
  using Parser = http::response_parser<http::buffer_body>;

  void limit(steady_clock::duration time) {
    limit_.start(time, [self = shared_from_this()] {
      self->late_ = true;
      self->close();
    });
  }

  void prepare(OutgoingRequest& request, const UpstreamConfig& config) {
    RequestHead& head = request.head;
    owner_ = request.owner;
    std::string path(view(head.target()));
    if (config.url.path.empty() && (path.empty() || path[0] != '/')) path.insert(0, "/");
    // An endpoint that is a path itself has no slash behind it unless it was asked for.
    if (path == "/" && !config.url.path.empty()) path.clear();
    head.target(config.url.path + path);
    head.set(http::field::host, config.url.authority());
    upgrade_ = request.upgrade;
    if (request.credential) tag_ = request.credential->tag();
    if (!upgrade_.empty()) {
      set_upgrade(head, upgrade_);
    } else {
      head.set(http::field::connection, "keep-alive");
    }
    set_framing(head, body_.framing());
    is_head_ = head.method() == http::verb::head;
    request_ = request_text(head, request.credential ? &*request.credential : nullptr);
  }

  // True: a connection that was kept. connection_ is null where there is none.
  awaitable<bool> connect(const UpstreamUrl& url) {
    auto& idle = upstream_->idle;
    for (size_t i = idle.size(); i-- > 0;) {
      if (idle[i]->tag != tag_) continue;
      connection_ = std::move(idle[i]);
      idle.erase(idle.begin() + std::ptrdiff_t(i));
      char byte;
      // Whatever it says unasked is nobody's answer.
      const bool quiet =
          recv(connection_->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
          errno == EAGAIN;
      if (quiet && !connection_->stale(steady_clock::now())) co_return true;
      connection_.reset();
    }
    const auto executor = co_await asio::this_coro::executor;
    tcp::resolver resolver(executor);
    const std::string port = std::to_string(url.port);
    auto [ec, found] =
        co_await resolver.async_resolve(url.host, port, tcp::resolver::numeric_service, kToken);
    if (ec) {
      why_ = ec.message();
      co_return false;
    }
    connection_ = std::make_unique<UpstreamConnection>(executor);
    limit(kConnectWithin);
    const auto [failed, at] = co_await asio::async_connect(connection_->socket, found, kToken);
    limit_.stop();
    if (failed) {
      why_ = late_ ? "no connection within 10 s" : failed.message();
      late_ = false;
      connection_.reset();
      co_return false;
    }
    error_code ignored;
    connection_->socket.set_option(tcp::no_delay(true), ignored);
    co_return false;
  }

  // Sends the request and reads the head of its answer.
  awaitable<error_code> say(const OutgoingRequest& request) {
    // What is here of the body already goes along, and can be said again.
    if (upgrade_.empty()) {
      while (body_.taken() < kReplayable) {
        const Bytes part = body_.here();
        if (part.empty() || body_.taken() + part.size() > kReplayable) break;
        append(replay_, part);
        body_.take(part.size());
      }
      end(replay_);
    }
    if (body_.bad()) co_return asio::error::make_error_code(asio::error::invalid_argument);
    const std::array<asio::const_buffer, 2> parts{
        asio::buffer(request_.view().data(), request_.size()), asio::buffer(replay_)};
    const auto [ec, n] = co_await asio::async_write(connection_->socket, parts, kToken);
    if (ec) co_return ec;
    if (!body_.ended()) {
      uplink_runs_ = streamed_ = true;
      asio::co_spawn(io_, send_body(shared_from_this(), request.owner), asio::detached);
    }
    for (;;) {
      parser_.emplace();
      parser_->header_limit(kMostHead);
      parser_->body_limit(boost::none);
      if (is_head_) parser_->skip(true);
      const auto [failed, m] = co_await http::async_read_header(
          connection_->socket, connection_->buffer, *parser_, kToken);
      if (failed) co_return failed;
      const unsigned status = parser_->get().result_int();
      // 100 and 103 are between neighbours.
      if (status >= 200 || status == 101) co_return error_code{};
    }
  }

  void append(std::string& out, Bytes part) const {
    if (body_.framing().chunked) out += fmt::format("{:x}\r\n", part.size());
    out.append(as_text(part));
    if (body_.framing().chunked) out += "\r\n";
  }
  // Once, where the body has come to its end.
  void end(std::string& out) {
    if (!body_.ended() || end_said_) return;
    if (body_.framing().chunked) out += "0\r\n\r\n";
    end_said_ = true;
  }

  // `owner` keeps the call's waiter alive.
  static awaitable<void> send_body(std::shared_ptr<PlainLink> self,
                                   [[maybe_unused]] std::shared_ptr<void> owner) {
    CallWaiter& waiter = self->waiter_;
    RequestBody& body = self->body_;
    std::string piece;
    while (waiter.call() != nullptr && !self->end_said_ && !self->stopping_) {
      const Bytes part = body.here();
      if (body.bad()) break;
      if (part.empty() && !body.ended()) {
        co_await waiter.readable.wait();
        continue;
      }
      piece.clear();
      if (!part.empty()) {
        self->append(piece, part);
        body.take(part.size());
      } else {
        self->end(piece);
      }
      const auto [ec, n] =
          co_await asio::async_write(self->connection_->socket, asio::buffer(piece), kToken);
      if (ec) break;  // whether it answered all the same, its answer says
    }
    // The caller is gone: the upstream must not take what it has for the whole.
    if (waiter.call() == nullptr || body.bad()) self->close();
    self->uplink_runs_ = false;
    self->side_.set();
    waiter.readable.set();
  }

  static awaitable<void> tunnel_up(std::shared_ptr<PlainLink> self,
                                   [[maybe_unused]] std::shared_ptr<void> owner) {
    CallWaiter& waiter = self->waiter_;
    Buffer piece;
    while (waiter.call() != nullptr && !waiter.call()->read_all()) {
      const Bytes part = waiter.call()->readable();
      if (part.empty()) {
        co_await waiter.readable.wait();
        continue;
      }
      piece.assign(part.begin(), part.end());
      waiter.consume(part.size());
      const auto [ec, n] =
          co_await asio::async_write(self->connection_->socket, asio::buffer(piece), kToken);
      if (ec) break;
    }
    error_code ignored;
    if (waiter.call() == nullptr) {
      self->close();
    } else {
      self->connection_->socket.shutdown(tcp::socket::shutdown_send, ignored);
    }
    self->uplink_runs_ = false;
    self->side_.set();
  }

  asio::io_context& io_;
  TimeLimit limit_;
  std::shared_ptr<Upstream> upstream_;
  CallWaiter& waiter_;
  RequestBody& body_;
  std::weak_ptr<void> owner_;
  std::unique_ptr<UpstreamConnection> connection_;
  std::optional<Parser> parser_;
  std::unique_ptr<uint8_t[]> piece_;
  Signal side_{io_.get_executor()};
  ByteArray<16> tag_{};
  crypto::SecretText request_;  // the head, until it cannot be said again
  std::string replay_, why_, upgrade_;
  bool is_head_ = false, keep_alive_ = false;
  bool end_said_ = false, streamed_ = false;
  bool uplink_runs_ = false, late_ = false, stopping_ = false;
};

}  // namespace

std::shared_ptr<UpstreamLink> make_plain_link(asio::io_context& io,
                                              std::shared_ptr<Upstream> upstream,
                                              CallWaiter& waiter, RequestBody& body) {
  return std::make_shared<PlainLink>(io, std::move(upstream), waiter, body);
}

}  // namespace sluice::agent
