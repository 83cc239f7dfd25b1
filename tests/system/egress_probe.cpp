// The callee's HTTP side with what the relay gives for a call, and nothing of the relay: two
// agents' calls pass frames to each other in this process (agent_call_fixture.h), and the callee's
// go to the servers and endpoints that egress_test.py has started. Requests come as lines of JSON
// on standard input, many at a time; what was answered goes to standard output.
//   {"id":1,"upstream":"http://…" or absent,"allow":[…],"server":"…" or
//   absent,"credential":[[1,HEX],…],
//    "head":"GET / HTTP/1.1\r\n…","body":"…","body_bytes":N,"slow":true,"leave_after":N}
//   {"id":1,"head":"…","bytes":N,"sha256":"…","body":"…","end":"done"}   body: of small ones
//   {"id":1,"so_far":"…"}                                                of those with "tell"
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <map>

#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include "agent/front/upstreams.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "crypto/text.h"
#include "unit/agent_call_fixture.h"
#include "wire/credential.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr size_t kSmall = 64u << 10;
constexpr size_t kSlowPiece = 16u << 10;  // of a caller that takes its time, each time round

uint64_t clock_ms(auto now) {
  return uint64_t(
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
}

// A caller: what of its request is left, and what was answered.
struct Caller final : CallUser {
  json order;
  Call* call = nullptr;
  uint64_t body_left = 0;
  std::string head, body;
  uint64_t bytes = 0;
  uint64_t sum = 0;  // of the body's bytes, each by its place
  bool over = false, told = false;
  CallEnd end = CallEnd::kNone;

  void on_bytes(Call&) override {}
  void on_room(Call&) override {}
  void on_end(Call& ended) override {
    end = ended.ended_as();
    call = nullptr;
    over = true;
  }
  void take(Bytes part) {
    for (const uint8_t byte : part) {
      if (!head.ends_with("\r\n\r\n")) {
        head += static_cast<char>(byte);
        continue;
      }
      sum += byte * (bytes % 251 + 1);
      if (body.size() < kSmall) body += static_cast<char>(byte);
      ++bytes;
    }
  }
};

class Probe final : public CallPair {
 public:
  void TestBody() override {}

  Probe()
      : agent_(
            AgentConfig{&b.identity, &own_key_, &pins_, {}, {}, {}, "beta", "", crypto::random_u64},
            AgentHooks{}),
        upstreams_(io_, agent_, [] {}) {
    a.echo = b.echo = false;
    b.user = [this](Call& call) { return serve(call); };
  }

  // As the daemon: calls go before the event loop that their exchanges live in.
  ~Probe() override {
    for (auto& caller : callers_) {
      if (caller->call != nullptr) std::exchange(caller->call, nullptr)->leave();
    }
    b.calls.reset();
  }

  int run() {
    std::string input;
    for (;;) {
      step();
      pollfd in{STDIN_FILENO, POLLIN, 0};
      if (poll(&in, 1, 0) > 0) {
        char piece[65'536];
        const ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
        if (n <= 0) return 0;  // whatever is under way
        input.append(piece, size_t(n));
      }
      for (size_t end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
        begin(json::parse(input.substr(0, end)));
        input.erase(0, end + 1);
      }
      io_.restart();
      io_.run_for(std::chrono::milliseconds(1));
      step();
      for (auto& caller : callers_) go_on(*caller);
      std::erase_if(callers_, [](const auto& c) { return c->told; });
      step();
    }
  }

 private:
  void step() {
    now = {clock_ms(std::chrono::steady_clock::now()), clock_ms(std::chrono::system_clock::now())};
    for (Party* p : {&a, &b}) {
      if (p->session->deadline() <= now.mono_ms) p->session->tick(now);
      if (p->calls->deadline() <= now.mono_ms) p->calls->tick(now);
    }
    settle();
  }

  void begin(const json& order) {
    auto caller = std::make_unique<Caller>();
    caller->order = order;
    CallRequest request;
    request.capability = wire::Capability::kToolCall;
    request.service = 80;
    request.timeout_ms = kNever;
    request.user = caller.get();
    const std::string text = order["head"].get<std::string>() + order.value("body", "");
    request.data.assign(text.begin(), text.end());
    caller->body_left = order.value("body_bytes", uint64_t{0});
    request.ended = caller->body_left == 0;
    const auto id = a.calls->open(a.edge, std::move(request), now);
    if (!id) std::abort();
    caller->call = a.calls->mine(*id);
    orders_[*id] = order;
    callers_.push_back(std::move(caller));
  }

  // Each order has a server of its own, under the path that its request begins with, unless it
  // names one that others use too.
  static std::string server_of(const json& order) {
    return order.value("server", std::to_string(order["id"].get<uint64_t>()));
  }

  // What a relay and a daemon do for a call: the credential first, then who has it.
  CallUser* serve(Call& call) {
    const json& order = orders_[call.id()];
    // Their bits are turned round on the way here: what a search of this memory finds later is not
    // this program's.
    crypto::SecretBuffer text(64u << 10);
    MutBytes rest = text.bytes();
    for (const auto& f : order.value("credential", json::array())) {
      const auto turned = *crypto::from_hex(f[1].get_ref<const std::string&>());
      crypto::SecretBuffer value(turned);
      for (uint8_t& byte : value.bytes()) byte = static_cast<uint8_t>(~byte);
      rest =
          wire::write_credential_field(rest, wire::CredentialField(f[0].get<int>()), value.view());
    }
    const Bytes content = text.view().first(text.size() - rest.size());
    if (!content.empty())
      call.set_credential(std::make_shared<const crypto::SecretBuffer>(content));
    UpstreamConfig config;
    config.timeout_s = order.value("timeout_s", uint64_t{20});
    if (order.contains("upstream")) {
      config.url = *parse_upstream(order["upstream"].get<std::string>());
      config.strip_cookies = order.value("strip_cookies", false);
    } else {
      config.allow = order.value("allow", std::vector<std::string>{});
      make_egress(config);
    }
    const std::string server = server_of(order);
    config.prefix = "/" + server;
    (void)upstreams_.set(server, getpid(), config, 0);
    return upstreams_.user(call);
  }

  void go_on(Caller& c) {
    const bool slow = c.order.value("slow", false);
    if (c.call != nullptr && c.body_left > 0) {
      const std::string piece(std::min<uint64_t>(c.body_left, slow ? kSlowPiece : 262'144), 'b');
      if (c.call->may_write()) c.body_left -= c.call->write(as_bytes(piece));
      if (c.body_left == 0) c.call->end_writing(0);
    }
    size_t taken = 0;
    while (c.call != nullptr) {
      const Bytes part = c.call->readable();
      if (part.empty() || (slow && taken >= kSlowPiece)) break;
      taken += part.size();
      c.take(part);
      c.call->consume(part.size());
    }
    if (c.order.contains("leave_after") && c.call != nullptr &&
        c.bytes >= c.order["leave_after"].get<uint64_t>() && !c.head.empty()) {
      std::exchange(c.call, nullptr)->leave();
      c.over = true;
      c.end = CallEnd::kCancelled;
    }
    if (c.order.value("tell", false) && taken > 0) {
      say({{"id", c.order["id"]}, {"so_far", c.body}});
    }
    if (!c.over || c.told) return;
    c.told = true;
    if (!c.order.contains("server")) upstreams_.drop(server_of(c.order));
    say({{"id", c.order["id"]},
         {"head", c.head},
         {"bytes", c.bytes},
         {"sum", c.sum},
         {"body", c.bytes <= kSmall ? c.body : ""},
         {"end", info(c.end).name}});
  }

  static void say(const json& line) {
    std::cout << line.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }

  asio::io_context io_;
  Pins pins_;
  crypto::X25519KeyPair own_key_ = crypto::X25519KeyPair::generate();
  Agent agent_;
  Upstreams upstreams_;
  std::map<uint64_t, json> orders_;
  std::vector<std::unique_ptr<Caller>> callers_;
};

}  // namespace
}  // namespace sluice::agent

int main() {
  if (!sluice::crypto::init()) return 2;
  return sluice::agent::Probe().run();
}
