#include "agent/front/exchange.h"

#include <algorithm>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "agent/front/curl_link.h"
#include "agent/front/message.h"
#include "agent/front/plain_link.h"
#include "agent/front/waiter.h"
#include "crypto/secret.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

namespace http = boost::beast::http;
using std::chrono::seconds;

constexpr seconds kHeadWithin{30};  // the request's, from the peer
// Enough of a secret that bytes of a dialogue wait for the rest of it: fewer stand there by chance.
constexpr size_t kTunnelHold = 4;

// One call of a peer, from its first byte to the upstream's last.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(const ExchangeNeeds& needs, Call& call)
      : needs_(needs),
        waiter_(needs.io.get_executor(), needs.kick),
        limit_(needs.io.get_executor()),
        peer_(call.peer()),
        envelope_(call.envelope()),
        given_(call.credential()) {
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
    if (link_) co_await link_->stop();
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
  void close() {
    if (link_) link_->close();
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
    limit_.start(kHeadWithin, [self = shared_from_this()] {
      self->late_ = true;
      self->waiter_.readable.set();
    });
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

  // What the caller wrote of authorization goes, and what would hide an answer from the redactor.
  void prepare(OutgoingRequest& request, const UpstreamConfig& config) {
    const Credential* credential = request.credential ? &*request.credential : nullptr;
    strip_authorization(
        request.head, credential,
        {credential != nullptr || config.strip_authorization, config.strip_cookies});
    // Who calls is for servers of this house.
    if (!config.egress) describe(request.head);
    if (credential == nullptr) return;
    redactor_ = credential->redactor();
    request.head.set(http::field::accept_encoding, "identity");
  }

  // Nothing: it was answered, or there is nobody to answer.
  awaitable<std::optional<Problem>> exchange() {
    auto parsed = co_await read_head();
    const bool sound = parsed && parsed->head.method() != http::verb::connect &&
                       parsed->head.target().starts_with('/') &&
                       parsed->head.target().find('#') == std::string_view::npos &&
                       !has_dot_segments(view(parsed->head.target()));
    if (!sound) {
      co_return upstream_problem(400, "bad_request",
                                 "the call carries no HTTP request for a path of its own");
    }
    OutgoingRequest request;
    if (given_) {
      auto credential = Credential::parse(given_);
      if (!credential)
        co_return upstream_problem(502, "bad_credential", credential.error().message);
      request.credential = std::move(*credential);
      // It would be answered with its own head.
      if (parsed->head.method() == http::verb::trace) {
        co_return upstream_problem(405, "not_allowed", "TRACE is not passed on with a credential");
      }
    }
    body_.set_framing(parsed->framing);
    const auto protocol = static_cast<wire::CallProtocol>(envelope_.protocol);
    const std::string target(view(parsed->head.target()));
    upstream_ = needs_.find(protocol, target);
    if (!upstream_)
      co_return upstream_problem(404, "not_served", fmt::format("nobody serves {} there", target));
    ++upstream_->row.calls;
    ++upstream_->row.open;
    const UpstreamConfig config = upstream_->row.config;

    request.upgrade = body_.exists() || config.egress ? "" : upgrade_of(parsed->head);
    request.timeout = seconds(config.timeout_s);
    request.owner = shared_from_this();
    request.head = std::move(parsed->head);
    drop_hop_fields(request.head);
    request.head.target(target.substr(config.prefix.size()));
    prepare(request, config);
    link_ = config.egress ? make_curl_link(needs_.io, *needs_.egress, config.allow, waiter_, body_)
                          : make_plain_link(needs_.io, upstream_, waiter_, body_);
    const auto failure = co_await link_->ask(request);
    if (waiter_.call() == nullptr) co_return std::nullopt;
    if (failure) co_return upstream_problem(failure->status, failure->reason, failure->detail);
    co_return co_await respond(!request.upgrade.empty(), config);
  }

  // The fields of the answer's head as the caller may see them.
  std::string head_text(ResponseHead& head, const UpstreamConfig& config) const {
    // A session that the upstream opened for the credential would be one.
    if (config.strip_cookies) {
      head.erase(http::field::set_cookie);
      head.erase(http::field::set_cookie2);
    }
    std::string text = to_text(head);
    redactor_.redact({reinterpret_cast<uint8_t*>(text.data()), text.size()});
    return text;
  }

  awaitable<std::optional<Problem>> respond(bool may_upgrade, const UpstreamConfig& config) {
    ResponseHead& head = link_->answer;
    const bool changes = head.result_int() == 101;
    drop_hop_fields(head);
    if (changes && !may_upgrade) {
      co_return upstream_problem(502, "upstream_broken",
                                 "the peer's server changed the protocol unasked");
    }
    if (changes) {
      set_framing(head, {});
      set_upgrade(head, link_->upgraded);
      redactor_.hold_from(kTunnelHold);
      const std::string text = head_text(head, config);
      if (co_await waiter_.write(as_bytes(text))) co_await link_->tunnel(redactor_);
      co_return std::nullopt;
    }
    // The stream's end ends a body without a length. With as much of it as has come along, and its
    // end: a small answer is one message.
    set_framing(head, {false, link_->length});
    std::string text = head_text(head, config);
    std::string piece;
    LinkRead got = LinkRead::kMore;
    for (bool first = true; got == LinkRead::kMore; first = false) {
      piece.clear();
      got = co_await link_->read(piece, first);
      redactor_.push(as_bytes(piece), text);
      if (!redactor_.idle()) crypto::wipe(piece.data(), piece.size());
      if (got == LinkRead::kEnd) redactor_.finish(text);
      if (!text.empty() && !co_await waiter_.write(as_bytes(text))) co_return std::nullopt;
      text.clear();
    }
    if (got == LinkRead::kBroken) {
      ++upstream_->row.failed;
      waiter_.end(CallEnd::kFailed, uint16_t(CallStatus::kUpstreamReset));
      co_return std::nullopt;
    }
    waiter_.end_writing();
    link_->keep();
    co_return std::nullopt;
  }

  ExchangeNeeds needs_;
  CallWaiter waiter_;
  RequestBody body_{waiter_};
  TimeLimit limit_;
  crypto::PublicKey peer_;
  wire::Envelope envelope_;
  std::shared_ptr<const crypto::SecretBuffer> given_;
  Redactor redactor_;
  std::shared_ptr<Upstream> upstream_;
  std::shared_ptr<UpstreamLink> link_;
  bool late_ = false;
};

}  // namespace

CallUser* begin_exchange(const ExchangeNeeds& needs, Call& call) {
  const auto exchange = std::make_shared<Exchange>(needs, call);
  asio::co_spawn(
      needs.io, [exchange] { return exchange->run(); }, asio::detached);
  return exchange->user();
}

}  // namespace sluice::agent
