// One side of the relay: a network namespace with one interface. Owned by main, one thread.
#pragma once

#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/file.h"
#include "wire/ip.h"

namespace sluice::bench {

struct HostConfig {
  std::string netns;   // name under /run/netns
  std::string device;  // its interface towards the relay
  wire::Mac mac{};
  wire::Mac relay_mac{};  // of the relay's end of that link
  uint32_t address = 0;   // IPv4, host order
  uint32_t relay_address = 0;
  uint16_t port = 0;  // UDP, own
};

uint32_t parse_ip4(const std::string& text);  // throws
wire::Mac parse_mac(const std::string& text);

class Host {
 public:
  explicit Host(const HostConfig& config);

  const HostConfig& config() const { return config_; }

  // The kernel's UDP socket, for whatever is not blasted.
  void send_udp(uint16_t port, Bytes datagram);
  // Up to `wait_ms` for the first datagram, then all that are there.
  bool receive_udp(int wait_ms, const std::function<void(MutBytes)>& take);

  // Raw frames leave here.
  int packet_socket() const { return packet_.get(); }
  // Packets that have arrived at the interface, from /proc/net/dev of the namespace.
  uint64_t device_rx_packets() const;

 private:
  HostConfig config_;
  Fd udp_;
  Fd packet_;
  Fd counters_;
};

}  // namespace sluice::bench
