#include "agent/front/curl_link.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "agent/front/endpoint.h"
#include "crypto/secret.h"

namespace sluice::agent {
namespace {

using std::chrono::seconds;

constexpr long kConnectWithinMs = 10'000;
// Many servers end a connection that was idle for a minute; the one that is asked must not.
constexpr long kKeptForS = 50;

char kNoExpect[] = "Expect:";
char kNoAccept[] = "Accept:";

class CurlLink final : public UpstreamLink, public std::enable_shared_from_this<CurlLink> {
 public:
  CurlLink(asio::io_context& io, Egress& egress, std::vector<std::string> allow, CallWaiter& waiter,
           RequestBody& body)
      : io_(io),
        egress_(egress),
        allow_(std::move(allow)),
        limit_(io.get_executor()),
        waiter_(waiter),
        body_(body),
        head_(io.get_executor()),
        data_(io.get_executor()),
        side_(io.get_executor()) {}
  ~CurlLink() override { close(); }

  awaitable<std::optional<LinkFailure>> ask(OutgoingRequest& request) override {
    credential_ = request.credential;
    if (!credential_) {
      co_return LinkFailure{502, "no_credential",
                            "the call came without a credential, so it has nowhere to go: the "
                            "relay's operator sets one for this agent and protocol"};
    }
    const bool whole = !credential_->webhook().empty();
    const std::string_view url = whole ? credential_->webhook() : credential_->endpoint();
    if (url.empty()) {
      co_return LinkFailure{502, "bad_credential", "the call's credential names no endpoint"};
    }
    auto endpoint = parse_endpoint(url, whole, allow_);
    if (!endpoint) co_return refused(endpoint.error());
    lane_ = egress_.lane(credential_->tag());
    if (!lane_) co_return LinkFailure{503, "busy", "there is no memory for a connection"};
    if (auto failure = co_await resolve(*endpoint)) co_return failure;
    if (waiter_.call() == nullptr) co_return std::nullopt;

    begin(request, *endpoint);
    limit_.start(request.timeout, [self = shared_from_this()] {
      self->late_ = true;
      self->close();
    });
    if (!body_.ended()) {
      uplink_runs_ = true;
      asio::co_spawn(io_, send_body(shared_from_this(), request.owner), asio::detached);
    }
    while (!has_head_ && !done_ && !closed_) co_await head_.wait();
    limit_.stop();
    if (waiter_.call() == nullptr) co_return std::nullopt;
    if (has_head_ && !late_) co_return std::nullopt;
    co_return failure(request);
  }

  awaitable<LinkRead> read(std::string& out, bool soon) override {
    for (;;) {
      if (!in_.empty()) {
        hand_over(out);
        if (std::exchange(receive_paused_, false)) resume();
        // What curl had kept back comes at once.
        hand_over(out);
        if (!done_ && !closed_) co_return LinkRead::kMore;
      }
      if (done_) co_return code_ == CURLE_OK ? LinkRead::kEnd : LinkRead::kBroken;
      if (closed_) co_return LinkRead::kBroken;
      if (soon) co_return LinkRead::kMore;
      co_await data_.wait();
    }
  }

  // An endpoint is never asked to change the protocol.
  awaitable<void> tunnel(Redactor&) override { co_return; }

  void close() override {
    if (easy_ && !done_ && !closed_) {
      // With its connection: over HTTP/2 curl would keep that, and not tell the server.
      curl_easy_setopt(easy_.get(), CURLOPT_FORBID_REUSE, 1L);
      lane_->loop->remove(easy_.get());
    }
    closed_ = true;
    head_.set();
    data_.set();
  }

  awaitable<void> stop() override {
    stopping_ = true;
    close();
    waiter_.readable.set();
    while (uplink_runs_) co_await side_.wait();
    easy_.reset();
  }

  // curl has it in its keeping already.
  void keep() override {}

 private:
  // It may say what it was told.
  void hand_over(std::string& out) {
    out += in_;
    crypto::wipe(in_.data(), in_.size());
    in_.clear();
  }

  static LinkFailure refused(const Error& error) { return {502, "egress_refused", error.message}; }

  // The endpoint's addresses, all of them allowed, for this request and those that follow soon.
  awaitable<std::optional<LinkFailure>> resolve(const Endpoint& endpoint) {
    EgressLane& lane = *lane_;
    const auto now = steady_clock::now();
    if (!lane.addresses.empty() && now < lane.resolved + EgressLane::kResolvedFor) {
      // Another egress, which allows its host by name, may have found them.
      if (auto ok = check_addresses(endpoint, lane.addresses); !ok) co_return refused(ok.error());
      co_return std::nullopt;
    }
    std::vector<asio::ip::address> found;
    error_code ec;
    const auto literal = asio::ip::make_address(endpoint.host, ec);
    if (!ec) {
      found.push_back(literal);
    } else {
      const auto executor = co_await asio::this_coro::executor;
      tcp::resolver resolver(executor);
      const std::string port = std::to_string(endpoint.port);
      auto [failed, results] = co_await resolver.async_resolve(
          endpoint.host, port, tcp::resolver::numeric_service, kToken);
      if (failed) {
        co_return LinkFailure{502, "upstream_unreachable",
                              "the credential's endpoint: its name is not found"};
      }
      for (const auto& entry : results) found.push_back(entry.endpoint().address());
    }
    if (auto ok = check_addresses(endpoint, found); !ok) co_return refused(ok.error());
    lane.addresses = std::move(found);
    lane.resolved = now;
    co_return std::nullopt;
  }

  void begin(const OutgoingRequest& request, const Endpoint& endpoint) {
    easy_.reset(curl_easy_init());
    CURL* c = easy_.get();
    http::set_terms(
        c, {credential_->authority(), credential_->client_chain(), credential_->client_key()},
        endpoint.plain);
    crypto::SecretText url, full;
    write_url(url, endpoint, view(request.head.target()));
    write_target(full, url.view(), &*credential_);
    full << '\0';
    curl_easy_setopt(c, CURLOPT_URL, full.view().data());
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    pin(endpoint);
    write_lines(request.head);
    set_method(request.head);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_2TLS});
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, kConnectWithinMs);
    curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, kKeptForS);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, long{kPiece});
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, &CurlLink::on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, this);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &CurlLink::on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, this);
    lane_->loop->add(c, [weak = weak_from_this()](CURLcode code) {
      if (const auto self = weak.lock()) self->on_done(code);
    });
  }

  // The addresses that were judged, and no others, whatever a resolver says meanwhile.
  void pin(const Endpoint& endpoint) {
    std::vector<std::string> texts;
    for (const auto& address : lane_->addresses) {
      texts.push_back(address.is_v6() ? "[" + address.to_string() + "]" : address.to_string());
    }
    resolve_ = fmt::format("{}:{}:{}", endpoint.host, endpoint.port, fmt::join(texts, ","));
    resolve_node_ = {resolve_.data(), nullptr};
    port_ = endpoint.port;
    CURL* c = easy_.get();
    error_code ec;
    (void)asio::ip::make_address(endpoint.host, ec);
    if (ec) curl_easy_setopt(c, CURLOPT_RESOLVE, &resolve_node_);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, &CurlLink::on_open);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, this);
  }

  void write_lines(const RequestHead& head) {
    std::vector<size_t> begins;
    const auto line = [&](std::string_view name, std::string_view value) {
      begins.push_back(lines_text_.size());
      // A field without a value has a form of its own: "Name:" would take one away.
      lines_text_ << name << (value.empty() ? ";" : ": ") << value << '\0';
    };
    bool accepts = false;
    for (const auto& f : head) {
      const auto name = f.name();
      using boost::beast::http::field;
      if (name == field::host || name == field::content_length ||
          name == field::transfer_encoding || name == field::connection) {
        continue;
      }
      accepts |= name == field::accept;
      line(view(f.name_string()), view(f.value()));
    }
    for (const auto& p : credential_->headers()) line(p.name, p.value);
    for (const size_t at : begins) {
      lines_.add(reinterpret_cast<char*>(lines_text_.bytes().data()) + at);
    }
    lines_.add(kNoExpect);
    if (!accepts) lines_.add(kNoAccept);
    curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, lines_.list());
  }

  void set_method(const RequestHead& head) {
    CURL* c = easy_.get();
    using boost::beast::http::verb;
    const std::string method(view(head.method_string()));
    const Framing& framing = body_.framing();
    if (head.method() == verb::head && !framing.has_body()) {
      curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
      return;
    }
    if (framing.chunked || framing.length) {
      curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE,
                       framing.length ? curl_off_t(*framing.length) : curl_off_t{-1});
      curl_easy_setopt(c, CURLOPT_READFUNCTION, &CurlLink::on_read);
      curl_easy_setopt(c, CURLOPT_READDATA, this);
    }
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method.c_str());
  }

  static curl_socket_t on_open(void* self, curlsocktype purpose, curl_sockaddr* address) {
    auto& link = *static_cast<CurlLink*>(self);
    tcp::endpoint to;
    const bool fits = purpose == CURLSOCKTYPE_IPCXN && address->addrlen <= to.capacity();
    if (fits) {
      std::memcpy(to.data(), &address->addr, address->addrlen);
      to.resize(address->addrlen);
    }
    const auto& good = link.lane_->addresses;
    link.strayed_ = !fits || to.port() != link.port_ ||
                    std::find(good.begin(), good.end(), to.address()) == good.end();
    if (link.strayed_) return CURL_SOCKET_BAD;
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  static size_t on_header(char* data, size_t, size_t n, void* self) {
    auto& link = *static_cast<CurlLink*>(self);
    if (link.has_head_) return n;  // a trailer
    std::string_view line(data, n);
    if (line.starts_with("HTTP/")) {
      // HTTP/2's has no version that a parser of HTTP/1.1 takes.
      const size_t space = std::min(line.find(' '), line.size());
      link.head_text_ = "HTTP/1.1";
      line.remove_prefix(space);
      if (line.size() < 5 || line[4] == '\r') line = line.substr(0, 4);
      link.head_text_ += line;
      if (!line.ends_with('\n')) link.head_text_ += " \r\n";
      return n;
    }
    if (link.head_text_.size() + n > kMostHead) return 0;
    link.head_text_ += line;
    if (line != "\r\n" && line != "\n") return n;
    auto parsed = parse_response(link.head_text_);
    link.head_text_.clear();
    if (!parsed) return 0;
    // 100 and 103 are between neighbours.
    if (parsed->head.result_int() < 200) return n;
    link.answer = std::move(parsed->head);
    link.length = parsed->framing.length;
    link.has_head_ = true;
    link.head_.set();
    return n;
  }

  static size_t on_body(char* data, size_t, size_t n, void* self) {
    auto& link = *static_cast<CurlLink*>(self);
    if (link.in_.size() >= kPiece) {
      link.receive_paused_ = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    link.in_.append(data, n);
    link.data_.set();
    return n;
  }

  static size_t on_read(char* out, size_t, size_t n, void* self) {
    auto& link = *static_cast<CurlLink*>(self);
    const Bytes part = link.body_.here();
    if (link.body_.bad() || link.closed_ || link.waiter_.call() == nullptr)
      return CURL_READFUNC_ABORT;
    if (link.body_.ended()) return 0;
    if (part.empty()) {
      link.send_paused_ = true;
      return CURL_READFUNC_PAUSE;
    }
    const size_t size = std::min(n, part.size());
    std::memcpy(out, part.data(), size);
    link.body_.take(size);
    return size;
  }

  void on_done(CURLcode code) {
    code_ = code;
    done_ = true;
    head_.set();
    data_.set();
    waiter_.readable.set();
  }

  void resume() {
    if (done_ || closed_) return;
    const int paused = (receive_paused_ ? CURLPAUSE_RECV : 0) | (send_paused_ ? CURLPAUSE_SEND : 0);
    lane_->loop->resume(easy_.get(), paused);
  }

  // Wakes curl when there is more of the body; curl takes it itself. `owner` keeps the call's
  // waiter alive.
  static awaitable<void> send_body(std::shared_ptr<CurlLink> self,
                                   [[maybe_unused]] std::shared_ptr<void> owner) {
    while (!self->stopping_ && !self->done_ && !self->closed_ && !self->body_.ended() &&
           !self->body_.bad()) {
      co_await self->waiter_.readable.wait();
      if (self->send_paused_ && !self->stopping_) {
        self->send_paused_ = false;
        self->resume();
      }
    }
    self->uplink_runs_ = false;
    self->side_.set();
    self->waiter_.readable.set();
  }

  LinkFailure failure(const OutgoingRequest& request) {
    if (code_ == CURLE_COULDNT_CONNECT) lane_->addresses.clear();  // it may have moved
    if (body_.bad())
      return {400, "bad_request", "the request's body is longer or shorter than it says"};
    if (late_) {
      return {504, "upstream_timeout",
              fmt::format("the credential's endpoint did not answer within {} s",
                          request.timeout.count())};
    }
    if (strayed_)
      return {502, "egress_refused", "the credential's endpoint leads to another address by now"};
    return {502, "upstream_unreachable",
            fmt::format("the credential's endpoint: {}",
                        http::describe(code_ == CURLE_OK ? CURLE_GOT_NOTHING : code_))};
  }

  asio::io_context& io_;
  Egress& egress_;
  std::vector<std::string> allow_;
  TimeLimit limit_;
  CallWaiter& waiter_;
  RequestBody& body_;
  Signal head_, data_, side_;
  std::optional<Credential> credential_;
  std::shared_ptr<EgressLane> lane_;
  std::string resolve_;
  curl_slist resolve_node_{};
  crypto::SecretText lines_text_;
  http::CurlLines lines_;
  std::string head_text_;  // of the answer, as it comes
  std::string in_;         // of its body
  uint16_t port_ = 0;
  CURLcode code_ = CURLE_OK;
  bool has_head_ = false, done_ = false, closed_ = false, late_ = false;
  bool receive_paused_ = false, send_paused_ = false, strayed_ = false;
  bool uplink_runs_ = false, stopping_ = false;
  http::CurlEasy easy_;  // uses what stands above
};

}  // namespace

std::shared_ptr<UpstreamLink> make_curl_link(asio::io_context& io, Egress& egress,
                                             std::vector<std::string> allow, CallWaiter& waiter,
                                             RequestBody& body) {
  return std::make_shared<CurlLink>(io, egress, std::move(allow), waiter, body);
}

}  // namespace sluice::agent
