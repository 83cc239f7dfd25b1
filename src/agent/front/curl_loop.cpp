#include "agent/front/curl_loop.h"

#include <chrono>

namespace sluice::agent {

namespace asio = boost::asio;

// A socket of curl's, for as long as curl waits for it. The descriptor stays curl's own.
struct CurlLoop::Watch {
  Watch(asio::io_context& io, curl_socket_t fd) : descriptor(io, fd) {}
  ~Watch() { descriptor.release(); }

  asio::posix::stream_descriptor descriptor;
  int wanted = CURL_POLL_NONE;
  bool reads = false, writes = false;  // under way
  bool gone = false;
};

std::shared_ptr<CurlLoop> CurlLoop::make(asio::io_context& io) {
  std::shared_ptr<CurlLoop> out(new CurlLoop(io));
  return out->multi_ ? out : nullptr;
}

CurlLoop::CurlLoop(asio::io_context& io) : io_(io), timer_(io), multi_(curl_multi_init()) {
  if (!multi_) return;
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &CurlLoop::on_socket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &CurlLoop::on_timer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, long{CURLPIPE_NOTHING});
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, kMostKept);
}

CurlLoop::~CurlLoop() {
  for (const auto& [transfer, done] : done_) curl_multi_remove_handle(multi_.get(), transfer);
  multi_.reset();
}

void CurlLoop::add(CURL* transfer, std::function<void(CURLcode)> done) {
  done_[transfer] = std::move(done);
  curl_multi_add_handle(multi_.get(), transfer);  // asks for the timer, which begins it
}

void CurlLoop::remove(CURL* transfer) {
  if (done_.erase(transfer) > 0) curl_multi_remove_handle(multi_.get(), transfer);
}

void CurlLoop::resume(CURL* transfer, int paused) {
  if (done_.find(transfer) == done_.end()) return;
  curl_easy_pause(transfer, paused);
}

int CurlLoop::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  auto& loop = *static_cast<CurlLoop*>(self);
  const auto it = loop.watches_.find(fd);
  if (what == CURL_POLL_REMOVE) {
    if (it == loop.watches_.end()) return 0;
    it->second->gone = true;
    // Before curl closes it: the number may be another socket's at once.
    it->second->descriptor.release();
    loop.watches_.erase(it);
    return 0;
  }
  std::shared_ptr<Watch> watch;
  if (it == loop.watches_.end()) {
    watch = std::make_shared<Watch>(loop.io_, fd);
    loop.watches_[fd] = watch;
  } else {
    watch = it->second;
  }
  watch->wanted = what;
  loop.wait(watch);
  return 0;
}

void CurlLoop::wait(const std::shared_ptr<Watch>& watch) {
  const auto start = [&](bool Watch::*under_way, asio::posix::stream_descriptor::wait_type type,
                         int direction, int event) {
    if ((watch->wanted & direction) == 0 || (*watch).*under_way) return;
    (*watch).*under_way = true;
    const curl_socket_t fd = watch->descriptor.native_handle();
    watch->descriptor.async_wait(type, [this, weak = weak_from_this(), watch, fd, under_way,
                                        direction, event](boost::system::error_code ec) {
      (*watch).*under_way = false;
      const auto self = weak.lock();
      if (!self || watch->gone) return;
      // What is no longer wanted is no news.
      if ((watch->wanted & direction) != 0) act(fd, ec ? CURL_CSELECT_ERR : event);
      if (!watch->gone) wait(watch);
    });
  };
  using Descriptor = asio::posix::stream_descriptor;
  start(&Watch::reads, Descriptor::wait_read, CURL_POLL_IN, CURL_CSELECT_IN);
  start(&Watch::writes, Descriptor::wait_write, CURL_POLL_OUT, CURL_CSELECT_OUT);
}

int CurlLoop::on_timer(CURLM*, long ms, void* self) {
  auto& loop = *static_cast<CurlLoop*>(self);
  const uint64_t mine = ++loop.timer_number_;
  if (ms < 0) {
    loop.timer_.cancel();
    return 0;
  }
  // Later, even when it is due: curl is in the middle of something.
  loop.timer_.expires_after(std::chrono::milliseconds(ms));
  loop.timer_.async_wait([weak = loop.weak_from_this(), mine](boost::system::error_code ec) {
    const auto alive = weak.lock();
    if (alive && !ec && mine == alive->timer_number_) alive->act(CURL_SOCKET_TIMEOUT, 0);
  });
  return 0;
}

void CurlLoop::act(curl_socket_t fd, int what) {
  int running = 0;
  curl_multi_socket_action(multi_.get(), fd, what, &running);
  report();
}

void CurlLoop::report() {
  int left = 0;
  while (const CURLMsg* m = curl_multi_info_read(multi_.get(), &left)) {
    if (m->msg != CURLMSG_DONE) continue;
    CURL* transfer = m->easy_handle;
    const CURLcode code = m->data.result;
    const auto it = done_.find(transfer);
    curl_multi_remove_handle(multi_.get(), transfer);
    if (it == done_.end()) continue;
    const auto done = std::move(it->second);
    done_.erase(it);
    done(code);
  }
}

}  // namespace sluice::agent
