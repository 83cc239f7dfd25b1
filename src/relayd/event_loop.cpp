#include "relayd/event_loop.h"

#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <fmt/format.h>

#include "base/log.h"
#include "control/admin_api.h"
#include "control/config_parts.h"
#include "http/tcp_listener.h"
#include "http/tls_front.h"
#include "http/unix_server.h"

namespace sluice::relayd {
namespace asio = boost::asio;

namespace {

cpu_set_t allowed_cores() {
  cpu_set_t out;
  CPU_ZERO(&out);
  (void)sched_getaffinity(0, sizeof out, &out);
  return out;
}

}  // namespace

struct EventLoop::Impl {
  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  asio::signal_set signals{io, SIGTERM, SIGINT, SIGHUP};
  asio::steady_timer pause{io};
  std::unique_ptr<control::AdminApi> api;
  std::unique_ptr<http::UnixServer> server;
  std::unique_ptr<http::TlsFront> tls;  // hands connections to it
  std::unique_ptr<http::UnixServer> metrics_server;
  std::unique_ptr<http::TcpListener> metrics;  // hands connections to that one
  const cpu_set_t cores = allowed_cores();
  bool stopping = false;
  bool pausing = false;  // `pause` will fire
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::post(std::function<void()> f) {
  asio::post(impl_->io, std::move(f));
}

namespace {

Result<std::optional<gid_t>> group_id(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const group* g = getgrnam(name.c_str());
  if (g == nullptr) {
    // Root alone may open the socket then, which is the safe reading of a group that is not there.
    spdlog::warn("no group '{}': only root may use the admin socket; groupadd --system {} makes it",
                 name, name);
    return std::nullopt;
  }
  return g->gr_gid;
}

std::set<std::string> certificates(const control::AdminConfig& admin) {
  std::set<std::string> out;
  for (const auto& r : admin.roles) {
    if (!r.certificate.empty()) out.insert(r.certificate);
  }
  return out;
}

// Where neither workers nor control run; if there is none, beside control.
std::vector<unsigned> cores_besides(const cpu_set_t& allowed, const fabric::Topology& t) {
  std::vector<unsigned> spare;
  for (unsigned core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    const bool taken = core == t.control_core ||
                       std::count(t.verifiers.begin(), t.verifiers.end(), core) != 0 ||
                       std::any_of(t.workers.begin(), t.workers.end(),
                                   [core](const auto& w) { return w.core == core; });
    if (!taken) spare.push_back(core);
  }
  return spare.empty() ? std::vector<unsigned>{t.control_core} : spare;
}

// The supplementary groups of a connected process are not in SO_PEERCRED; the socket's mode and
// group let exactly root and the group in, this is the second look at who is obviously allowed.
bool may_connect(const http::PeerCredentials& peer, std::optional<gid_t> group) {
  return peer.uid == 0 || peer.uid == geteuid() || group.has_value();
}

}  // namespace

Result<void> EventLoop::serve_admin(control::Control& control) {
  const auto& admin = control.config().admin;
  auto group = group_id(admin.group);
  if (!group) return tl::unexpected(group.error());
  impl_->api = std::make_unique<control::AdminApi>(control);
  http::ServerOptions options;
  options.path = admin.socket;
  options.service = "sluiced";
  options.mode = *group ? 0660 : 0600;
  options.group = *group;
  options.allow = [g = *group](const http::PeerCredentials& peer) { return may_connect(peer, g); };
  auto server = http::UnixServer::listen(
      impl_->io, std::move(options), [this](http::Request request, http::Respond respond) {
        impl_->api->handle(std::move(request), std::move(respond));
      });
  if (!server) return tl::unexpected(server.error());
  impl_->server = std::move(*server);
  if (auto r = serve_metrics(control.config().observability); !r) return r;
  if (admin.tls.port == 0) return {};
  auto tls = http::TlsFront::listen(
      {.address = admin.tls.address,
       .port = admin.tls.port,
       .files = {admin.tls.certificate, admin.tls.key, admin.tls.client_ca},
       .names = certificates(admin),
       .cores = cores_besides(impl_->cores, control.config().topology)},
      [loop = impl_.get()](Fd socket, http::PeerCredentials peer) {
        asio::post(loop->io, [loop, held = std::make_shared<Fd>(std::move(socket)), peer] {
          if (loop->server) loop->server->adopt(*held, peer);
        });
      });
  if (!tls) return tl::unexpected(tls.error());
  impl_->tls = std::move(*tls);
  spdlog::info("admin API on {}:{} for certificates of {}", admin.tls.address, admin.tls.port,
               admin.tls.client_ca);
  return {};
}

// A server of its own: strangers on its port take no connection of the admin socket's, and its
// handler reaches nothing but the figures.
Result<void> EventLoop::serve_metrics(const control::ObservabilityConfig& config) {
  if (config.metrics_port == 0) return {};
  impl_->metrics_server = http::UnixServer::adopting(
      impl_->io,
      {.path = fmt::format("the port of metrics, {}", config.metrics_port),
       .service = "sluiced",
       .group = {},
       .max_connections = 32,
       .body_limit = 1024,
       .allow = {}},
      [this](const http::Request& request, const http::Respond& respond) {
        impl_->api->metrics(request, respond);
      });
  auto listener = http::TcpListener::listen(
      impl_->io, config.metrics_address, config.metrics_port, "metrics",
      [this](const Fd& socket) { impl_->metrics_server->adopt(socket, {}); });
  if (!listener) return tl::unexpected(listener.error());
  impl_->metrics = std::move(*listener);
  spdlog::info("metrics on http://{}/metrics",
               control::join_listen(config.metrics_address, config.metrics_port));
  return {};
}

std::vector<unsigned> EventLoop::spare_cores(const fabric::Topology& topology) const {
  return cores_besides(impl_->cores, topology);
}

void EventLoop::run(control::Control& control, const std::function<void()>& reload) {
  Impl& loop = *impl_;
  std::function<void()> wait_for_signal = [&] {
    loop.signals.async_wait([&](const boost::system::error_code& ec, int signal) {
      if (ec) return;
      if (signal == SIGHUP) {
        reload();
        return wait_for_signal();
      }
      spdlog::info("signal {}: draining", signal);
      loop.stopping = true;
    });
  };
  wait_for_signal();
  while (!loop.stopping) {
    loop.io.poll();
    const unsigned pause_us = control.poll();
    if (pause_us == 0) continue;
    // A timer has timerfd's resolution; run_one_for() would round up to epoll's milliseconds.
    // A wait that is still running is kept: setting it anew cancels it, the cancelled handler ends
    // run_one() at once, and the loop would spin from the first request on.
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(pause_us);
    if (!loop.pausing || loop.pause.expiry() > until) {
      loop.pause.expires_at(until);
      loop.pausing = true;
      loop.pause.async_wait([&loop](const boost::system::error_code& ec) {
        if (!ec) loop.pausing = false;
      });
    }
    loop.io.run_one();
  }
  loop.signals.cancel();
  loop.tls.reset();
  loop.metrics.reset();
  loop.metrics_server.reset();
  loop.server.reset();
  loop.api.reset();  // its thread reads the arena
}

}  // namespace sluice::relayd
