// Packets from peers on their way to the device: TCP segments that follow each other become one,
// as the kernel's own receive offload makes it (GRO), so that one system call and one pass through
// the stack serve many. What is put together is what the kernel would cut it into again: same
// header, sequence without a gap, equal sizes but for the last. No I/O. One thread.
#pragma once

#include <functional>
#include <vector>

#include "agent/tun/packet.h"

namespace sluice::agent {

class Coalescer {
 public:
  // One packet for the device and the header that goes before it; valid during the call.
  using Write = std::function<void(const VnetHeader&, Bytes packet)>;
  static constexpr size_t kFlows = 8;  // open at a time; a further one ends the oldest
  static constexpr size_t kMost = 65'535;

  explicit Coalescer(Write write) : write_(std::move(write)) {}

  // A whole IPv6 packet. Packets of one flow leave in the order they came.
  void add(Bytes packet);
  // All that is open: at the end of a batch, so nothing waits for more.
  void flush();

 private:
  struct Flow {
    Buffer packet;  // the first one's header, and the bytes of all
    size_t head = 0;
    size_t segment = 0;  // bytes of each but the last
    size_t count = 0;
    uint32_t next = 0;   // the sequence number that follows
    bool ended = false;  // a short one, or a push, was the last
  };

  bool same_flow(const Flow& flow, Bytes packet) const;
  bool goes_on(const Flow& flow, Bytes packet, const TcpView& view) const;
  void emit(Flow& flow);

  Write write_;
  std::vector<Flow> flows_;  // the oldest first; the first open_ are in use
  size_t open_ = 0;
};

}  // namespace sluice::agent
