#include "http/unix_server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/vector_body.hpp>
#include <boost/beast/http/write.hpp>

#include "base/log.h"
#include "http/bounds.h"
#include "http/unix_listener.h"
#include "http/url.h"

namespace sluice::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using std::chrono::milliseconds;
using Executor = asio::io_context::executor_type;
using Protocol = asio::local::stream_protocol;
using Socket = asio::basic_stream_socket<Protocol, Executor>;
using Acceptor = asio::basic_socket_acceptor<Protocol, Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;

// Bodies may be secrets, and headers stand in the same buffer.
using WipedBuffer = beast::basic_flat_buffer<WipingAllocator<char>>;
using WipedBody = beast::http::vector_body<uint8_t, WipingAllocator<uint8_t>>;

constexpr uint32_t kHeaderLimit = 16u << 10;
constexpr milliseconds kLinger{2'000};

beast::http::response<beast::http::string_body> to_message(Response response, bool keep_alive,
                                                           bool is_head) {
  if (response.status < 200 || response.status > 599) {
    response = error_response(
        {ErrorCode::kInternal, fmt::format("the handler gave status {}", response.status)});
  }
  beast::http::response<beast::http::string_body> message;
  message.version(11);
  message.result(static_cast<unsigned>(response.status));
  message.keep_alive(keep_alive);
  if (response.status == 204 || response.status == 304) return message;
  message.set(beast::http::field::content_type, response.content_type);
  message.content_length(response.body.size());
  if (!is_head) message.body() = std::move(response.body);
  return message;
}

std::string media_type(beast::string_view header) {
  std::string out;
  for (const char c : header) {
    if (c == ';' || c == ' ' || c == '\t') break;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

// For peers that are turned away at once: no state is kept, and a fresh socket's buffer takes it.
void send_and_forget(int socket, const Error& error) {
  const Response response = error_response(error);
  const std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nConnection: close\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}",
      response.status, info(error.code).name, response.content_type, response.body.size(),
      response.body);
  [[maybe_unused]] const ssize_t sent =
      send(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

size_t half_of_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  return std::max<size_t>(1, limit.rlim_cur / 2);
}

}  // namespace

// The acceptor and all connections, each in the list of what it is doing, longest first.
struct UnixServer::Core : std::enable_shared_from_this<Core> {
  using Connections = std::list<std::shared_ptr<Connection>>;

  Core(asio::io_context& context, ServerOptions o, Handler h, std::optional<UnixListener> l)
      : io(context),
        options(std::move(o)),
        handler(std::move(h)),
        listener(std::move(l)),
        acceptor(io),
        pause(io) {}

  void accept();
  void on_accept(error_code ec, Socket socket);
  void serve(Socket socket, PeerCredentials peer);
  void warn(error_code ec);
  void on_accept_error(error_code ec);
  bool evict();
  void stop();

  asio::io_context& io;
  const ServerOptions options;
  const Handler handler;
  std::optional<UnixListener> listener;
  Acceptor acceptor;
  Timer pause;
  std::chrono::steady_clock::time_point next_warning{};
  bool stopped = false;
  Connections waiting;              // no complete request yet
  Connections handling;             // the handler owes an answer
  Connections writing;              // the peer has not taken the answer yet
  std::array<char, 16384> scratch;  // for bytes that are read only to be thrown away
};

// One peer, one request at a time: further ones wait in the buffer, so answers keep their order.
// Pending operations keep it alive; its list does until close().
class UnixServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Core> core, Socket socket, PeerCredentials peer)
      : core_(std::move(core)),
        socket_(std::move(socket)),
        timer_(core_->io),
        peer_(std::move(peer)) {}

  void start(Core::Connections::iterator position) {
    position_ = position;
    begin_parser();
    read_header();
  }
  void reply(Response response);
  void close();

 private:
  void begin_parser();
  void await_request();
  void read_header();
  void read_body();
  void on_read_error(error_code ec);
  void handle();
  void watch_peer();
  void write(Response response);
  void linger();
  void drain();
  void move_to(Core::Connections& list);
  void close_after(milliseconds timeout);

  std::shared_ptr<Core> core_;
  Socket socket_;
  Timer timer_;
  PeerCredentials peer_;
  Core::Connections* list_ = &core_->waiting;
  Core::Connections::iterator position_{};
  WipedBuffer buffer_;
  std::optional<beast::http::request_parser<WipedBody>> parser_;
  std::optional<beast::http::response<beast::http::string_body>> response_;
  bool keep_alive_ = false;
  bool is_head_ = false;
  bool watching_ = false;
  bool closed_ = false;
};

// The right to answer one request, once. Shared by the copies of a Respond; the last one to go
// without an answer gives one, so that no peer waits for ever.
class UnixServer::Ticket {
 public:
  explicit Ticket(std::weak_ptr<Connection> connection) : connection_(std::move(connection)) {}
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket() {
    respond(error_response({ErrorCode::kInternal, "the request was dropped without an answer"}));
  }
  void respond(Response response) {
    if (auto connection = std::exchange(connection_, {}).lock()) {
      connection->reply(std::move(response));
    }
  }

 private:
  std::weak_ptr<Connection> connection_;
};

void UnixServer::Core::accept() {
  acceptor.async_accept([self = shared_from_this()](error_code ec, Socket socket) {
    self->on_accept(ec, std::move(socket));
  });
}

void UnixServer::Core::on_accept(error_code ec, Socket socket) {
  if (stopped) return;
  if (ec) return on_accept_error(ec);
  ucred raw{};
  socklen_t size = sizeof raw;
  if (getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &raw, &size) == 0) {
    const PeerCredentials peer{.pid = raw.pid, .uid = raw.uid, .gid = raw.gid};
    if (options.allow && !options.allow(peer)) {
      send_and_forget(
          socket.native_handle(),
          {ErrorCode::kPermission, fmt::format("user {} may not use {}", peer.uid, options.path)});
    } else {
      serve(std::move(socket), peer);
    }
  }
  accept();
}

void UnixServer::Core::serve(Socket socket, PeerCredentials peer) {
  if (waiting.size() + handling.size() + writing.size() >= options.max_connections && !evict()) {
    send_and_forget(
        socket.native_handle(),
        {ErrorCode::kResource, fmt::format("{} connections on {} already wait for an answer",
                                           handling.size(), options.path)});
    return;
  }
  auto connection =
      std::make_shared<Connection>(shared_from_this(), std::move(socket), std::move(peer));
  waiting.push_back(connection);
  connection->start(std::prev(waiting.end()));
}

void UnixServer::Core::warn(error_code ec) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_warning) return;
  next_warning = now + kWarningInterval;
  spdlog::warn("cannot accept on {}: {}", options.path, ec.message());
}

// Out of descriptors the kernel keeps the peer in the backlog and reports it again at once: give
// up a connection for it, and where there is none, wait.
void UnixServer::Core::on_accept_error(error_code ec) {
  if (ec == asio::error::connection_aborted) return accept();
  warn(ec);
  const bool no_descriptors = ec.value() == EMFILE || ec.value() == ENFILE;
  if (no_descriptors && evict()) return accept();
  pause.expires_after(kAcceptPause);
  pause.async_wait([self = shared_from_this()](error_code) {
    if (!self->stopped) self->accept();
  });
}

// The one that has been without a complete request for longest; else the one that has been
// reading its answer for longest. One that waits for the handler is never given up.
bool UnixServer::Core::evict() {
  for (Connections* list : {&waiting, &writing}) {
    if (list->empty()) continue;
    list->front()->close();
    return true;
  }
  return false;
}

void UnixServer::Core::stop() {
  stopped = true;
  listener.reset();
  error_code ignored;
  acceptor.close(ignored);
  pause.cancel();
  for (Connections* list : {&waiting, &handling, &writing}) {
    while (!list->empty()) list->front()->close();
  }
}

void UnixServer::Connection::close() {
  if (closed_) return;
  closed_ = true;
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
  const auto self = shared_from_this();
  list_->erase(position_);
}

void UnixServer::Connection::move_to(Core::Connections& list) {
  list.splice(list.end(), *list_, position_);
  list_ = &list;
}

void UnixServer::Connection::close_after(milliseconds timeout) {
  timer_.expires_after(timeout);
  timer_.async_wait([self = shared_from_this()](error_code ec) {
    // A timer set anew may already have a success of its old self in the queue.
    if (!ec && self->timer_.expiry() <= std::chrono::steady_clock::now()) self->close();
  });
}

void UnixServer::Connection::begin_parser() {
  parser_.emplace();
  parser_->header_limit(kHeaderLimit);
  parser_->body_limit(core_->options.body_limit);
}

void UnixServer::Connection::await_request() {
  move_to(core_->waiting);
  begin_parser();
  if (buffer_.size() > 0) return read_header();
  buffer_.clear();
  buffer_.shrink_to_fit();  // idle peers cost no memory
  close_after(core_->options.idle_timeout);
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](error_code ec) {
    if (self->closed_) return;
    if (ec) return self->close();
    self->read_header();
  });
}

void UnixServer::Connection::read_header() {
  close_after(core_->options.read_timeout);
  const auto on_header = [self = shared_from_this()](error_code ec, size_t) {
    if (self->closed_) return;
    if (ec) return self->on_read_error(ec);
    if (self->parser_->is_done()) return self->handle();
    if (!beast::iequals(self->parser_->get()[beast::http::field::expect], "100-continue")) {
      return self->read_body();
    }
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(self->socket_, asio::buffer(kContinue), [self](error_code failed, size_t) {
      if (self->closed_) return;
      if (failed) return self->close();
      self->read_body();
    });
  };
  beast::http::async_read_header(socket_, buffer_, *parser_, on_header);
}

void UnixServer::Connection::read_body() {
  beast::http::async_read(socket_, buffer_, *parser_,
                          [self = shared_from_this()](error_code ec, size_t) {
                            if (self->closed_) return;
                            if (ec) return self->on_read_error(ec);
                            self->handle();
                          });
}

void UnixServer::Connection::on_read_error(error_code ec) {
  using beast::http::error;
  keep_alive_ = false;
  is_head_ = false;
  if (ec == error::body_limit) {
    return write(
        error_response({ErrorCode::kTooLarge, fmt::format("the body is larger than {} bytes",
                                                          core_->options.body_limit)}));
  }
  if (ec == error::header_limit) {
    return write(error_response(
        {ErrorCode::kTooLarge, fmt::format("the header is larger than {} bytes", kHeaderLimit)}));
  }
  const bool peer_left =
      ec == error::end_of_stream || ec == error::partial_message ||
      ec.category() != beast::http::make_error_code(error::bad_method).category();
  if (peer_left) return close();
  write(error_response({ErrorCode::kUsage, fmt::format("not an HTTP request: {}", ec.message())}));
}

void UnixServer::Connection::handle() {
  auto message = parser_->release();
  keep_alive_ = message.keep_alive();
  is_head_ = message.method() == beast::http::verb::head;
  const auto raw_target = message.target();
  auto target = parse_target({raw_target.data(), raw_target.size()});
  if (!target) {
    keep_alive_ = false;
    return write(error_response(target.error()));
  }
  timer_.cancel();
  move_to(core_->handling);
  watch_peer();
  const auto method = message.method_string();
  Request request{.method = std::string(method.data(), method.size()),
                  .path = std::move(target->path),
                  .query = std::move(target->query),
                  .body = {},
                  .secret = {},
                  .content_type = media_type(message[beast::http::field::content_type]),
                  .peer = peer_};
  if (request.content_type == kSecretType) {
    request.secret = std::move(message.body());
    if (buffer_.size() == 0) {
      buffer_.clear();
      buffer_.shrink_to_fit();
    }
  } else {
    request.body.assign(message.body().begin(), message.body().end());
  }
  auto ticket = std::make_shared<Ticket>(weak_from_this());
  try {
    core_->handler(std::move(request), [ticket = std::move(ticket)](Response response) {
      ticket->respond(std::move(response));
    });
  } catch (const std::exception& e) {
    spdlog::error("a request on {} failed: {}", core_->options.path, e.what());
  }
}

// While the handler works nothing reads from the socket: a peer that has gone must not occupy a
// place until an answer is there. One watch serves all requests of the connection.
void UnixServer::Connection::watch_peer() {
  if (watching_) return;
  watching_ = true;
  socket_.async_wait(Socket::wait_error, [self = shared_from_this()](error_code) {
    self->watching_ = false;
    if (self->list_ == &self->core_->handling) self->close();
  });
}

void UnixServer::Connection::reply(Response response) {
  if (!closed_) write(std::move(response));
}

void UnixServer::Connection::write(Response response) {
  move_to(core_->writing);
  close_after(core_->options.write_timeout);
  response_.emplace(to_message(std::move(response), keep_alive_, is_head_));
  beast::http::async_write(socket_, *response_, [self = shared_from_this()](error_code ec, size_t) {
    if (self->closed_) return;
    if (ec) return self->close();
    self->response_.reset();
    if (self->keep_alive_) return self->await_request();
    self->linger();
  });
}

// A peer that is still sending would meet a broken pipe before it reads the answer: take what it
// sends for a while.
void UnixServer::Connection::linger() {
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  close_after(kLinger);
  drain();
}

void UnixServer::Connection::drain() {
  socket_.async_read_some(asio::buffer(core_->scratch),
                          [self = shared_from_this()](error_code ec, size_t) {
                            if (self->closed_) return;
                            if (ec) return self->close();
                            self->drain();
                          });
}

Result<std::unique_ptr<UnixServer>> UnixServer::listen(asio::io_context& io, ServerOptions options,
                                                       Handler handler) {
  auto listener = UnixListener::listen(options.path, options.mode, options.group, options.service);
  if (!listener) return tl::unexpected(listener.error());
  options.max_connections =
      std::clamp<size_t>(options.max_connections, 1, half_of_descriptor_limit());
  auto core =
      std::make_shared<Core>(io, std::move(options), std::move(handler), std::move(*listener));
  // The acceptor closes what it is given; the listener keeps its own to guard the name.
  const int fd = fcntl(core->listener->fd(), F_DUPFD_CLOEXEC, 0);
  error_code ec;
  if (fd >= 0) core->acceptor.assign(Protocol{}, fd, ec);
  if (fd < 0 || ec) {
    return fail(ErrorCode::kResource, fmt::format("cannot accept on {}: {}", core->options.path,
                                                  fd < 0 ? std::strerror(errno) : ec.message()));
  }
  core->accept();
  return std::unique_ptr<UnixServer>(new UnixServer(std::move(core)));
}

std::unique_ptr<UnixServer> UnixServer::adopting(asio::io_context& io, ServerOptions options,
                                                 Handler handler) {
  options.max_connections =
      std::clamp<size_t>(options.max_connections, 1, half_of_descriptor_limit());
  return std::unique_ptr<UnixServer>(new UnixServer(
      std::make_shared<Core>(io, std::move(options), std::move(handler), std::nullopt)));
}

UnixServer::UnixServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}

void UnixServer::adopt(const Fd& socket, PeerCredentials peer) {
  const int fd = fcntl(socket.get(), F_DUPFD_CLOEXEC, 0);
  Socket own(core_->io);
  error_code ec(fd < 0 ? errno : 0, boost::system::system_category());
  if (!ec) own.assign(Protocol{}, fd, ec);
  if (!ec) return core_->serve(std::move(own), std::move(peer));
  if (fd >= 0) ::close(fd);
  send_and_forget(socket.get(), {ErrorCode::kResource, "the relay is out of descriptors"});
  core_->warn(ec);
}

UnixServer::~UnixServer() {
  core_->stop();
}

}  // namespace sluice::http
