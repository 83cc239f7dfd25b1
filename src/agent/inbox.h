// Messages that have arrived and wait for a reader: a queue bounded in number and bytes. What does
// not fit is counted and lost, as on any datagram service. One thread.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "crypto/identity.h"

namespace sluice::agent {

struct ReceivedMessage {
  crypto::PublicKey from{};
  std::string name;
  Buffer data;
};

class Inbox {
 public:
  static constexpr size_t kMaxMessages = 65'536;
  static constexpr size_t kMaxBytes = 64u << 20;

  void add(ReceivedMessage message);
  // Up to `most` of the oldest, of one peer when asked, together at most about `bytes`.
  std::vector<ReceivedMessage> take(size_t most, size_t bytes,
                                    const std::optional<crypto::PublicKey>& from);
  bool has(const std::optional<crypto::PublicKey>& from) const;

  size_t size() const { return queue_.size(); }
  uint64_t dropped() const { return dropped_; }
  // Dropped since this was asked last.
  uint64_t take_dropped();

 private:
  std::deque<ReceivedMessage> queue_;
  size_t bytes_ = 0;
  uint64_t dropped_ = 0;
  uint64_t told_ = 0;
};

}  // namespace sluice::agent
