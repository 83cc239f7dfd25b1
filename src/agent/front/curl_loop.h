// libcurl's transfers in the daemon's event loop: curl says which sockets and which time it waits
// for, the loop waits. One connection for each transfer that is under way, HTTP/2 too: a caller
// that reads slowly holds up nobody else; kept for the next when the transfer is done. One thread,
// that of the event loop.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "http/curl.h"

namespace sluice::agent {

class CurlLoop : public std::enable_shared_from_this<CurlLoop> {
 public:
  static constexpr long kMostKept = 32;

  // Null: there is no memory left. After init_curl().
  static std::shared_ptr<CurlLoop> make(boost::asio::io_context& io);
  ~CurlLoop();
  CurlLoop(const CurlLoop&) = delete;
  CurlLoop& operator=(const CurlLoop&) = delete;

  // `done` is called once, from the event loop, never from within a function of curl; remove()
  // first and it is not.
  void add(CURL* transfer, std::function<void(CURLcode)> done);
  void remove(CURL* transfer);
  size_t transfers() const { return done_.size(); }
  // Goes on with a transfer that has paused, for the directions in `paused` not yet.
  void resume(CURL* transfer, int paused);

 private:
  struct Watch;
  explicit CurlLoop(boost::asio::io_context& io);

  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*);
  static int on_timer(CURLM*, long ms, void* self);
  void wait(const std::shared_ptr<Watch>& watch);
  void act(curl_socket_t fd, int what);
  void report();

  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  uint64_t timer_number_ = 0;
  std::map<curl_socket_t, std::shared_ptr<Watch>> watches_;
  std::map<CURL*, std::function<void(CURLcode)>> done_;
  http::CurlMulti multi_;  // calls back while it goes
};

}  // namespace sluice::agent
