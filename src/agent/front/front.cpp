#include "agent/front/front.h"

#include <charconv>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>

#include "agent/front/session.h"
#include "http/bounds.h"

namespace sluice::agent {
namespace {

class TcpFront final : public Front {
 public:
  TcpFront(asio::io_context& io, FrontNeeds needs)
      : acceptor_(io), pause_(io), needs_(std::move(needs)) {}

  Result<void> open(const std::string& where) {
    const size_t colon = where.rfind(':');
    std::string host = where.substr(0, colon == std::string::npos ? 0 : colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
      host = host.substr(1, host.size() - 2);
    uint16_t port = 0;
    const char* end = where.data() + where.size();
    const auto number =
        std::from_chars(colon == std::string::npos ? end : where.data() + colon + 1, end, port);
    error_code ec;
    const auto address = asio::ip::make_address(host, ec);
    if (ec || !address.is_loopback() || number.ec != std::errc() || number.ptr != end) {
      return fail(
          ErrorCode::kUsage,
          fmt::format(
              "the HTTP front listens on this host's loopback alone, such as 127.0.0.1:7480 or "
              "[::1]:7480, not on \"{}\": whoever reaches it speaks for this agent",
              where));
    }
    const tcp::endpoint at(address, port);
    acceptor_.open(at.protocol(), ec);
    if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_.bind(at, ec);
    if (!ec) acceptor_.listen(1'024, ec);
    if (ec) {
      return fail(ErrorCode::kConflict,
                  fmt::format("the HTTP front cannot listen on {}: {}; set another address, or "
                              "\"\" for none, with front.listen in agent.yaml",
                              where, ec.message()));
    }
    accept();
    return {};
  }

  std::string address() const override {
    error_code ignored;
    const auto at = acceptor_.local_endpoint(ignored);
    const std::string host = at.address().to_string();
    return at.address().is_v6() ? fmt::format("[{}]:{}", host, at.port())
                                : fmt::format("{}:{}", host, at.port());
  }

 private:
  void accept() {
    acceptor_.async_accept([this](error_code ec, tcp::socket socket) {
      if (ec == asio::error::operation_aborted) return;
      if (!ec && open_ < kMostConnections) {
        ++open_;
        asio::co_spawn(acceptor_.get_executor(), serve_client(std::move(socket), needs_),
                       [this](std::exception_ptr) { --open_; });
      }
      if (!ec) return accept();
      pause_.expires_after(http::kAcceptPause);
      pause_.async_wait([this](error_code stopped) {
        if (!stopped) accept();
      });
    });
  }

  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  FrontNeeds needs_;
  size_t open_ = 0;
};

}  // namespace

Result<std::unique_ptr<Front>> Front::listen(asio::io_context& io, const FrontConfig& config,
                                             Agent& agent, std::function<Now()> now,
                                             std::function<void()> kick) {
  auto front = std::make_unique<TcpFront>(io, FrontNeeds{agent, std::move(now), std::move(kick)});
  if (auto ok = front->open(config.listen); !ok) return tl::unexpected(ok.error());
  return front;
}

}  // namespace sluice::agent
