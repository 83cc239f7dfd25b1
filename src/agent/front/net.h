// What both ends of the HTTP side have in common: names of Asio and Beast, and a time that an
// operation may take. For the units of this folder that are coroutines.
#pragma once

#include <chrono>
#include <functional>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace sluice::agent {

namespace asio = boost::asio;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::steady_clock;

// Errors come back as values.
inline constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
// Of a body, read and passed on at once.
inline constexpr size_t kPiece = 32u << 10;

// Calls `late` when the time is over. A timer that has fired cannot be taken back, so what it calls
// is numbered: one that comes after stop() or another start() does nothing.
class TimeLimit {
 public:
  explicit TimeLimit(const asio::any_io_executor& executor) : timer_(executor) {}

  // `late` keeps alive what it touches, this object among it.
  void start(steady_clock::duration time, std::function<void()> late) {
    timer_.expires_after(time);
    timer_.async_wait([this, mine = ++number_, late = std::move(late)](error_code ec) {
      if (!ec && mine == number_) late();
    });
  }
  void stop() {
    ++number_;
    timer_.cancel();
  }

 private:
  asio::steady_timer timer_;
  unsigned number_ = 0;
};

}  // namespace sluice::agent
