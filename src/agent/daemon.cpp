#include "agent/daemon.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include "agent/api.h"
#include "agent/front/front_api.h"
#include "agent/front/route.h"
#include "agent/identity_change.h"
#include "agent/key_log.h"
#include "agent/log_tail.h"
#include "agent/offload_probe.h"
#include "agent/request.h"
#include "agent/settings.h"
#include "agent/state_folder.h"
#include "agent/tun/link.h"
#include "agent/udp_socket.h"
#include "base/log.h"
#include "http/unix_server.h"

namespace sluice::agent {
namespace {

namespace asio = boost::asio;
using asio::ip::udp;
using boost::system::error_code;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr size_t kDatagramsPerRound = 512;  // between them timers and the API get their turn
constexpr milliseconds kProbeEvery{2'000};
constexpr std::chrono::minutes kWarnEvery{10};  // of a key log
constexpr uint64_t kLongestSleepUs = 3'600'000'000;
constexpr uint64_t kResolveEveryMs = 10'000;  // while there is no session
constexpr uint64_t kErrorEveryMs = 10'000;
constexpr mode_t kSocketMode = 0600;
constexpr int kKeptMemory = 8 << 20;
constexpr rlim_t kMostFiles = 65'536;
constexpr size_t kBodyLimit = 24u << 20;  // a request of a call, in base64

template <typename Clock>
uint64_t count_us() {
  return uint64_t(
      std::chrono::duration_cast<microseconds>(Clock::now().time_since_epoch()).count());
}

Instant instant() {
  const uint64_t us = count_us<std::chrono::steady_clock>();
  return {{us / 1000, count_us<std::chrono::system_clock>() / 1000}, us};
}

UdpAddress to_address(const udp::endpoint& endpoint) {
  UdpAddress out;
  out.size = static_cast<socklen_t>(endpoint.size());
  std::memcpy(&out.storage, endpoint.data(), endpoint.size());
  return out;
}

class Daemon {
 public:
  Daemon(const std::string& state, AgentIdentity identity, Pins pins, Settings settings,
         std::optional<KeyLog> key_log, std::optional<TunDevice> tun);
  Result<void> run();

 private:
  void report(Level level, std::string text);
  DaemonView view() const;
  bool room(size_t datagrams = 1);

  void resolve();
  void on_resolved(error_code ec, const udp::resolver::results_type& results);
  void use_relay(const UdpAddress& relay);
  void probe();

  Result<void> open_front();
  std::function<void(const crypto::KeyLogEntry&)> key_log_hook();
  void warn_of_key_log();
  void stop_soon();
  http::Response logs(const http::Request& request) const;
  bool carries_http(const wire::Envelope& envelope) const {
    return envelope.service == kHttpService;
  }
  void kick();

  std::optional<uint64_t> ask_as_one(Now now);
  void check_offload(Now now);

  void wait_readable();
  void wait_writable();
  void after_work();
  void arm_timer(Instant at);
  void save_pins_if_changed();
  void note_send_error(Instant at);

  std::string state_;
  AgentIdentity identity_;
  Pins pins_;
  asio::io_context io_{1};
  asio::signal_set signals_{io_, SIGINT, SIGTERM};
  asio::steady_timer timer_{io_};
  asio::steady_timer probe_timer_{io_};
  asio::steady_timer stop_timer_{io_};
  asio::steady_timer key_log_timer_{io_};
  udp::resolver resolver_{io_};
  std::optional<UdpSocket> udp_;
  std::optional<asio::posix::stream_descriptor> events_;  // of udp_
  bool writable_awaited_ = false;

  LastError last_error_;
  uint64_t started_unix_ms_;
  std::string own_address_;
  uint64_t next_resolve_ms_ = 0;
  size_t resolved_ = 0;  // counts, to try a name's addresses in turn
  std::optional<uint64_t> send_error_ms_;
  std::optional<uint64_t> save_error_ms_;
  bool was_up_ = false;
  bool kicked_ = false;
  uint64_t armed_us_ = kNever;
  OffloadProbe offload_{[this](Now now) { return ask_as_one(now); }};
  Settings settings_;
  std::optional<KeyLog> key_log_;
  std::shared_ptr<LogTail> log_ = keep_log_tail();

  Agent agent_;
  IdentityChange change_;
  Api api_;
  Upstreams upstreams_;
  std::unique_ptr<TunLink> tun_;
  std::unique_ptr<Front> front_;
  FrontApi front_api_;
  std::unique_ptr<http::UnixServer> server_;
};

Daemon::Daemon(const std::string& state, AgentIdentity identity, Pins pins, Settings settings,
               std::optional<KeyLog> key_log, std::optional<TunDevice> tun)
    : state_(state),
      identity_(std::move(identity)),
      pins_(std::move(pins)),
      started_unix_ms_(instant().now.unix_ms),
      settings_(std::move(settings)),
      key_log_(std::move(key_log)),
      agent_(AgentConfig{&identity_.identity, &identity_.e2e_key, &pins_, identity_.join.relay_key,
                         identity_.join.relay_id, identity_.join.token, identity_.name,
                         identity_.relay_name(), crypto::random_u64},
             AgentHooks{
                 [this](Bytes datagram) {
                   if (udp_) udp_->add(datagram);
                 },
                 [this](const PeerEdge& from, Bytes data) { api_.on_message(from, data); },
                 [this](const crypto::PublicKey& from, uint64_t id) {
                   api_.on_pong(from, id, instant().us);
                 },
                 [this](Level level, std::string text) { report(level, std::move(text)); },
                 [this] { return room(); },
                 [this](const PeerEdge& from, const wire::Envelope& envelope) {
                   return carries_http(envelope) ? upstreams_.admit(from, envelope)
                                                 : api_.servers().admit(from, envelope);
                 },
                 [this](Call& call) { api_.servers().on_request(call); },
                 [this](const Call& call) { api_.servers().on_cancelled(call); },
                 [this](Call& call) {
                   return carries_http(call.envelope()) ? upstreams_.user(call) : nullptr;
                 },
                 key_log_hook(),
                 tun ? [this](const PeerEdge& from, Bytes packet) { tun_->from_peer(from, packet); }
                     : std::function<void(const PeerEdge&, Bytes)>()}),
      change_(state, identity_, pins_, agent_,
              [this](Level level, std::string text) { report(level, std::move(text)); }),
      api_(
          identity_, pins_, agent_, change_, [this] { return room(); }, [this] { return view(); }),
      upstreams_(io_, agent_, [this] { kick(); }),
      front_api_(upstreams_, front_) {
  if (!tun) return;
  tun_ = std::make_unique<TunLink>(
      io_, agent_, identity_.join.relay_id, std::move(*tun),
      TunLinkHooks{[this](size_t datagrams) { return room(datagrams); }, [this] { kick(); },
                   [] { return instant(); },
                   [this](Level level, std::string text) { report(level, std::move(text)); }});
}

void Daemon::report(Level level, std::string text) {
  switch (level) {
    case Level::kInfo:
      spdlog::info("{}", text);
      return;
    case Level::kWarn:
      spdlog::warn("{}", text);
      break;
    case Level::kError:
      spdlog::error("{}", text);
      break;
  }
  last_error_ = {std::move(text), instant().now.unix_ms};
}

DaemonView Daemon::view() const {
  DaemonView out;
  out.own_address = own_address_;
  out.last_error = last_error_;
  out.started_unix_ms = started_unix_ms_;
  if (key_log_) out.key_log = key_log_->path();
  if (tun_) out.tun = tun_->describe();
  out.offload = offload_.verdict() == OffloadProbe::Verdict::kYes  ? "on"
                : offload_.verdict() == OffloadProbe::Verdict::kNo ? "off"
                                                                   : "asking";
  if (!udp_) return out;
  const UdpCounters& c = udp_->counters();
  out.relay_address = udp_->relay().text();
  out.udp_sent = c.sent;
  out.udp_received = c.received;
  out.udp_dropped = c.dropped_full + c.dropped_stranger;
  out.udp_errors = c.send_errors;
  return out;
}

bool Daemon::room(size_t datagrams) {
  if (!udp_) return false;
  if (!udp_->room(datagrams)) udp_->flush();
  return udp_->room(datagrams);
}

Result<void> Daemon::run() {
  http::ServerOptions options{.path = socket_path(state_),
                              .service = "sluice-agent",
                              .mode = kSocketMode,
                              .body_limit = kBodyLimit};
  auto server =
      http::UnixServer::listen(io_, options, [this](http::Request r, http::Respond respond) {
        if (r.path == "/v1/stop" && r.method == "POST") {
          respond(json_response(nlohmann::json::object()));
          return stop_soon();
        }
        if (r.path == "/v1/logs" && r.method == "GET") return respond(logs(r));
        if (front_api_.handles(r)) {
          front_api_.handle(r, respond, instant());
        } else {
          api_.handle(r, std::move(respond), instant());
        }
        after_work();
      });
  if (!server) return tl::unexpected(server.error());
  server_ = std::move(*server);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = std::min(files.rlim_max, kMostFiles);
    setrlimit(RLIMIT_NOFILE, &files);
  }
  // What one burst of requests gave back, the next one takes.
  mallopt(M_TRIM_THRESHOLD, kKeptMemory);
  if (auto ok = open_front(); !ok) return ok;
  signals_.async_wait([this](error_code, int signal) {
    spdlog::info("stopping on {}", strsignal(signal));
    io_.stop();
  });
  spdlog::info("{} ({}) to relay {}, API on {}", identity_.did(), identity_.name,
               identity_.relay_name(), options.path);
  if (key_log_) warn_of_key_log();
  if (auto ok = change_.resume(); !ok) return ok;
  agent_.start(instant().now);
  resolve();
  probe();
  after_work();
  io_.run();
  server_.reset();
  return {};
}

std::function<void(const crypto::KeyLogEntry&)> Daemon::key_log_hook() {
  if (!key_log_) return nullptr;
  return [this](const crypto::KeyLogEntry& entry) {
    key_log_->write(entry,
                    [this](Level level, std::string text) { report(level, std::move(text)); });
  };
}

// Until it is off: whoever looks at the log, or at the status, is to see it.
void Daemon::warn_of_key_log() {
  spdlog::warn(
      "KEY LOG ON: the keys of every session are written to {}; whoever has that file reads all "
      "that this agent says and hears. To end it, take --keylog (or keylog in agent.yaml) "
      "away, restart, and remove the file",
      key_log_->path());
  key_log_timer_.expires_after(kWarnEvery);
  key_log_timer_.async_wait([this](error_code ec) {
    if (!ec) warn_of_key_log();
  });
}

// The answer leaves first.
void Daemon::stop_soon() {
  spdlog::info("stopping: sluice-agent down");
  stop_timer_.expires_after(milliseconds(100));
  stop_timer_.async_wait([this](error_code) { io_.stop(); });
}

http::Response Daemon::logs(const http::Request& request) const {
  const auto from = query_number(request, "from", 0, ~uint64_t{0} >> 1, 0);
  if (!from) return http::error_response(from.error());
  return json_response({{"lines", log_->since(*from)}, {"next", log_->next()}});
}

Result<void> Daemon::open_front() {
  upstreams_.allow(settings_.egress_allow);
  for (const UpstreamConfig& c : settings_.serve) {
    if (auto ok = upstreams_.set("", 0, c, instant().us); !ok) return ok;
  }
  if (settings_.front.listen.empty()) return {};
  auto front = Front::listen(
      io_, settings_.front, agent_,
      [this] {
        const Now now = instant().now;
        agent_.touch(now);
        return now;
      },
      [this] { kick(); });
  // Another agent of this host has the usual address: this one goes on without.
  if (!front && front.error().code == ErrorCode::kConflict && !settings_.front.given) {
    report(Level::kWarn, front.error().message);
    return {};
  }
  if (!front) return tl::unexpected(front.error());
  front_ = std::move(*front);
  spdlog::info("HTTP front on http://{}/PEER/…", front_->address());
  return {};
}

// Whatever a coroutine gave the agent to do is done once, when all that are ready have run.
void Daemon::kick() {
  if (std::exchange(kicked_, true)) return;
  asio::post(io_, [this] {
    kicked_ = false;
    after_work();
  });
}

// --- Where the relay is -----------------------------------------------------------------------

void Daemon::resolve() {
  next_resolve_ms_ = instant().now.mono_ms + kResolveEveryMs;
  resolver_.async_resolve(identity_.join.host, std::to_string(identity_.join.port),
                          udp::resolver::numeric_service,
                          [this](error_code ec, const udp::resolver::results_type& results) {
                            if (ec != asio::error::operation_aborted) on_resolved(ec, results);
                          });
}

void Daemon::on_resolved(error_code ec, const udp::resolver::results_type& results) {
  if (ec || results.empty()) {
    return report(Level::kError,
                  fmt::format("the relay's name {} cannot be resolved: {}; trying again "
                              "every {} s",
                              identity_.join.host, ec.message(), kResolveEveryMs / 1000));
  }
  const auto chosen = std::next(results.begin(), std::ptrdiff_t(resolved_++ % results.size()));
  use_relay(to_address(chosen->endpoint()));
}

void Daemon::use_relay(const UdpAddress& relay) {
  if (udp_ && udp_->relay() == relay) return;
  if (!udp_ || udp_->relay().v6() != relay.v6()) {
    auto socket = UdpSocket::open(relay);
    if (!socket) return report(Level::kError, socket.error().message);
    // Both close what they have, so each has a descriptor of its own.
    const int events = fcntl(socket->fd(), F_DUPFD_CLOEXEC, 0);
    if (events < 0) return report(Level::kError, "no file descriptor is left for the UDP socket");
    events_.reset();
    udp_.emplace(std::move(*socket));
    events_.emplace(io_, events);
    writable_awaited_ = false;
    agent_.set_ipv6(relay.v6());
    wait_readable();
  } else {
    udp_->set_relay(relay);
  }
  own_address_ = probe_source(relay);
  udp_->set_offload(false);
  offload_.restart();
  spdlog::info("relay {} is at {}", identity_.relay_name(), relay.text());
  agent_.path_changed(instant().now);
  after_work();
}

// The socket has no address of its own, so a change of the host's goes unnoticed on it; the relay
// learns of it from the next packet, which is sent at once instead of when somebody has something
// to say.
void Daemon::probe() {
  const auto now = instant().now;
  if (udp_) {
    std::string source = probe_source(udp_->relay());
    if (source != own_address_) {
      spdlog::info("own address towards the relay is now {}", source.empty() ? "none" : source);
      own_address_ = std::move(source);
      udp_->set_offload(false);
      offload_.restart();
      if (!own_address_.empty()) agent_.path_changed(now);
    }
  }
  const bool up = agent_.tunnel().up(now);
  if (was_up_ && !up) next_resolve_ms_ = now.mono_ms + kResolveEveryMs;
  was_up_ = up;
  if (!up && now.mono_ms >= next_resolve_ms_) resolve();
  after_work();
  probe_timer_.expires_after(kProbeEvery);
  probe_timer_.async_wait([this](error_code ec) {
    if (!ec) probe();
  });
}

// --- Segmentation offload ------------------------------------------------------------------------

std::optional<uint64_t> Daemon::ask_as_one(Now now) {
  if (!udp_ || !agent_.tunnel().up(now)) return std::nullopt;
  udp_->flush();
  if (udp_->pending()) return std::nullopt;
  const auto value = agent_.probe(now);
  if (value && !udp_->flush_as_one()) offload_.give_up();
  return value;
}

void Daemon::check_offload(Now now) {
  const auto before = offload_.verdict();
  offload_.on_answer(agent_.tunnel().answered_probe());
  offload_.tick(now);
  if (offload_.verdict() == before) return;
  const bool on = offload_.verdict() == OffloadProbe::Verdict::kYes;
  if (udp_) udp_->set_offload(on);
  spdlog::info("segmentation offload is {}: the path to the relay {}", on ? "on" : "off",
               on ? "takes it" : "does not take it");
}

// --- Datagrams and time -----------------------------------------------------------------------

void Daemon::wait_readable() {
  events_->async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code ec) {
    if (ec) return;
    const Now now = instant().now;
    udp_->receive(kDatagramsPerRound, [&](MutBytes d) { agent_.receive(d, now); });
    after_work();
    wait_readable();
  });
}

void Daemon::wait_writable() {
  if (writable_awaited_) return;
  writable_awaited_ = true;
  events_->async_wait(asio::posix::stream_descriptor::wait_write, [this](error_code ec) {
    if (ec) return;
    writable_awaited_ = false;
    after_work();
  });
}

// After anything that may have changed something: lets requests go on, hands datagrams to the
// kernel, and sets the timer for whatever is due next.
void Daemon::after_work() {
  const Instant at = instant();
  change_.poll(at.now);
  api_.pump(at);
  upstreams_.pump(at.us);
  if (tun_) tun_->pump();
  check_offload(at.now);
  if (udp_) {
    udp_->flush();
    if (udp_->pending()) wait_writable();
    note_send_error(at);
  }
  if (pins_.changed) save_pins_if_changed();
  arm_timer(at);
}

// Set anew only to fire earlier: a timer costs a system call, and one that fires early finds
// nothing due.
void Daemon::arm_timer(Instant at) {
  uint64_t wake = std::min({agent_.deadline(at.now) * 1000, api_.wake_us(), upstreams_.wake_us(),
                            offload_.deadline() == kNever ? kNever : offload_.deadline() * 1000});
  // What waits for room goes on when the socket is writable.
  if (udp_ && !udp_->room()) wake = std::max(wake, at.us + 1'000);
  wake = std::min(wake, at.us + kLongestSleepUs);
  if (armed_us_ != kNever && wake >= armed_us_) return;
  armed_us_ = wake;
  timer_.expires_after(microseconds(wake > at.us ? wake - at.us : 0));
  timer_.async_wait([this](error_code ec) {
    if (ec) return;
    armed_us_ = kNever;
    agent_.tick(instant().now);
    after_work();
  });
}

void Daemon::note_send_error(Instant at) {
  const int e = udp_->take_error();
  if (e == 0 || (send_error_ms_ && at.now.mono_ms < *send_error_ms_ + kErrorEveryMs)) return;
  send_error_ms_ = at.now.mono_ms;
  report(Level::kWarn,
         e == EMSGSIZE
             ? fmt::format("a packet was too large for the path to {}; the relay's "
                           "MTU setting is above what this network carries",
                           udp_->relay().text())
             : fmt::format("cannot send to {}: {}", udp_->relay().text(), std::strerror(e)));
}

void Daemon::save_pins_if_changed() {
  const uint64_t now = instant().now.mono_ms;
  if (save_error_ms_ && now < *save_error_ms_ + kErrorEveryMs) return;
  if (auto saved = save_pins(pins_path(state_), pins_); !saved) {
    save_error_ms_ = now;
    report(Level::kError,
           fmt::format("keys of others are not remembered: {}", saved.error().message));
  }
}

}  // namespace

Result<void> run_daemon(const std::string& state, AgentIdentity identity,
                        const UpOptions& options) {
  auto pins = load_pins(pins_path(state));
  if (!pins) return tl::unexpected(pins.error());
  auto settings = load_settings(settings_path(state));
  if (!settings) return tl::unexpected(settings.error());
  std::optional<KeyLog> log;
  if (const std::string& path = options.key_log.empty() ? settings->key_log : options.key_log;
      !path.empty()) {
    auto opened = KeyLog::open(std::filesystem::absolute(path));
    if (!opened) return tl::unexpected(opened.error());
    log.emplace(std::move(*opened));
  }
  std::optional<TunDevice> tun;
  if (const std::string& name = options.tun.empty() ? settings->tun : options.tun; !name.empty()) {
    auto opened = TunDevice::open(name);
    if (!opened) return tl::unexpected(opened.error());
    tun.emplace(std::move(*opened));
  }
  Daemon daemon(state, std::move(identity), std::move(*pins), std::move(*settings), std::move(log),
                std::move(tun));
  return daemon.run();
}

}  // namespace sluice::agent
