#include "http/tcp_listener.h"

#include <fcntl.h>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>

#include "http/bounds.h"

namespace sluice::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

struct TcpListener::Core : std::enable_shared_from_this<Core> {
  Core(asio::io_context& io, std::function<void(const Fd&)> f)
      : acceptor(io), pause(io), accepted(std::move(f)) {}

  void accept() {
    acceptor.async_accept([self = shared_from_this()](error_code ec, tcp::socket socket) {
      if (self->stopped) return;
      if (ec) return self->rest();
      error_code released;
      const Fd fd(socket.release(released));
      if (!released) self->accepted(fd);
      self->accept();
    });
  }
  void rest() {
    pause.expires_after(kAcceptPause);
    pause.async_wait([self = shared_from_this()](error_code) {
      if (!self->stopped) self->accept();
    });
  }
  void stop() {
    stopped = true;
    error_code ignored;
    acceptor.close(ignored);
    pause.cancel();
  }

  tcp::acceptor acceptor;
  asio::steady_timer pause;
  const std::function<void(const Fd&)> accepted;
  bool stopped = false;
};

Result<std::unique_ptr<TcpListener>> TcpListener::listen(asio::io_context& io,
                                                         const std::string& address, uint16_t port,
                                                         const std::string& service,
                                                         std::function<void(const Fd&)> accepted) {
  auto core = std::make_shared<Core>(io, std::move(accepted));
  error_code ec;
  const tcp::endpoint endpoint(asio::ip::make_address(address, ec), port);
  if (!ec) core->acceptor.open(endpoint.protocol(), ec);
  if (!ec) core->acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec && endpoint.address().is_v6()) core->acceptor.set_option(asio::ip::v6_only(true), ec);
  if (!ec) core->acceptor.bind(endpoint, ec);
  if (!ec) core->acceptor.listen(tcp::acceptor::max_listen_connections, ec);
  if (ec) {
    return fail(ec == asio::error::address_in_use ? ErrorCode::kConflict : ErrorCode::kResource,
                fmt::format("cannot serve {} on {}:{}: {}", service, address, port, ec.message()));
  }
  core->accept();
  return std::unique_ptr<TcpListener>(new TcpListener(std::move(core)));
}

TcpListener::TcpListener(std::shared_ptr<Core> core) : core_(std::move(core)) {}

TcpListener::~TcpListener() {
  core_->stop();
}

}  // namespace sluice::http
