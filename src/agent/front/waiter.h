// A call whose streams a coroutine reads and writes: what the call tells its user becomes something
// to wait for. One thread, that of the event loop.
#pragma once

#include "agent/calls.h"
#include "agent/front/message.h"
#include "agent/front/net.h"

namespace sluice::agent {

// One that waits; what was signalled before counts.
class Signal {
 public:
  explicit Signal(const boost::asio::any_io_executor& executor) : timer_(executor) {}

  void set() {
    set_ = true;
    timer_.cancel();
  }
  boost::asio::awaitable<void> wait() {
    if (!set_) {
      timer_.expires_at(std::chrono::steady_clock::time_point::max());
      co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
    set_ = false;
  }

 private:
  boost::asio::steady_timer timer_;
  bool set_ = false;
};

class CallWaiter final : public CallUser {
 public:
  // `kick`: lets the agent go on with what the call was given.
  CallWaiter(const boost::asio::any_io_executor& executor, std::function<void()> kick)
      : readable(executor), writable(executor), kick_(std::move(kick)) {}
  ~CallWaiter() override { leave(); }

  void attach(Call& call) { call_ = &call; }
  // Null before and after.
  Call* call() const { return call_; }
  // How it ended, once call() is null again.
  const CallRow& row() const { return row_; }
  uint32_t retry_after_ms() const { return retry_after_ms_; }
  // With an end that is no orderly one, for the peer.
  void leave() {
    if (call_ == nullptr) return;
    row_ = row_of(*call_);
    row_.end = CallEnd::kCancelled;
    std::exchange(call_, nullptr)->leave();
    readable.set();
    writable.set();
    kick_();
  }
  void end(CallEnd why, uint16_t status) {
    if (call_ == nullptr) return;
    call_->end(why, status);
    kick_();
  }
  void end_writing() {
    if (call_ == nullptr) return;
    call_->end_writing(0);
    kick_();
  }
  void consume(size_t n) {
    call_->consume(n);
    kick_();
  }
  // All of it, as there is room. False: the call is over.
  boost::asio::awaitable<bool> write(Bytes bytes) {
    while (call_ != nullptr && call_->may_write()) {
      bytes = bytes.subspan(call_->write(bytes));
      kick_();
      if (bytes.empty()) co_return true;
      co_await writable.wait();
    }
    co_return false;
  }

  void on_bytes(Call&) override { readable.set(); }
  void on_room(Call&) override {
    accepted_ = true;
    writable.set();
  }
  void on_end(Call& call) override {
    row_ = row_of(call);
    retry_after_ms_ = call.retry_after_ms();
    call_ = nullptr;
    readable.set();
    writable.set();
    if (over) over();
  }
  bool accepted() const { return accepted_; }

  Signal readable, writable;
  std::function<void()> over;  // it has ended, for whatever reason but leave()

 private:
  std::function<void()> kick_;
  Call* call_ = nullptr;
  CallRow row_;
  uint32_t retry_after_ms_ = 0;
  bool accepted_ = false;
};

// The head of an HTTP message at the front of the call's stream, consumed; shorter than one where
// the stream, the call or `stop` came first, longer than kMostHead where it is none.
template <typename Stop>
boost::asio::awaitable<Buffer> read_head_of(CallWaiter& waiter, Stop stop) {
  Buffer text;
  while (waiter.call() != nullptr && text.size() < kMostHead && !stop()) {
    const Bytes part = waiter.call()->readable();
    if (part.empty()) {
      if (waiter.call()->read_all()) break;
      co_await waiter.readable.wait();
      continue;
    }
    const size_t before = text.size();
    text.insert(text.end(), part.begin(), part.end());
    const auto size = head_size(text);
    if (size) text.resize(*size);
    waiter.consume(size ? *size - before : part.size());
    if (size) break;
  }
  co_return text;
}

}  // namespace sluice::agent
