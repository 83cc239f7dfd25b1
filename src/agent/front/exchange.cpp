#include "agent/front/exchange.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/read.hpp>

#include "agent/front/message.h"
#include "agent/front/waiter.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

namespace http = boost::beast::http;
using std::chrono::seconds;

constexpr seconds kConnectWithin{10};
constexpr seconds kHeadWithin{30};  // the request's, from the peer
constexpr size_t kReplayable = 64u << 10;

// One call of a peer, from its first byte to the upstream's last.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(const ExchangeNeeds& needs, Call& call)
      : needs_(needs),
        waiter_(needs.io.get_executor(), needs.kick),
        limit_(needs.io.get_executor()),
        peer_(call.peer()),
        envelope_(call.envelope()) {
    waiter_.attach(call);
    waiter_.over = [this] { close(); };  // whatever its server is still asked for
    ++needs_.tally->open;
    ++needs_.tally->of[peer_];
  }
  ~Exchange() {
    --needs_.tally->open;
    if (--needs_.tally->of[peer_] == 0) needs_.tally->of.erase(peer_);
    if (upstream_) --upstream_->row.open;
  }

  CallUser* user() { return &waiter_; }

  awaitable<void> run() {
    const auto problem = co_await exchange();
    // Whoever still sends the request's body has nobody to send it to. One at a time waits for
    // bytes.
    ended_ = true;
    waiter_.readable.set();
    if (uplink_runs_) close();
    while (uplink_runs_) co_await side_.wait();
    if (problem && waiter_.call() != nullptr) {
      if (upstream_) ++upstream_->row.failed;
      const ProblemText text = to_text(*problem, true);
      co_await waiter_.write(as_bytes(text.head));
      co_await waiter_.write(as_bytes(text.body));
      waiter_.end_writing();
    }
    // Until the caller has it all, or is gone.
    while (waiter_.call() != nullptr) {
      discard();
      co_await waiter_.readable.wait();
    }
    close();
  }

 private:
  using Parser = http::response_parser<http::buffer_body>;

  void limit(steady_clock::duration time) {
    limit_.start(time, [self = shared_from_this()] {
      self->late_ = true;
      self->close();
      self->waiter_.readable.set();
    });
  }
  void close() {
    if (!connection_) return;
    error_code ignored;
    connection_->socket.close(ignored);
  }
  void discard() {
    for (Bytes part = waiter_.call()->readable(); !part.empty();
         part = waiter_.call()->readable()) {
      waiter_.consume(part.size());
    }
  }

  Problem upstream_problem(unsigned status, const char* reason, std::string detail) const {
    return {status, reason, std::move(detail), "", 0, crypto::to_hex(bytes_of(envelope_.trace))};
  }

  awaitable<std::optional<ParsedRequest>> read_head() {
    limit(kHeadWithin);
    const Buffer text = co_await read_head_of(waiter_, [this] { return late_; });
    limit_.stop();
    auto head = parse_request(as_text(text));
    if (!head) co_return std::nullopt;
    co_return std::move(*head);
  }

  // What the upstream may know of the call: all of it is the relay's and this agent's word.
  void describe(HttpFields& fields) const {
    const PeerEdge* edge = needs_.agent.edge(peer_);
    const std::string trace = crypto::to_hex(bytes_of(envelope_.trace));
    fields.set("Sluice-Caller", crypto::to_did(peer_));
    if (edge != nullptr && !edge->name.empty()) fields.set("Sluice-Caller-Name", edge->name);
    fields.set("Sluice-Caller-Address", to_string(VirtualAddress::from_u64(envelope_.issuer)));
    fields.set("Sluice-Caller-Verified",
               edge != nullptr && needs_.agent.trust().is_verified(*edge) ? "1" : "0");
    fields.set("Sluice-Trace", trace);
    fields.set("Sluice-Protocol", wire::name_of(wire::kProtocolNames, envelope_.protocol));
    if (fields.find("traceparent") == fields.end()) {
      fields.set("traceparent", fmt::format("00-{}-{}-01", trace, trace.substr(0, 16)));
    }
  }

  // Nothing: it was answered, or there is nobody to answer.
  awaitable<std::optional<Problem>> exchange() {
    auto parsed = co_await read_head();
    const bool sound = parsed && parsed->head.method() != http::verb::connect &&
                       parsed->head.target().starts_with('/') &&
                       !has_dot_segments(view(parsed->head.target()));
    if (!sound) {
      co_return upstream_problem(400, "bad_request",
                                 "the call carries no HTTP request for a path of its own");
    }
    RequestHead* head = &parsed->head;
    framing_ = parsed->framing;
    const auto protocol = static_cast<wire::CallProtocol>(envelope_.protocol);
    const std::string target(view(head->target()));
    upstream_ = needs_.find(protocol, target);
    if (!upstream_)
      co_return upstream_problem(404, "not_served", fmt::format("nobody serves {} there", target));
    ++upstream_->row.calls;
    ++upstream_->row.open;
    const UpstreamConfig config = upstream_->row.config;

    has_body_ = framing_.has_body();
    const std::string upgrade = has_body_ ? "" : upgrade_of(*head);
    const bool is_head = head->method() == http::verb::head;
    drop_hop_fields(*head);
    std::string path = target.substr(config.prefix.size());
    if (config.url.path.empty() && (path.empty() || path[0] != '/')) path.insert(0, "/");
    // An endpoint that is a path itself has no slash behind it unless it was asked for.
    if (path == "/" && !config.url.path.empty()) path.clear();
    head->target(config.url.path + path);
    head->set(http::field::host, config.url.authority());
    if (!upgrade.empty()) {
      set_upgrade(*head, upgrade);
    } else {
      head->set(http::field::connection, "keep-alive");
    }
    set_framing(*head, framing_);
    describe(*head);
    request_ = to_text(*head);
    const http::verb method = head->method();
    may_repeat_ = method == http::verb::get || method == http::verb::head ||
                  method == http::verb::put || method == http::verb::delete_ ||
                  method == http::verb::options;

    std::optional<Parser> parser;
    for (bool again = false;; again = true) {
      const bool reused = co_await connect(config.url);
      if (waiter_.call() == nullptr) co_return std::nullopt;
      if (!connection_) {
        co_return upstream_problem(502, "upstream_unreachable",
                                   fmt::format("the peer's server at {} does not answer: {}",
                                               config.url.authority(), why_));
      }
      limit(seconds(config.timeout_s));
      const error_code ec = co_await ask(parser, upgrade, is_head);
      limit_.stop();
      if (waiter_.call() == nullptr) co_return std::nullopt;
      if (!ec) break;
      // A connection that was kept may have ended at the other side meanwhile. What must not be
      // done twice is not asked twice (RFC 9110, 9.2.2).
      if (reused && may_repeat_ && !again && !late_ && !body_streamed_ && !bad_body_) {
        connection_.reset();
        upstream_->idle.clear();
        continue;
      }
      if (bad_body_) {
        co_return upstream_problem(400, "bad_request",
                                   "the request's body is longer or shorter than it says");
      }
      if (late_) {
        co_return upstream_problem(
            504, "upstream_timeout",
            fmt::format("the peer's server did not answer within {} s", config.timeout_s));
      }
      co_return upstream_problem(502, "upstream_unreachable",
                                 fmt::format("the peer's server at {} broke off: {}",
                                             config.url.authority(), ec.message()));
    }
    co_return co_await respond(*parser, upgrade);
  }

  static void begin(std::optional<Parser>& parser, bool is_head) {
    parser.emplace();
    parser->header_limit(kMostHead);
    parser->body_limit(boost::none);
    if (is_head) parser->skip(true);
  }

  // True: a connection that was kept. connection_ is null where there is none.
  awaitable<bool> connect(const UpstreamUrl& url) {
    auto& idle = upstream_->idle;
    while (!idle.empty()) {
      connection_ = std::move(idle.back());
      idle.pop_back();
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
  awaitable<error_code> ask(std::optional<Parser>& parser, const std::string& upgrade,
                            bool is_head) {
    // What is here already goes along, and can be said again.
    if (replay_.empty()) replay_ = request_;
    if (has_body_ && upgrade.empty()) {
      while (waiter_.call() != nullptr && !body_ended_ && !bad_body_) {
        const Bytes part = waiter_.call()->readable();
        if (part.empty() || taken_ + part.size() > kReplayable) break;
        append_body(replay_, part);
        waiter_.consume(part.size());
      }
      if (waiter_.call() != nullptr && waiter_.call()->read_all() && !body_ended_)
        end_body(replay_);
    }
    if (bad_body_) co_return asio::error::make_error_code(asio::error::invalid_argument);
    const auto [ec, n] =
        co_await asio::async_write(connection_->socket, asio::buffer(replay_), kToken);
    if (ec) co_return ec;
    if (has_body_ && !body_ended_) {
      uplink_runs_ = body_streamed_ = true;
      asio::co_spawn(needs_.io, send_body(shared_from_this()), asio::detached);
    }
    for (;;) {
      begin(parser, is_head);
      const auto [failed, m] = co_await http::async_read_header(
          connection_->socket, connection_->buffer, *parser, kToken);
      if (failed) co_return failed;
      const unsigned status = parser->get().result_int();
      // 100 and 103 are between neighbours.
      if (status >= 200 || status == 101) co_return error_code{};
    }
  }

  // What is longer or shorter than its head says would be taken for another request.
  void append_body(std::string& out, Bytes part) {
    taken_ += part.size();
    bad_body_ |= framing_.length && taken_ > *framing_.length;
    if (bad_body_) return;
    if (framing_.chunked) out += fmt::format("{:x}\r\n", part.size());
    out.append(as_text(part));
    if (framing_.chunked) out += "\r\n";
  }
  void end_body(std::string& out) {
    bad_body_ |= framing_.length && taken_ != *framing_.length;
    if (bad_body_) return;
    if (framing_.chunked) out += "0\r\n\r\n";
    body_ended_ = true;
  }

  static awaitable<void> send_body(std::shared_ptr<Exchange> self) {
    CallWaiter& waiter = self->waiter_;
    std::string piece;
    while (waiter.call() != nullptr && !self->body_ended_ && !self->ended_) {
      const Bytes part = waiter.call()->readable();
      const bool all = waiter.call()->read_all();
      if (part.empty() && !all) {
        co_await waiter.readable.wait();
        continue;
      }
      piece.clear();
      if (!part.empty()) {
        self->append_body(piece, part);
        waiter.consume(part.size());
      } else {
        self->end_body(piece);
      }
      if (self->bad_body_) break;
      const auto [ec, n] =
          co_await asio::async_write(self->connection_->socket, asio::buffer(piece), kToken);
      if (ec) break;  // whether it answered all the same, its answer says
    }
    // The caller is gone: the upstream must not take what it has for the whole.
    if (waiter.call() == nullptr || self->bad_body_) self->close();
    self->uplink_runs_ = false;
    self->side_.set();
    waiter.readable.set();
  }

  awaitable<std::optional<Problem>> respond(Parser& parser, const std::string& upgrade) {
    ResponseHead head = parser.get().base();
    const unsigned status = head.result_int();
    const std::string accepted = upgrade_of(head);
    const bool keep_alive = parser.get().keep_alive();
    Framing framing;
    if (const auto length = parser.content_length()) framing.length = *length;
    drop_hop_fields(head);
    if (status == 101) {
      if (upgrade.empty())
        co_return upstream_problem(502, "upstream_broken",
                                   "the peer's server changed the protocol unasked");
      set_framing(head, {});
      set_upgrade(head, accepted);
      const std::string text = to_text(head);
      if (co_await waiter_.write(as_bytes(text))) co_await tunnel();
      co_return std::nullopt;
    }
    // The stream's end ends a body without a length. With as much of it as has come along, and its
    // end: a small answer is one message.
    set_framing(head, framing);
    std::string text = to_text(head);
    const std::unique_ptr<uint8_t[]> piece(new uint8_t[kPiece]);
    for (bool first = true; first || !parser.is_done(); first = false) {
      const bool along = connection_->buffer.size() > 0 && !parser.chunked();
      if (!parser.is_done() && (!first || along)) {
        parser.get().body().data = piece.get();
        parser.get().body().size = kPiece;
        auto [ec, n] = co_await http::async_read_some(connection_->socket, connection_->buffer,
                                                      parser, kToken);
        const size_t got = kPiece - parser.get().body().size;
        text.append(reinterpret_cast<const char*>(piece.get()), got);
        if (ec == http::error::need_buffer) ec = {};
        if (ec == http::error::end_of_stream && parser.is_done()) ec = {};
        if (ec) {
          ++upstream_->row.failed;
          co_await waiter_.write(as_bytes(text));
          waiter_.end(CallEnd::kFailed, uint16_t(CallStatus::kUpstreamReset));
          co_return std::nullopt;
        }
      }
      if (!text.empty() && !co_await waiter_.write(as_bytes(text))) co_return std::nullopt;
      text.clear();
    }
    waiter_.end_writing();
    const bool reusable = keep_alive && !uplink_runs_ && (!has_body_ || body_ended_) &&
                          !bad_body_ && connection_->buffer.size() == 0;
    if (reusable && upstream_->idle.size() < Upstream::kMostIdle) {
      connection_->idle_since = steady_clock::now();
      upstream_->idle.push_back(std::move(connection_));
    }
    co_return std::nullopt;
  }

  awaitable<void> tunnel() {
    uplink_runs_ = true;
    asio::co_spawn(needs_.io, tunnel_up(shared_from_this()), asio::detached);
    Buffer piece(kPiece);
    if (connection_->buffer.size() > 0) {
      const auto early = connection_->buffer.data();
      co_await waiter_.write({static_cast<const uint8_t*>(early.data()), early.size()});
      connection_->buffer.consume(connection_->buffer.size());
    }
    while (waiter_.call() != nullptr) {
      const auto [ec, n] =
          co_await connection_->socket.async_read_some(asio::buffer(piece), kToken);
      if (ec && ec != asio::error::eof) {
        waiter_.end(CallEnd::kFailed, uint16_t(CallStatus::kUpstreamReset));
      }
      if (ec || !co_await waiter_.write(Bytes(piece).first(n))) break;
    }
    waiter_.end_writing();
    while (uplink_runs_) co_await side_.wait();
  }

  static awaitable<void> tunnel_up(std::shared_ptr<Exchange> self) {
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

  ExchangeNeeds needs_;
  CallWaiter waiter_;
  TimeLimit limit_;
  crypto::PublicKey peer_;
  wire::Envelope envelope_;
  std::shared_ptr<Upstream> upstream_;
  std::unique_ptr<UpstreamConnection> connection_;
  Signal side_{needs_.io.get_executor()};
  std::string request_, replay_, why_;
  size_t taken_ = 0;  // of the request's body
  bool may_repeat_ = false;
  Framing framing_;  // of the request
  bool has_body_ = false, body_ended_ = false, body_streamed_ = false, bad_body_ = false;
  bool uplink_runs_ = false, late_ = false, ended_ = false;
};

}  // namespace

CallUser* begin_exchange(const ExchangeNeeds& needs, Call& call) {
  const auto exchange = std::make_shared<Exchange>(needs, call);
  asio::co_spawn(
      needs.io, [exchange] { return exchange->run(); }, asio::detached);
  return exchange->user();
}

}  // namespace sluice::agent
