#include "pktgen/transmitter.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

namespace sluice::pktgen {

unsigned Transmitter::flush() noexcept {
  if (dry_) return drop();
  unsigned sent = 0;
  for (uint16_t q = 0; q < boxes_.size(); ++q) {
    Box& b = boxes_[q];
    if (b.begin == b.end) continue;
    const auto n = static_cast<uint16_t>(b.end - b.begin);
    if (capture_ != nullptr) capture_->copy({b.packets + b.begin, n});
    const uint16_t taken = rte_eth_tx_burst(port_, q, b.packets + b.begin, n);
    if (capture_ != nullptr) capture_->keep(taken);
    b.begin += taken;
    sent += taken;
    if (b.begin == b.end) b.begin = b.end = 0;
  }
  waiting_ -= sent;
  return sent;
}

unsigned Transmitter::drop() noexcept {
  const unsigned dropped = waiting_;
  for (Box& b : boxes_) {
    rte_pktmbuf_free_bulk(b.packets + b.begin, b.end - b.begin);
    b.begin = b.end = 0;
  }
  waiting_ = 0;
  return dropped;
}

}  // namespace sluice::pktgen
