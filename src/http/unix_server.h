// HTTP/1.1 server on a Unix stream socket. Everything runs on the one thread that runs the
// io_context: the handler, its answers, and the destructor, unless the io_context stands still.
// The io_context must outlive the server; what the handler refers to must live until then.
#pragma once

#include <sys/types.h>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "http/message.h"

namespace boost::asio {
class io_context;
}

namespace sluice::http {

struct ServerOptions {
  std::string path;
  std::string service = "server";  // as error messages name it: "another SERVICE is …"
  mode_t mode = 0660;
  std::optional<gid_t> group;
  // At most half of the process's descriptor limit, whatever is asked for.
  size_t max_connections = 2048;
  size_t body_limit = 8u << 20;
  std::chrono::milliseconds read_timeout{10'000};   // for a whole request, silence at first too
  std::chrono::milliseconds idle_timeout{60'000};   // from an answer to the next request
  std::chrono::milliseconds write_timeout{10'000};  // for a whole answer
  // Decides once per connection; refused peers get status 403. Everyone may when it is empty.
  std::function<bool(const PeerCredentials&)> allow;
};

class UnixServer {
 public:
  // Connections are accepted when this returns; they are served once the io_context runs.
  static Result<std::unique_ptr<UnixServer>> listen(boost::asio::io_context& io,
                                                    ServerOptions options, Handler handler);
  // Without a socket of its own: it serves what it is given by `adopt` alone. `options.path` is
  // what messages call it.
  static std::unique_ptr<UnixServer> adopting(boost::asio::io_context& io, ServerOptions options,
                                              Handler handler);
  UnixServer(const UnixServer&) = delete;
  UnixServer& operator=(const UnixServer&) = delete;
  // Serves a stream socket that somebody else accepted, for whom `peer` says; takes a duplicate of
  // the descriptor. options.allow is not asked.
  void adopt(const Fd& socket, PeerCredentials peer);
  // Closes every connection and removes the socket's name.
  ~UnixServer();

 private:
  struct Core;
  class Connection;
  class Ticket;
  explicit UnixServer(std::shared_ptr<Core> core);

  std::shared_ptr<Core> core_;
};

}  // namespace sluice::http
