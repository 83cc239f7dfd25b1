// The body of a peer's request as it comes in the call, held to the length that its head says: what
// is longer or shorter would be taken for another request. One thread, that of the event loop.
#pragma once

#include "agent/front/message.h"
#include "agent/front/waiter.h"

namespace sluice::agent {

class RequestBody {
 public:
  explicit RequestBody(CallWaiter& waiter) : waiter_(waiter) {}
  void set_framing(const Framing& framing) {
    framing_ = framing;
    ended_ = !framing.has_body();
  }

  const Framing& framing() const { return framing_; }
  bool exists() const { return framing_.has_body(); }
  bool ended() const { return ended_; }  // all of it was taken
  bool bad() const { return bad_; }      // it has not the length that it should have
  uint64_t taken() const { return taken_; }

  // What is here and was not taken; empty where there is nothing, now or ever. Looks whether the
  // body has ended.
  Bytes here() {
    if (ended_ || bad_ || waiter_.call() == nullptr) return {};
    const Bytes part = waiter_.call()->readable();
    if (!part.empty()) {
      bad_ = framing_.length && part.size() > *framing_.length - taken_;
      return bad_ ? Bytes{} : part;
    }
    if (waiter_.call()->read_all()) {
      bad_ = framing_.length && taken_ != *framing_.length;
      ended_ = !bad_;
    }
    return {};
  }
  // Of what is here, the first `n` bytes; they are gone with it.
  void take(size_t n) {
    taken_ += n;
    waiter_.consume(n);
  }

 private:
  CallWaiter& waiter_;
  Framing framing_;
  uint64_t taken_ = 0;
  bool ended_ = true, bad_ = false;
};

}  // namespace sluice::agent
