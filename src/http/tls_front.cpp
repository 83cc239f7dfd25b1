#include "http/tls_front.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <list>
#include <map>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "base/log.h"
#include "base/thread.h"
#include "http/bounds.h"

namespace sluice::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr milliseconds kFarewell{2'000};

// The certificate's one common name; empty: it has none, several, or one with a zero byte.
std::string common_name(SSL* ssl) {
  const X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr) return {};
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string out(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return out.find('\0') == std::string::npos ? out : std::string();
}

// Of the certificate that was shown; negative when it has ended.
milliseconds time_left(SSL* ssl) {
  const X509* certificate = SSL_get0_peer_certificate(ssl);
  int days = 0, seconds = 0;
  if (certificate == nullptr ||
      ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate)) != 1) {
    return milliseconds(-1);
  }
  return std::chrono::hours(24) * days + std::chrono::seconds(seconds);
}

// In the background of whatever shares its cores.
void settle_on(const std::vector<unsigned>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const unsigned core : cores) CPU_SET(core, &set);
  if (!cores.empty()) pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);
}

}  // namespace

struct TlsFront::Core {
  using Tunnels = std::list<std::shared_ptr<Tunnel>>;

  Core(TlsOptions o, Adopt a) : options(std::move(o)), adopt(std::move(a)) {}
  void run();
  void accept();
  void on_accept(error_code ec, tcp::socket socket);
  void admit(tcp::socket socket);
  void make_room(const asio::ip::address& from);
  void refuse(const std::string& why);
  void stop();

  const TlsOptions options;
  const Adopt adopt;
  asio::io_context io{1};
  asio::ssl::context tls{asio::ssl::context::tls_server};
  tcp::acceptor acceptor{io};
  asio::steady_timer pause{io};
  Tunnels strangers;  // in their handshake, longest first
  Tunnels admitted;
  uint64_t refused = 0;  // since the last warning
  std::chrono::steady_clock::time_point next_warning{};
  bool stopped = false;
  std::thread thread;
};

// One connection. Pending operations keep it alive; its list does until close().
class TlsFront::Tunnel : public std::enable_shared_from_this<Tunnel> {
 public:
  Tunnel(Core& core, tcp::socket socket, asio::ip::address from)
      : core_(core),
        tls_(std::move(socket), core.tls),
        inner_(core.io),
        life_(core.io),
        writing_(core.io),
        from_(std::move(from)) {}

  const asio::ip::address& from() const { return from_; }
  const std::string& name() const { return name_; }
  void start(Core::Tunnels::iterator position) {
    position_ = position;
    close_after(life_, core_.options.handshake_timeout);
    tls_.async_handshake(asio::ssl::stream_base::server,
                         [self = shared_from_this()](error_code ec) {
                           if (self->closed_) return;
                           if (ec) {
                             self->core_.refuse(ec.message());
                             return self->close();
                           }
                           self->admit();
                         });
  }
  void close() {
    if (closed_) return;
    closed_ = true;
    life_.cancel();
    writing_.cancel();
    error_code ignored;
    tls_.lowest_layer().close(ignored);
    inner_.close(ignored);
    const auto self = shared_from_this();
    list_->erase(position_);
  }

 private:
  void admit();
  const char* unwelcome();
  void inwards();
  void outwards();
  void say_goodbye();
  void drain();
  void close_after(asio::steady_timer& timer, milliseconds timeout) {
    timer.expires_after(timeout);
    timer.async_wait([self = shared_from_this(), &timer](error_code ec) {
      if (!ec && timer.expiry() <= std::chrono::steady_clock::now()) self->close();
    });
  }

  Core& core_;
  asio::ssl::stream<tcp::socket> tls_;
  asio::local::stream_protocol::socket inner_;
  asio::steady_timer life_;     // of the handshake, then of the connection
  asio::steady_timer writing_;  // of what the caller has to take
  asio::ip::address from_;
  std::string name_;
  Core::Tunnels* list_ = &core_.strangers;
  Core::Tunnels::iterator position_{};
  std::array<char, 16384> in_{}, out_{};
  bool leaving_ = false;
  bool closed_ = false;
};

// Why not, or null.
const char* TlsFront::Tunnel::unwelcome() {
  name_ = common_name(tls_.native_handle());
  if (name_.empty()) return "the certificate has not exactly one common name";
  if (!core_.options.names.contains(name_)) return "the certificate's name has no role";
  if (time_left(tls_.native_handle()) <= milliseconds(0)) return "the certificate has ended";
  const auto mine = std::count_if(core_.admitted.begin(), core_.admitted.end(),
                                  [&](const auto& t) { return t->name() == name_; });
  if (static_cast<size_t>(mine) >= core_.options.max_per_name) {
    return "too many connections of one name";
  }
  if (core_.admitted.size() >= core_.options.max_admitted) return "too many connections";
  return nullptr;
}

void TlsFront::Tunnel::admit() {
  if (const char* why = unwelcome()) {
    core_.refuse(why);
    return close();
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    core_.refuse(strerror(errno));
    return close();
  }
  Fd theirs(pair[1]);
  error_code ec;
  inner_.assign(asio::local::stream_protocol(), pair[0], ec);
  if (ec) {
    ::close(pair[0]);
    core_.refuse(ec.message());
    return close();
  }
  core_.admitted.splice(core_.admitted.end(), core_.strangers, position_);
  list_ = &core_.admitted;
  close_after(life_, std::min(core_.options.longest, time_left(tls_.native_handle())));
  core_.adopt(std::move(theirs),
              {.pid = 0, .uid = uid_t(-1), .gid = gid_t(-1), .certificate = name_});
  inwards();
  outwards();
}

void TlsFront::Tunnel::inwards() {
  tls_.async_read_some(asio::buffer(in_), [self = shared_from_this()](error_code ec, size_t n) {
    if (self->closed_) return;
    if (ec) {
      // The server may still be answering.
      error_code ignored;
      self->inner_.shutdown(asio::local::stream_protocol::socket::shutdown_send, ignored);
      return;
    }
    if (self->leaving_) return self->inwards();
    asio::async_write(self->inner_, asio::buffer(self->in_, n), [self, n](error_code, size_t) {
      explicit_bzero(self->in_.data(), n);  // it may have been a secret
      // Where the server takes no more it has closed, which outwards() hears of.
      if (!self->closed_) self->inwards();
    });
  });
}

void TlsFront::Tunnel::outwards() {
  inner_.async_read_some(asio::buffer(out_), [self = shared_from_this()](error_code ec, size_t n) {
    if (self->closed_) return;
    if (ec) return self->say_goodbye();
    self->close_after(self->writing_, self->core_.options.write_timeout);
    asio::async_write(self->tls_, asio::buffer(self->out_, n), [self](error_code e, size_t) {
      if (self->closed_) return;
      // cancel() would leave a wait that has just ended with the time it ended at.
      self->writing_.expires_at(std::chrono::steady_clock::time_point::max());
      if (e) return self->close();
      self->outwards();
    });
  });
}

// The server has closed its end. Without TLS's own end a caller could not tell an answer that is
// whole from one that was cut off; closing with unread bytes could take the answer back.
void TlsFront::Tunnel::say_goodbye() {
  leaving_ = true;
  close_after(life_, kFarewell);
  tls_.async_shutdown([self = shared_from_this()](error_code) {
    if (self->closed_) return;
    error_code ignored;
    self->tls_.next_layer().shutdown(tcp::socket::shutdown_send, ignored);
    self->drain();
  });
}

void TlsFront::Tunnel::drain() {
  tls_.next_layer().async_read_some(asio::buffer(out_),
                                    [self = shared_from_this()](error_code ec, size_t) {
                                      if (self->closed_) return;
                                      if (ec) return self->close();
                                      self->drain();
                                    });
}

void TlsFront::Core::refuse(const std::string& why) {
  ++refused;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_warning) return;
  next_warning = now + kWarningInterval;
  spdlog::warn("admin API on {}:{}: {} refused, the last one: {}", options.address, options.port,
               std::exchange(refused, 0), why);
}

void TlsFront::Core::accept() {
  acceptor.async_accept(
      [this](error_code ec, tcp::socket socket) { on_accept(ec, std::move(socket)); });
}

void TlsFront::Core::on_accept(error_code ec, tcp::socket socket) {
  if (stopped) return;
  if (!ec) {
    try {
      admit(std::move(socket));
    } catch (const std::exception& e) {
      refuse(e.what());  // out of memory: this connection's end, not the relay's
    }
    return accept();
  }
  refuse(ec.message());
  pause.expires_after(kAcceptPause);
  pause.async_wait([this](error_code) {
    if (!stopped) accept();
  });
}

void TlsFront::Core::admit(tcp::socket socket) {
  error_code ec;
  const auto remote = socket.remote_endpoint(ec);
  if (ec) return;  // gone already
  socket.set_option(tcp::no_delay(true), ec);
  make_room(remote.address());
  auto tunnel = std::make_shared<Tunnel>(*this, std::move(socket), remote.address());
  strangers.push_back(tunnel);
  tunnel->start(std::prev(strangers.end()));
}

// Who floods takes places from strangers alone, and from those of his own address first.
void TlsFront::Core::make_room(const asio::ip::address& from) {
  std::map<asio::ip::address, size_t> of;
  for (const auto& t : strangers) ++of[t->from()];
  asio::ip::address busiest = from;
  if (of[from] < options.max_strangers_per_address) {
    if (strangers.size() < options.max_strangers) return;
    // Of several the one whose connection is the oldest.
    size_t most = 0;
    for (const auto& t : strangers) {
      if (of[t->from()] <= most) continue;
      most = of[t->from()];
      busiest = t->from();
    }
  }
  const auto oldest = std::find_if(strangers.begin(), strangers.end(),
                                   [&](const auto& t) { return t->from() == busiest; });
  if (oldest != strangers.end()) (*oldest)->close();
}

void TlsFront::Core::run() {
  settle_on(options.cores);
  while (!stopped) {
    try {
      io.run();
      return;
    } catch (const std::exception& e) {
      refuse(e.what());
    }
  }
}

void TlsFront::Core::stop() {
  stopped = true;
  error_code ignored;
  acceptor.close(ignored);
  pause.cancel();
  for (Tunnels* list : {&strangers, &admitted}) {
    while (!list->empty()) list->front()->close();
  }
}

Result<std::unique_ptr<TlsFront>> TlsFront::listen(TlsOptions options, Adopt adopt) {
  auto core = std::make_unique<Core>(std::move(options), std::move(adopt));
  const TlsOptions& o = core->options;
  SSL_CTX* raw = core->tls.native_handle();
  // Every connection shows its certificate anew: a resumed one would outlive it.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_options(raw, SSL_OP_CLEANSE_PLAINTEXT);  // requests carry secrets
  core->tls.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  if (auto ok = prepare(core->tls, o.files); !ok) return tl::unexpected(ok.error());

  error_code ec;
  const tcp::endpoint endpoint(asio::ip::make_address(o.address, ec), o.port);
  if (!ec) core->acceptor.open(endpoint.protocol(), ec);
  if (!ec) core->acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec && endpoint.address().is_v6()) core->acceptor.set_option(asio::ip::v6_only(true), ec);
  if (!ec) core->acceptor.bind(endpoint, ec);
  if (!ec) core->acceptor.listen(tcp::acceptor::max_listen_connections, ec);
  if (ec) {
    return fail(
        ec == asio::error::address_in_use ? ErrorCode::kConflict : ErrorCode::kResource,
        fmt::format("cannot serve the admin API on {}:{}: {}", o.address, o.port, ec.message()));
  }
  core->accept();
  core->thread = start_thread("admin-tls", [c = core.get()] { c->run(); });
  return std::unique_ptr<TlsFront>(new TlsFront(std::move(core)));
}

TlsFront::TlsFront(std::unique_ptr<Core> core) : core_(std::move(core)) {}

TlsFront::~TlsFront() {
  asio::post(core_->io, [core = core_.get()] { core->stop(); });
  core_->thread.join();
}

}  // namespace sluice::http
