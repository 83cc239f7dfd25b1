#include "agent/front/egress.h"

namespace sluice::agent {

std::shared_ptr<EgressLane> Egress::lane(const ByteArray<16>& tag) {
  auto& lane = lanes_[tag];
  if (!lane) {
    lane = std::make_shared<EgressLane>();
    if (http::init_curl()) lane->loop = CurlLoop::make(io_);
  }
  const auto found = lane;
  found->used = steady_clock::now();
  if (!found->loop) {
    lanes_.erase(tag);
    return nullptr;
  }
  look();
  return found;
}

// A credential that was replaced is not used again: its connections go with the time.
void Egress::look() {
  if (looks_ || lanes_.empty()) return;
  looks_ = true;
  timer_.expires_after(kIdleFor / 4);
  timer_.async_wait([weak = weak_from_this()](error_code ec) {
    const auto self = weak.lock();
    if (!self || ec) return;
    self->looks_ = false;
    std::erase_if(self->lanes_, [now = steady_clock::now()](const auto& entry) {
      return entry.second->loop->transfers() == 0 && now >= entry.second->used + kIdleFor;
    });
    self->look();
  });
}

}  // namespace sluice::agent
