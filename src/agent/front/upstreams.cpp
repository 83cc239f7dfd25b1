#include "agent/front/upstreams.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/read.hpp>

#include "agent/front/message.h"
#include "agent/front/route.h"
#include "agent/front/waiter.h"
#include "agent/jobs.h"
#include "crypto/text.h"

namespace sluice::agent {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr auto kUpstreamToken = asio::as_tuple(asio::use_awaitable);
constexpr seconds kConnectWithin{10};
constexpr seconds kHeadWithin{30};  // the request's, from the peer
constexpr seconds kIdleFor{4};      // below Node's five seconds
constexpr size_t kUpstreamPiece = 32u << 10;
constexpr size_t kUpstreamBuffer = 32u << 10;
constexpr size_t kReplayable = 64u << 10;
constexpr uint64_t kLookUs = 1'000'000;

std::string_view text_of(boost::beast::string_view s) {
  return {s.data(), s.size()};
}

bool under(std::string_view target, std::string_view prefix) {
  if (target.substr(0, prefix.size()) != prefix) return false;
  return prefix.empty() || target.size() == prefix.size() || target[prefix.size()] == '/' ||
         target[prefix.size()] == '?';
}

}  // namespace

struct Upstreams::Connection {
  explicit Connection(const asio::any_io_executor& executor) : socket(executor) {
    buffer.reserve(kUpstreamBuffer);  // Beast reads what fits it at once
  }
  tcp::socket socket;
  boost::beast::flat_buffer buffer;
  steady_clock::time_point idle_since{};
};

std::string UpstreamUrl::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == 80 ? name : fmt::format("{}:{}", name, port);
}

Result<UpstreamUrl> parse_upstream(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  const auto refuse = [&](const char* why) {
    return fail(ErrorCode::kUsage,
                fmt::format("the upstream \"{}\" {}; give http://HOST[:PORT][/PATH]", text, why));
  };
  if (text.substr(0, kScheme.size()) != kScheme) return refuse("does not begin with http://");
  std::string_view rest = text.substr(kScheme.size());
  UpstreamUrl out;
  const size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  if (slash != std::string_view::npos) out.path = rest.substr(slash);
  if (out.path.find_first_of("?# ") != std::string::npos)
    return refuse("has a query or a fragment");
  while (!out.path.empty() && out.path.back() == '/') out.path.pop_back();
  const size_t bracket = authority.find(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  std::string_view host = authority.substr(0, colon);
  if (colon != std::string_view::npos) {
    const std::string_view port = authority.substr(colon + 1);
    const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (ec != std::errc() || end != port.data() + port.size() || out.port == 0)
      return refuse("has no port behind its colon");
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (host.empty() || host.find_first_of("@[] ") != std::string_view::npos)
    return refuse("names no host");
  out.host = host;
  return out;
}

// One call of a peer, from its first byte to the upstream's last.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Upstreams& owner, Call& call)
      : owner_(owner),
        tally_(owner.tally_),
        waiter_(owner.io_.get_executor(), owner.kick_),
        timer_(owner.io_),
        peer_(call.peer()),
        envelope_(call.envelope()) {
    waiter_.attach(call);
    waiter_.over = [this] { close(); };  // whatever its server is still asked for
    ++tally_->open;
    ++tally_->of[peer_];
  }
  ~Exchange() {
    --tally_->open;
    if (--tally_->of[peer_] == 0) tally_->of.erase(peer_);
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
  using Connection = Upstreams::Connection;
  using Parser = http::response_parser<http::buffer_body>;

  void limit(steady_clock::duration time) {
    timer_.expires_after(time);
    timer_.async_wait([self = shared_from_this(), mine = ++limits_](error_code ec) {
      if (ec || mine != self->limits_) return;
      self->late_ = true;
      self->close();
      self->waiter_.readable.set();
    });
  }
  // One that has fired already does nothing any more.
  void no_limit() {
    ++limits_;
    timer_.cancel();
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
    no_limit();
    auto head = parse_request(as_text(text));
    if (!head) co_return std::nullopt;
    co_return std::move(*head);
  }

  // What the upstream may know of the call: all of it is the relay's and this agent's word.
  void describe(HttpFields& fields) const {
    const PeerEdge* edge = owner_.agent_.edge(peer_);
    const std::string trace = crypto::to_hex(bytes_of(envelope_.trace));
    fields.set("Sluice-Caller", crypto::to_did(peer_));
    if (edge != nullptr && !edge->name.empty()) fields.set("Sluice-Caller-Name", edge->name);
    fields.set("Sluice-Caller-Address", to_string(VirtualAddress::from_u64(envelope_.issuer)));
    fields.set("Sluice-Caller-Verified",
               edge != nullptr && owner_.agent_.trust().is_verified(*edge) ? "1" : "0");
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
                       !has_dot_segments(text_of(parsed->head.target()));
    if (!sound) {
      co_return upstream_problem(400, "bad_request",
                                 "the call carries no HTTP request for a path of its own");
    }
    RequestHead* head = &parsed->head;
    framing_ = parsed->framing;
    const auto protocol = static_cast<wire::CallProtocol>(envelope_.protocol);
    const std::string target(text_of(head->target()));
    upstream_ = owner_.find(protocol, target);
    if (!upstream_)
      co_return upstream_problem(404, "not_served", fmt::format("nobody serves {} there", target));
    ++tally_->counters.calls;
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
        ++tally_->counters.unreachable;
        co_return upstream_problem(502, "upstream_unreachable",
                                   fmt::format("the peer's server at {} does not answer: {}",
                                               config.url.authority(), why_));
      }
      limit(seconds(config.timeout_s));
      const error_code ec = co_await ask(parser, upgrade, is_head);
      no_limit();
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
      ++tally_->counters.unreachable;
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
      const auto idle_for = steady_clock::now() - connection_->idle_since;
      char byte;
      // Whatever it says unasked is nobody's answer.
      const bool quiet =
          recv(connection_->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
          errno == EAGAIN;
      if (quiet && idle_for < kIdleFor) co_return true;
      connection_.reset();
    }
    const auto executor = co_await asio::this_coro::executor;
    tcp::resolver resolver(executor);
    const std::string port = std::to_string(url.port);
    auto [ec, found] = co_await resolver.async_resolve(
        url.host, port, tcp::resolver::numeric_service, kUpstreamToken);
    if (ec) {
      why_ = ec.message();
      co_return false;
    }
    connection_ = std::make_unique<Connection>(executor);
    limit(kConnectWithin);
    const auto [failed, at] =
        co_await asio::async_connect(connection_->socket, found, kUpstreamToken);
    no_limit();
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
        co_await asio::async_write(connection_->socket, asio::buffer(replay_), kUpstreamToken);
    if (ec) co_return ec;
    if (has_body_ && !body_ended_) {
      uplink_runs_ = body_streamed_ = true;
      asio::co_spawn(owner_.io_, send_body(shared_from_this()), asio::detached);
    }
    for (;;) {
      begin(parser, is_head);
      const auto [failed, m] = co_await http::async_read_header(
          connection_->socket, connection_->buffer, *parser, kUpstreamToken);
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
      const auto [ec, n] = co_await asio::async_write(self->connection_->socket,
                                                      asio::buffer(piece), kUpstreamToken);
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
    const std::unique_ptr<uint8_t[]> piece(new uint8_t[kUpstreamPiece]);
    for (bool first = true; first || !parser.is_done(); first = false) {
      const bool along = connection_->buffer.size() > 0 && !parser.chunked();
      if (!parser.is_done() && (!first || along)) {
        parser.get().body().data = piece.get();
        parser.get().body().size = kUpstreamPiece;
        auto [ec, n] = co_await http::async_read_some(connection_->socket, connection_->buffer,
                                                      parser, kUpstreamToken);
        const size_t got = kUpstreamPiece - parser.get().body().size;
        text.append(reinterpret_cast<const char*>(piece.get()), got);
        if (ec == http::error::need_buffer) ec = {};
        if (ec == http::error::end_of_stream && parser.is_done()) ec = {};
        if (ec) {
          ++tally_->counters.broken;
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
    if (reusable && upstream_->idle.size() < Upstreams::kMostIdle) {
      connection_->idle_since = steady_clock::now();
      upstream_->idle.push_back(std::move(connection_));
    }
    co_return std::nullopt;
  }

  awaitable<void> tunnel() {
    uplink_runs_ = true;
    asio::co_spawn(owner_.io_, tunnel_up(shared_from_this()), asio::detached);
    Buffer piece(kUpstreamPiece);
    if (connection_->buffer.size() > 0) {
      const auto early = connection_->buffer.data();
      co_await waiter_.write({static_cast<const uint8_t*>(early.data()), early.size()});
      connection_->buffer.consume(connection_->buffer.size());
    }
    while (waiter_.call() != nullptr) {
      const auto [ec, n] =
          co_await connection_->socket.async_read_some(asio::buffer(piece), kUpstreamToken);
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
      const auto [ec, n] = co_await asio::async_write(self->connection_->socket,
                                                      asio::buffer(piece), kUpstreamToken);
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

  Upstreams& owner_;
  std::shared_ptr<Upstreams::Tally> tally_;
  CallWaiter waiter_;
  asio::steady_timer timer_;
  crypto::PublicKey peer_;
  wire::Envelope envelope_;
  std::shared_ptr<Upstreams::Upstream> upstream_;
  std::unique_ptr<Connection> connection_;
  Signal side_{owner_.io_.get_executor()};
  std::string request_, replay_, why_;
  size_t taken_ = 0;  // of the request's body
  bool may_repeat_ = false;
  Framing framing_;  // of the request
  bool has_body_ = false, body_ended_ = false, body_streamed_ = false, bad_body_ = false;
  unsigned limits_ = 0;
  bool uplink_runs_ = false, late_ = false, ended_ = false;
};

// --- The list
// --------------------------------------------------------------------------------------

Upstreams::Upstreams(asio::io_context& io, Agent& agent, std::function<void()> kick)
    : io_(io), agent_(agent), kick_(std::move(kick)) {}

Upstreams::~Upstreams() = default;

std::shared_ptr<Upstreams::Upstream> Upstreams::find(wire::CallProtocol protocol,
                                                     std::string_view target) const {
  std::shared_ptr<Upstream> best;
  for (const auto& u : upstreams_) {
    const UpstreamConfig& c = u->row.config;
    if (c.protocol != protocol || !under(target, c.prefix)) continue;
    if (!best || c.prefix.size() > best->row.config.prefix.size()) best = u;
  }
  return best;
}

AcceptStatus Upstreams::admit(const PeerEdge& from, const wire::Envelope& envelope) const {
  const auto protocol = static_cast<wire::CallProtocol>(envelope.protocol);
  const bool any = std::any_of(upstreams_.begin(), upstreams_.end(),
                               [&](const auto& u) { return u->row.config.protocol == protocol; });
  if (!any) return AcceptStatus::kNotServed;
  const auto its = tally_->of.find(from.identity);
  const bool full = tally_->open >= kMostOpen ||
                    (its != tally_->of.end() && its->second >= kMostOpen - kMostOpen / 4);
  return full ? AcceptStatus::kBusy : AcceptStatus::kAccepted;
}

CallUser* Upstreams::user(Call& call) {
  auto exchange = std::make_shared<Exchange>(*this, call);
  CallUser* user = exchange->user();
  asio::co_spawn(
      io_, [exchange] { return exchange->run(); }, asio::detached);
  return user;
}

Result<void> Upstreams::set(const std::string& server, pid_t pid, const UpstreamConfig& config,
                            uint64_t now_us) {
  for (const auto& u : upstreams_) {
    const UpstreamConfig& c = u->row.config;
    if (c.protocol != config.protocol || c.prefix != config.prefix) continue;
    if (u->row.server != server) {
      return fail(ErrorCode::kConflict,
                  fmt::format("{} calls under \"{}\" go to http://{}{} already; end that first, or "
                              "give another --path",
                              wire::name_of(wire::kProtocolNames, uint8_t(c.protocol)),
                              c.prefix.empty() ? "/" : c.prefix, c.url.authority(), c.url.path));
    }
    u->pid = pid;
    u->seen_us = now_us;
    if (u->row.config.url.authority() != config.url.authority()) u->idle.clear();
    u->row.config = config;
    return {};
  }
  if (upstreams_.size() >= kMost) {
    return fail(ErrorCode::kResource, fmt::format("{} upstreams are named already", kMost));
  }
  auto u = std::make_shared<Upstream>();
  u->row = {config, server, 0, 0, 0};
  u->pid = pid;
  u->seen_us = now_us;
  upstreams_.push_back(std::move(u));
  return {};
}

void Upstreams::drop(const std::string& server) {
  std::erase_if(upstreams_,
                [&](const auto& u) { return !server.empty() && u->row.server == server; });
}

void Upstreams::pump(uint64_t now_us) {
  if (now_us < looked_us_ + kLookUs) return;
  looked_us_ = now_us;
  std::erase_if(upstreams_, [&](const auto& u) {
    return !u->row.server.empty() && (is_gone(u->pid) || now_us >= u->seen_us + kLeaseUs);
  });
  for (const auto& u : upstreams_) {
    while (!u->idle.empty() && steady_clock::now() >= u->idle.front()->idle_since + kIdleFor)
      u->idle.pop_front();
  }
}

uint64_t Upstreams::wake_us() const {
  const bool leased = std::any_of(upstreams_.begin(), upstreams_.end(), [](const auto& u) {
    return !u->row.server.empty() || !u->idle.empty();
  });
  return leased ? looked_us_ + kLookUs : kNever;
}

std::vector<UpstreamRow> Upstreams::rows() const {
  std::vector<UpstreamRow> out;
  for (const auto& u : upstreams_) out.push_back(u->row);
  return out;
}

}  // namespace sluice::agent
