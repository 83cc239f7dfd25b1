// The agent's one kernel UDP socket, unconnected and bound to no address, so that it goes on when
// the host's own address changes. Non-blocking, many datagrams a system call, and where the path
// takes it (offload_probe.h) datagrams of one size as one (UDP_SEGMENT, UDP_GRO: udp(7)). One
// thread.
#pragma once

#include <netinet/in.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"

namespace sluice::agent {

// An address and UDP port of either family.
struct UdpAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  bool v6() const { return storage.ss_family == AF_INET6; }
  std::string text() const;  // 192.0.2.1:7600 or [2001:db8::1]:7600
  friend bool operator==(const UdpAddress& a, const UdpAddress& b);
};

struct UdpCounters {
  uint64_t sent = 0, received = 0;
  uint64_t dropped_full = 0;      // the queue before the kernel was full
  uint64_t dropped_stranger = 0;  // not from the relay
  uint64_t send_errors = 0;
};

class UdpSocket {
 public:
  static Result<UdpSocket> open(const UdpAddress& relay);

  int fd() const { return fd_.get(); }
  const UdpAddress& relay() const { return relay_; }
  void set_relay(const UdpAddress& relay) { relay_ = relay; }  // of the same family

  // Copies into a queue that flush() hands to the kernel.
  void add(Bytes datagram);
  bool room(size_t datagrams = 1) const { return queued_ + datagrams <= kQueue; }
  bool pending() const { return queued_ > 0; }
  void flush();
  // What is queued leaves as one message that is cut below; false: this kernel has no such thing.
  bool flush_as_one();
  void set_offload(bool on) { offload_ = on; }
  bool offload() const { return offload_; }
  // errno of a datagram that the kernel refused since this was asked last, 0 if none.
  int take_error() { return std::exchange(error_, 0); }

  // Up to `most` datagrams of the relay. True: there may be more.
  bool receive(size_t most, const std::function<void(MutBytes)>& take);

  const UdpCounters& counters() const { return counters_; }

 private:
  static constexpr size_t kQueue = 1024;
  static constexpr size_t kBatch = 64;
  static constexpr size_t kDatagram = 65'536;  // many that the kernel has put together
  static constexpr size_t kMostSegments = 64;
  static constexpr size_t kMostTogether = 60'000;  // bytes

  UdpSocket(Fd fd, const UdpAddress& relay);
  // How many from the queue's `first` on make one message.
  size_t together(size_t first) const;
  void take_apart(MutBytes bytes, size_t size, const std::function<void(MutBytes)>& take);

  Fd fd_;
  UdpAddress relay_;
  UdpCounters counters_;
  std::vector<Buffer> queue_;  // the first queued_ are used; the others keep their memory
  size_t queued_ = 0;
  int error_ = 0;
  bool offload_ = false;
  std::unique_ptr<uint8_t[]> inbound_;  // most of it is never touched
};

// The source address that the kernel would take towards `relay` now, as text; empty without a
// route.
std::string probe_source(const UdpAddress& relay);

}  // namespace sluice::agent
