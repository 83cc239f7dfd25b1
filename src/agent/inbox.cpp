#include "agent/inbox.h"

#include <algorithm>

namespace sluice::agent {

void Inbox::add(ReceivedMessage message) {
  if (queue_.size() >= kMaxMessages || bytes_ + message.data.size() > kMaxBytes) {
    ++dropped_;
    return;
  }
  bytes_ += message.data.size();
  queue_.push_back(std::move(message));
}

bool Inbox::has(const std::optional<crypto::PublicKey>& from) const {
  if (!from) return !queue_.empty();
  return std::any_of(queue_.begin(), queue_.end(), [&](const auto& m) { return m.from == *from; });
}

std::vector<ReceivedMessage> Inbox::take(size_t most, size_t bytes,
                                         const std::optional<crypto::PublicKey>& from) {
  std::vector<ReceivedMessage> out;
  size_t total = 0;
  const auto fits = [&] { return out.size() < most && total < bytes; };
  const auto move_out = [&](ReceivedMessage& m) {
    total += m.data.size();
    bytes_ -= m.data.size();
    out.push_back(std::move(m));
  };
  if (!from) {
    for (; !queue_.empty() && fits(); queue_.pop_front()) move_out(queue_.front());
    return out;
  }
  std::erase_if(queue_, [&](ReceivedMessage& m) {
    if (m.from != *from || !fits()) return false;
    move_out(m);
    return true;
  });
  return out;
}

uint64_t Inbox::take_dropped() {
  const uint64_t fresh = dropped_ - told_;
  told_ = dropped_;
  return fresh;
}

}  // namespace sluice::agent
