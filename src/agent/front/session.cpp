#include "agent/front/session.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/read.hpp>

#include "agent/call_failure.h"
#include "agent/front/message.h"
#include "agent/front/route.h"
#include "agent/front/waiter.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

namespace http = boost::beast::http;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kIdle{120};         // between requests
constexpr seconds kLinger{2};         // of a client that was answered before it had said all
constexpr size_t kBuffer = 8u << 10;  // Beast reads what fits it at once
constexpr size_t kSmallBody = 2'000;  // goes with the head in the call's first message
constexpr milliseconds kSmallBodyWait{200};
constexpr uint64_t kEnvelopeMs = 30'000;

unsigned status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return 400;
    case ErrorCode::kRefused:
      return 403;
    case ErrorCode::kNotFound:
      return 404;
    case ErrorCode::kConflict:
      return 409;
    case ErrorCode::kTooLarge:
      return 413;
    case ErrorCode::kResource:
      return 503;
    case ErrorCode::kTimeout:
      return 504;
    default:
      return 502;
  }
}

// trace-id of a W3C trace context (traceparent), so that a trace goes on through the relay's log.
std::optional<ByteArray<16>> trace_of(const HttpFields& fields) {
  const std::string_view text = view(fields["traceparent"]);
  if (text.size() < 55 || text[2] != '-' || text[35] != '-') return std::nullopt;
  const auto bytes = crypto::from_hex(text.substr(3, 32));
  if (!bytes || bytes->size() != 16 || all_zero(*bytes)) return std::nullopt;
  return take<16>(bytes->data());
}

class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(tcp::socket socket, const FrontNeeds& needs)
      : socket_(std::move(socket)), limit_(socket_.get_executor()), needs_(needs) {
    buffer_.reserve(kBuffer);
    error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
  }

  awaitable<void> run() {
    for (bool more = true; more;) {
      Parser parser;
      parser.header_limit(kMostHead);
      parser.body_limit(boost::none);
      limit(kIdle);
      const auto [ec, n] = co_await http::async_read_header(socket_, buffer_, parser, kToken);
      limit_.stop();
      if (ec) {
        if (ec != http::error::end_of_stream &&
            ec.category() == http::make_error_code(http::error::bad_method).category()) {
          const Problem problem{400, "bad_request",
                                fmt::format("this is no HTTP/1.1 request: {}", ec.message()), ""};
          co_await refuse(problem, false);
        }
        break;
      }
      more = co_await serve(parser);
    }
    if (linger_) co_await drain();
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
  }

 private:
  // A client that still sends must be able to read what it was answered: closed at once, its kernel
  // would throw that away.
  awaitable<void> drain() {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    limit(kLinger);
    const auto until = steady_clock::now() + kLinger;
    std::vector<uint8_t> piece(kPiece);
    while (steady_clock::now() < until) {
      const auto [ec, n] = co_await socket_.async_read_some(asio::buffer(piece), kToken);
      if (ec) break;
    }
    limit_.stop();
  }

  using Parser = http::request_parser<http::buffer_body>;

  // One that has gone on for too long without a byte is cut off.
  void limit(steady_clock::duration time) {
    limit_.start(time, [self = shared_from_this()] {
      error_code ignored;
      self->socket_.cancel(ignored);
    });
  }

  awaitable<bool> refuse(const Problem& problem, bool keep_alive) {
    const ProblemText text = to_text(problem, keep_alive);
    const std::array<asio::const_buffer, 2> parts{asio::buffer(text.head), asio::buffer(text.body)};
    const auto [ec, n] = co_await asio::async_write(socket_, parts, kToken);
    answered_ = !ec;
    linger_ = !keep_alive && !ec;
    co_return keep_alive && !ec;
  }

  static std::optional<Problem> misuse(const RequestHead& head) {
    const auto host = view(head[http::field::host]);
    if (!is_own_host(host)) {
      return Problem{
          421, "foreign_host",
          fmt::format("this front answers to names of this host alone, not to \"{}\"", host),
          "use http://127.0.0.1:PORT/PEER/… or http://PEER.sluice.localhost:PORT/…"};
    }
    // What a browser sends for a page: none but another program's of this host may ask. A peer's
    // own page, which came through this front, may not ask other peers.
    const auto origin = view(head[http::field::origin]);
    const auto site = view(head["Sec-Fetch-Site"]);
    const bool foreign = !origin.empty() && !may_ask(origin, host);
    const bool unasked = origin.empty() && !site.empty() && site != "none";
    if (foreign || unasked) {
      return Problem{
          403, "foreign_origin",
          foreign ? fmt::format("pages of {} may not call peers of this host's agent", origin)
                  : "a page may not make a browser call peers of this host's agent",
          ""};
    }
    if (head.method() == http::verb::connect) {
      return Problem{405, "not_allowed", "CONNECT has no meaning here", ""};
    }
    return std::nullopt;
  }

  // True: the connection takes another request.
  awaitable<bool> serve(Parser& parser) {
    RequestHead head = parser.get().base();
    const bool keep_alive = parser.get().keep_alive();
    const bool done = parser.is_done();
    if (const auto problem = misuse(head)) co_return co_await refuse(*problem, keep_alive && done);
    const auto route = find_route(view(head.target()), view(head[http::field::host]));
    if (!route) {
      const Problem problem{404, "no_peer", route.error().message, ""};
      co_return co_await refuse(problem, keep_alive && done);
    }
    const Now now = needs_.now();
    const auto peer = needs_.agent.find(route->peer, now);
    if (!peer) {
      const Problem problem = problem_of(peer.error());
      co_return co_await refuse(problem, keep_alive && done);
    }
    if (has_odd_coding(head)) {
      const Problem problem{501, "bad_request", "no transfer coding but chunked is understood", ""};
      co_return co_await refuse(problem, false);
    }
    // The request as the peer gets it. One with a body is answered before anything is upgraded.
    Framing framing{parser.chunked(), std::nullopt};
    if (const auto length = parser.content_length()) framing.length = *length;
    const std::string upgrade = framing.has_body() ? "" : upgrade_of(head);
    const bool http11 = parser.get().version() >= 11;
    const bool expects = http11 && boost::beast::iequals(head[http::field::expect], "100-continue");
    sandbox_ = !view(head["Sec-Fetch-Dest"]).empty() && view(head["Sec-Fetch-Dest"]) != "empty";
    const bool is_head = head.method() == http::verb::head;
    CallRequest call;
    call.trace = trace_of(head);
    drop_hop_fields(head);
    if (!upgrade.empty()) set_upgrade(head, upgrade);
    set_framing(head, framing);
    head.target(route->target);
    const std::string text = to_text(head);
    call.data.assign(text.begin(), text.end());
    if (!done && !expects && upgrade.empty()) {
      const bool whole = co_await read_small(parser, call.data);
      if (!whole && !socket_.is_open()) co_return false;
    }

    waiter_ = std::make_shared<CallWaiter>(socket_.get_executor(), needs_.kick);
    const auto waiter = waiter_;  // outlives whoever still writes to it
    call.protocol = route->protocol;
    call.capability = wire::Capability::kToolCall;
    call.service = kHttpService;
    call.timeout_ms = kNever;
    call.envelope_ms = kEnvelopeMs;
    call.user = waiter.get();
    call.ended = parser.is_done() && upgrade.empty();
    const auto id = needs_.agent.call(*peer, std::move(call), needs_.now());
    if (!id) {
      const Problem problem = problem_of(id.error());
      co_return co_await refuse(problem, keep_alive && parser.is_done());
    }
    waiter->attach(*needs_.agent.own_call(*id));
    trace_ = crypto::to_hex(bytes_of(waiter->call()->envelope().trace));
    needs_.kick();

    gone_ = false;
    uplink_ = Side::kDone;
    if (!parser.is_done()) {
      uplink_ = Side::kRuns;
      asio::co_spawn(socket_.get_executor(), send_body(shared_from_this(), waiter, parser, expects),
                     asio::detached);
    } else {
      watch(waiter);
    }
    answered_ = false;
    waiter->over = [this] { side_.set(); };
    const bool whole = co_await answer(*waiter, http11, is_head, keep_alive, !upgrade.empty());
    waiter->leave();
    const bool in_time = uplink_ == Side::kDone;
    // The parser must outlive who reads with it.
    while (uplink_ == Side::kRuns || watching_) {
      error_code ignored;
      socket_.cancel(ignored);
      co_await side_.wait();
    }
    waiter_.reset();
    waiter->over = nullptr;
    const bool reusable = whole && keep_alive && in_time && parser.is_done() && !gone_;
    linger_ = answered_ && !reusable && !parser.is_done() && socket_.is_open();
    co_return reusable;
  }

  // A body that fits goes with its head. False: there is more of it.
  awaitable<bool> read_small(Parser& parser, Buffer& out) {
    const auto length = parser.content_length();
    if (!length || *length > kSmallBody) co_return false;
    std::array<char, kSmallBody + 1> piece;
    limit(kSmallBodyWait);
    while (!parser.is_done()) {
      parser.get().body().data = piece.data();
      parser.get().body().size = piece.size();
      auto [ec, n] = co_await http::async_read_some(socket_, buffer_, parser, kToken);
      const size_t got = piece.size() - parser.get().body().size;
      out.insert(out.end(), piece.data(), piece.data() + got);
      if (ec == http::error::need_buffer) ec = {};
      if (ec == asio::error::operation_aborted) break;  // slow: the rest follows when it is here
      if (ec) {
        error_code ignored;
        socket_.close(ignored);
        break;
      }
    }
    limit_.stop();
    co_return parser.is_done();
  }

  // The rest of the request's body, to the peer.
  static awaitable<void> send_body(std::shared_ptr<Client> self, std::shared_ptr<CallWaiter> waiter,
                                   Parser& parser, bool expects) {
    bool good = true;  // the client's side
    if (expects) {
      while (waiter->call() != nullptr && !waiter->accepted()) co_await waiter->writable.wait();
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      if (waiter->call() != nullptr) {
        const auto [ec, n] =
            co_await asio::async_write(self->socket_, asio::buffer(kContinue), kToken);
        good = !ec;
      }
    }
    std::vector<uint8_t> piece(kPiece);
    while (good && waiter->call() != nullptr && !parser.is_done()) {
      parser.get().body().data = piece.data();
      parser.get().body().size = piece.size();
      auto [ec, n] = co_await http::async_read_some(self->socket_, self->buffer_, parser, kToken);
      if (ec == http::error::need_buffer) ec = {};
      good = !ec;
      const size_t got = piece.size() - parser.get().body().size;
      if (good && got > 0 && !co_await waiter->write(Bytes(piece).first(got))) break;
    }
    self->gone_ |= !good;
    if (!good) {
      waiter->leave();
    } else if (parser.is_done()) {
      waiter->end_writing();
    }
    self->uplink_ = Side::kDone;
    if (good && waiter->call() != nullptr) self->watch(waiter);
    self->side_.set();
  }

  // While the answer is awaited nothing is read; a client that leaves is noticed all the same.
  void watch(const std::shared_ptr<CallWaiter>& waiter) {
    if (watching_) return;
    watching_ = true;
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this(), waiter](error_code ec) {
      self->watching_ = false;
      char byte;
      const ssize_t n =
          ec ? 1 : recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      const bool closed = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
      if (closed) {
        self->gone_ = true;
        waiter->leave();
        waiter->readable.set();
        waiter->writable.set();
      }
      self->side_.set();
    });
  }

  static Problem problem_of(const Error& error) {
    return {status_of(error.code), info(error.code).name, error.message, ""};
  }
  Problem problem_of(const CallWaiter& waiter) const {
    const CallRow& row = waiter.row();
    if (row.end == CallEnd::kDone) {
      return {502, "bad_answer", "the peer's answer is no HTTP response", "", 0, trace_};
    }
    CallFailure f = failure_of(row, waiter.retry_after_ms());
    unsigned status = status_of(f.code);
    if (row.end == CallEnd::kDenied && f.code == ErrorCode::kResource) {
      status = row.denied == wire::CallReason::kRateLimited ||
                       row.denied == wire::CallReason::kQuotaExhausted
                   ? 429
                   : 503;
    }
    if (row.end == CallEnd::kRelayRestarted) {
      return {502, "stream_reset", f.message, "", 0, trace_};
    }
    return {status, f.reason, f.message, f.hint, f.retry_after_ms, trace_};
  }

  // The peer's response, as it comes. True: all of it was written.
  awaitable<bool> answer(CallWaiter& waiter, bool http11, bool is_head, bool keep_alive,
                         bool may_upgrade) {
    const Buffer text = co_await read_head_of(waiter, [] { return false; });
    auto parsed = parse_response(as_text(text));
    // Between neighbours alone, or nothing that was asked for.
    const bool interim = parsed && parsed->head.result_int() < 200 &&
                         (parsed->head.result_int() != 101 || !may_upgrade);
    if (!parsed || interim) {
      if (gone_) co_return false;
      if (waiter.call() != nullptr && !waiter.call()->read_all())
        waiter.end(CallEnd::kBadStream, uint16_t(CallStatus::kBadStream));
      while (waiter.call() != nullptr) co_await waiter.readable.wait();
      const Problem problem = problem_of(waiter);
      co_return co_await refuse(problem, keep_alive && uplink_ == Side::kDone);
    }
    ResponseHead* head = &parsed->head;
    const unsigned status = head->result_int();
    const std::string upgrade = upgrade_of(*head);
    const auto length = parsed->framing.length;
    drop_hop_fields(*head);
    head->set("Sluice-Trace", trace_);
    // A peer's page is nobody's here.
    if (sandbox_) head->set("Content-Security-Policy", "sandbox allow-scripts allow-forms");
    if (status == 101 && may_upgrade) {
      while (watching_) {
        error_code ignored;
        socket_.cancel(ignored);
        co_await side_.wait();
      }
      if (gone_) co_return false;
      set_framing(*head, {});
      set_upgrade(*head, upgrade);
      const std::string out = to_text(*head);
      const auto [ec, n] = co_await asio::async_write(socket_, asio::buffer(out), kToken);
      if (!ec) co_await tunnel(waiter);
      co_return false;
    }
    if (may_upgrade) waiter.end_writing();
    const bool no_body = is_head || status == 204 || status == 304 || status < 200;
    const bool chunked = !no_body && !length && http11;
    set_framing(*head, chunked               ? Framing{true, std::nullopt}
                       : !no_body || is_head ? Framing{false, length}
                                             : Framing{});
    const bool closes = !keep_alive || (!no_body && !length && !http11);
    if (closes) {
      head->set(http::field::connection, "close");
    } else if (!http11) {
      head->set(http::field::connection, "keep-alive");
    }
    std::string out = to_text(*head);
    co_return co_await copy_body(waiter, out, no_body, chunked, length) && !closes;
  }

  awaitable<bool> copy_body(CallWaiter& waiter, std::string& out, bool no_body, bool chunked,
                            std::optional<uint64_t> length) {
    uint64_t copied = 0;
    bool written = out.empty();
    for (;;) {
      // What came last stays readable until it was consumed, whatever becomes of the call.
      Call* call = waiter.call();
      const bool over = call == nullptr;
      const Bytes part = over ? Bytes{} : call->readable();
      const bool ends =
          over ? waiter.row().end == CallEnd::kDone : part.empty() && call->read_all();
      const bool good = !over || ends;
      const bool end_of_answer = ends && (over || call->read_status() == uint16_t{0});
      if (!good || (ends && !end_of_answer)) {
        abort();
        co_return false;
      }
      if (part.empty() && !ends && written) {
        co_await waiter.readable.wait();
        continue;
      }
      copied += part.size();
      const bool too_much = (no_body && copied > 0) || (length && !no_body && copied > *length);
      const bool too_little = ends && length && !no_body && copied < *length;
      if (too_much || too_little) {
        waiter.end(CallEnd::kBadStream, uint16_t(CallStatus::kBadStream));
        abort();
        co_return false;
      }
      std::string before = written ? "" : out;
      std::string after;
      if (chunked && !part.empty()) {
        before += fmt::format("{:x}\r\n", part.size());
        after = "\r\n";
      }
      if (chunked && ends) after += "0\r\n\r\n";
      // Consumed and written from a copy: the call may end meanwhile, and take its bytes along.
      held_.assign(part.begin(), part.end());
      const std::array<asio::const_buffer, 3> parts{asio::buffer(before), asio::buffer(held_),
                                                    asio::buffer(after)};
      if (!part.empty()) waiter.consume(part.size());
      const auto [ec, n] = co_await asio::async_write(socket_, parts, kToken);
      written = true;
      if (ec) {
        gone_ = true;
        co_return false;
      }
      if (ends) {
        answered_ = true;
        co_return true;
      }
    }
  }

  // Both ways until both have ended.
  awaitable<void> tunnel(CallWaiter& waiter) {
    uplink_ = Side::kRuns;
    asio::co_spawn(socket_.get_executor(), tunnel_up(shared_from_this(), waiter_), asio::detached);
    for (;;) {
      Call* call = waiter.call();
      if (call == nullptr) break;
      const Bytes part = call->readable();
      if (part.empty()) {
        if (call->read_all()) break;
        co_await waiter.readable.wait();
        continue;
      }
      held_.assign(part.begin(), part.end());
      waiter.consume(part.size());
      const auto [ec, n] = co_await asio::async_write(socket_, asio::buffer(held_), kToken);
      if (ec) co_return;
    }
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    while (uplink_ == Side::kRuns && waiter.call() != nullptr) co_await side_.wait();
  }

  static awaitable<void> tunnel_up(std::shared_ptr<Client> self,
                                   std::shared_ptr<CallWaiter> waiter) {
    bool good = true;
    if (self->buffer_.size() > 0) {
      const auto early = self->buffer_.data();
      good = co_await waiter->write({static_cast<const uint8_t*>(early.data()), early.size()});
      self->buffer_.consume(self->buffer_.size());
    }
    std::vector<uint8_t> piece(kPiece);
    while (good && waiter->call() != nullptr) {
      const auto [ec, n] = co_await self->socket_.async_read_some(asio::buffer(piece), kToken);
      if (ec && ec != asio::error::eof) waiter->leave();
      if (ec) break;
      good = co_await waiter->write(Bytes(piece).first(n));
    }
    waiter->end_writing();
    self->uplink_ = Side::kDone;
    self->side_.set();
  }

  // The client must not take what it has for the whole: no orderly end.
  void abort() {
    error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
    gone_ = true;
  }

  enum class Side : uint8_t { kDone, kRuns };

  tcp::socket socket_;
  TimeLimit limit_;
  const FrontNeeds& needs_;
  boost::beast::flat_buffer buffer_;
  std::shared_ptr<CallWaiter> waiter_;
  Signal side_{socket_.get_executor()};
  Side uplink_ = Side::kDone;
  bool watching_ = false;
  bool gone_ = false;  // the client
  bool answered_ = false;
  bool linger_ = false;
  bool sandbox_ = false;
  std::string trace_;
  Buffer held_;
};

}  // namespace

awaitable<void> serve_client(tcp::socket socket, const FrontNeeds& needs) {
  const auto session = std::make_shared<Client>(std::move(socket), needs);
  co_await session->run();
}

}  // namespace sluice::agent
