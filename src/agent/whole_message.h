// The user of a call that is one message each way: hands over what is to be sent bit by bit, and
// collects what comes. One thread, owned by its Call.
#pragma once

#include <functional>

#include "agent/call_user.h"
#include "base/bytes.h"

namespace sluice::agent {

inline constexpr size_t kMostMessage = 16u << 20;

class WholeMessage final : public CallUser {
 public:
  // `whole`: the peer's message is complete. Null where the end of the call says so.
  explicit WholeMessage(std::function<void(Call&)> whole) : whole_(std::move(whole)) {}

  // What is left of it leaves as there is room.
  void send(Call& call, Buffer message, uint16_t status);
  Buffer take() { return std::move(in_); }
  size_t held() const { return in_.size() + out_.size() - written_; }

  void on_bytes(Call& call) override;
  void on_room(Call& call) override;
  void on_end(Call& call) override;

 private:
  std::function<void(Call&)> whole_;
  Buffer in_, out_;
  size_t written_ = 0;
  uint16_t status_ = 0;
  bool sending_ = false;
};

}  // namespace sluice::agent
