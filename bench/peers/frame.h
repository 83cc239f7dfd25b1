// Ethernet, IPv4 and UDP headers of packets that a host makes itself. No state.
#pragma once

#include "bench/peers/host.h"

namespace sluice::bench {

inline constexpr size_t kIpUdp = wire::kIp4Size + wire::kUdpSize;

// IPv4 and UDP headers before a payload of `size` bytes at `at + kIpUdp`. The UDP checksum is 0
// ("none"), so that no receiver spends time on it.
void write_ip_udp(uint8_t* at, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port,
                  size_t size);

}  // namespace sluice::bench
