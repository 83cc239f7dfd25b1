#include "bench/peers/frame.h"

namespace sluice::bench {

void write_ip_udp(uint8_t* at, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port,
                  size_t size) {
  std::memset(at, 0, kIpUdp);
  at[0] = 0x45;
  store_be16(at + 2, static_cast<uint16_t>(kIpUdp + size));
  at[6] = 0x40;  // do not fragment
  at[8] = 64;
  at[9] = wire::kProtoUdp;
  store_be32(at + 12, from);
  store_be32(at + 16, to);
  store_le(at + 10, wire::checksum_fold(wire::checksum_add({at, wire::kIp4Size}, 0)));
  uint8_t* udp = at + wire::kIp4Size;
  store_be16(udp, from_port);
  store_be16(udp + 2, to_port);
  store_be16(udp + 4, static_cast<uint16_t>(wire::kUdpSize + size));
}

}  // namespace sluice::bench
