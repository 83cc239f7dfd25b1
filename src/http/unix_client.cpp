#include "http/unix_client.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "http/bounds.h"

namespace sluice::http {
namespace {

namespace beast = boost::beast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool is_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool is_target(std::string_view text) {
  return !text.empty() && text.front() == '/' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// Rounded up, so that a wait never turns into polling; 0 when the time is over.
milliseconds remaining(steady_clock::time_point deadline) {
  return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(deadline - steady_clock::now()));
}

// Who may open the socket, for the remedy in a refusal.
std::string permission_remedy(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return "run this as root";
  group row{};
  group* found = nullptr;
  char text[4096];
  if (getgrgid_r(st.st_gid, &row, text, sizeof text, &found) == 0 && found != nullptr) {
    return fmt::format("run this as root or as a member of the group {}", found->gr_name);
  }
  return fmt::format("run this as root or as a member of the group {}", st.st_gid);
}

}  // namespace

// One request sent and its answer read, or why not.
struct UnixClient::Attempt {
  Result<Response> result;
  bool untouched = false;  // the server closed the connection before it took the whole request
};

Result<Response> UnixClient::request(std::string_view method, std::string_view target,
                                     std::string_view body, milliseconds timeout,
                                     std::string_view content_type) {
  if (!is_token(method) || !is_target(target)) {
    return fail(ErrorCode::kUsage, fmt::format("not a request: \"{} {}\"", method, target));
  }
  const auto deadline = steady_clock::now() + timeout;
  const std::string head = fmt::format(
      "{} {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n", method, target,
      body.size(), body.empty() ? "" : fmt::format("Content-Type: {}\r\n", content_type));
  if (socket_ && was_closed()) socket_ = Fd{};
  const bool kept_alive = bool(socket_);
  if (!socket_) {
    if (auto connected = connect(deadline); !connected) return tl::unexpected(connected.error());
  }
  Attempt attempt = exchange(head, body, method == "HEAD", deadline);
  if (attempt.untouched && kept_alive) {
    if (auto connected = connect(deadline); !connected) return tl::unexpected(connected.error());
    attempt = exchange(head, body, method == "HEAD", deadline);
  }
  return std::move(attempt.result);
}

// An idle connection has nothing to read: whatever poll reports is its end, or makes it unusable.
bool UnixClient::was_closed() const {
  pollfd event{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  return poll(&event, 1, 0) != 0;
}

Result<void> UnixClient::connect(Deadline deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.empty() || path_.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kConfig, fmt::format("the socket path \"{}\" must have 1 to {} bytes",
                                                path_, sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path_.data(), path_.size());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot create a socket: {}", std::strerror(errno)));
  }
  // A Unix connect waits while the backlog is full. It cannot be polled for, only bounded by the
  // send timeout; 0 would mean for ever.
  const int64_t wait_ms = std::max<int64_t>(1, remaining(deadline).count());
  const timeval wait{.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
  int rc = setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  if (rc == 0) {
    do {
      rc = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    } while (rc != 0 && errno == EINTR && remaining(deadline).count() > 0);
  }
  if (rc == 0) rc = fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  if (rc == 0) {
    socket_ = std::move(fd);
    return {};
  }
  switch (const int e = errno; e) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
      return fail(ErrorCode::kUnreachable,
                  fmt::format("{} does not answer on {}: is it running?", service_, path_));
    case EACCES:
    case EPERM:
      return fail(ErrorCode::kPermission,
                  fmt::format("no permission to use {}: {}", path_, permission_remedy(path_)));
    case EAGAIN:
    case EINTR:
      return fail(ErrorCode::kTimeout,
                  fmt::format("{} did not accept a connection on {} in time", service_, path_));
    default:
      return fail(ErrorCode::kUnreachable,
                  fmt::format("cannot connect to {}: {}", path_, std::strerror(e)));
  }
}

// Sends and reads at the same time: a server may answer, and close, before it took all of a
// request that it refuses. On a Unix socket the kernel tells whether the peer took it: a close
// before all was sent is EPIPE, one with unread data is ECONNRESET. Only then nothing can have
// come of it; after a plain end of file it may have.
UnixClient::Attempt UnixClient::exchange(std::string_view head, std::string_view body, bool is_head,
                                         Deadline deadline) {
  Fd fd = std::move(socket_);  // handed back only in a state that fits the next request
  // The body may be a secret.
  std::vector<char, WipingAllocator<char>> outbox(head.begin(), head.end());
  outbox.reserve(head.size() + body.size());
  outbox.insert(outbox.end(), body.begin(), body.end());
  std::string_view unsent(outbox.data(), outbox.size());
  bool pipe_broken = false;
  bool answered = false;
  beast::http::response_parser<beast::http::string_body> parser;
  parser.eager(true);
  parser.skip(is_head);
  parser.header_limit(64u << 10);
  parser.body_limit(kResponseLimit);
  std::string inbox;
  static thread_local char chunk[64u << 10];

  const auto lost = [&](std::string_view how, bool untouched) -> Attempt {
    return {fail(ErrorCode::kUnreachable, fmt::format("{} on {} {}", service_, path_, how)),
            untouched && !answered};
  };
  while (!parser.is_done()) {
    const bool want_write = !unsent.empty() && !pipe_broken;
    pollfd event{.fd = fd.get(),
                 .events = static_cast<short>(want_write ? POLLIN | POLLOUT : POLLIN),
                 .revents = 0};
    const auto wait = std::min(remaining(deadline), milliseconds{1 << 30});
    const int ready = poll(&event, 1, static_cast<int>(wait.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      return {fail(ErrorCode::kTimeout,
                   fmt::format("{} did not answer on {} in time", service_, path_))};
    }
    if (want_write && (event.revents & POLLOUT) != 0 && (event.revents & POLLIN) == 0) {
      const ssize_t n = send(fd.get(), unsent.data(), unsent.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        unsent.remove_prefix(static_cast<size_t>(n));
      } else if (errno != EAGAIN && errno != EINTR) {
        pipe_broken = true;  // an answer may still wait to be read
      }
      continue;
    }
    const ssize_t n = recv(fd.get(), chunk, sizeof chunk, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return lost("closed the connection without reading the request", true);
    beast::error_code ec;
    if (n == 0) {
      if (!answered) {
        return lost("closed the connection without an answer", pipe_broken || !unsent.empty());
      }
      parser.put_eof(ec);
      if (ec) return lost("closed the connection in the middle of its answer", false);
      break;
    }
    answered = true;
    inbox.append(chunk, static_cast<size_t>(n));
    const size_t used = parser.put(boost::asio::buffer(inbox), ec);
    inbox.erase(0, used);
    if (ec == beast::http::error::body_limit) {
      return {fail(ErrorCode::kTooLarge,
                   fmt::format("the answer on {} is larger than {} bytes", path_, kResponseLimit))};
    }
    if (ec && ec != beast::http::error::need_more) {
      return lost(fmt::format("does not speak HTTP: {}", ec.message()), false);
    }
  }

  const bool reusable =
      parser.keep_alive() && !parser.need_eof() && unsent.empty() && !pipe_broken && inbox.empty();
  auto message = parser.release();
  const auto type = message[beast::http::field::content_type];
  Response response{.status = static_cast<int>(message.result_int()),
                    .content_type = std::string(type.data(), type.size()),
                    .body = std::move(message.body())};
  if (reusable) socket_ = std::move(fd);
  return {std::move(response)};
}

UnixClient::UnixClient(std::string path, std::string service)
    : path_(std::move(path)), service_(std::move(service)) {}

}  // namespace sluice::http
