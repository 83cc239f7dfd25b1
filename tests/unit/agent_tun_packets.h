// TCP over IPv6 for tests of the TUN device, with an oracle of its own: RFC 1071, 8200 and 9293 by
// the letter.
#pragma once

#include <random>

#include "agent/tun/packet.h"

namespace sluice::agent {

inline constexpr size_t kHead = 40, kTcp = 20;

inline uint16_t plain_sum(Bytes packet) {
  uint64_t sum = 0;
  const auto word = [&](const uint8_t* p) { sum += uint64_t(p[0]) << 8 | p[1]; };
  for (size_t at = 8; at < kHead; at += 2) word(packet.data() + at);
  const size_t size = packet.size() - kHead;
  sum += size + packet[6];
  for (size_t at = kHead; at + 1 < packet.size(); at += 2) word(packet.data() + at);
  if (size % 2 == 1) sum += uint64_t(packet.back()) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

struct Segment {
  uint16_t source_port = 1111;
  uint32_t sequence = 1000, acknowledged = 77;
  uint8_t flags = tcp_field::kAck;
  uint16_t window = 5000;
  Buffer options, payload;
  uint8_t traffic_class = 0, hops = 64;
  uint8_t source_end = 1;
};

inline void seal(Buffer& p) {
  p[kHead + 16] = p[kHead + 17] = 0;
  store_be16(p.data() + kHead + 16, static_cast<uint16_t>(~plain_sum(p)));
}

inline Buffer made(const Segment& s) {
  Buffer p(kHead + kTcp, 0);
  p[0] = static_cast<uint8_t>(0x60 | s.traffic_class >> 4);
  p[1] = static_cast<uint8_t>(s.traffic_class << 4);
  p[6] = 6;
  p[7] = s.hops;
  p[8] = 0xfd;
  p[23] = s.source_end;
  p[24] = 0xfd;
  p[39] = 2;
  store_be16(p.data() + 40, s.source_port);
  store_be16(p.data() + 42, 80);
  store_be32(p.data() + 44, s.sequence);
  store_be32(p.data() + 48, s.acknowledged);
  p[52] = static_cast<uint8_t>((kTcp + s.options.size()) / 4 << 4);
  p[53] = s.flags;
  store_be16(p.data() + 54, s.window);
  p.insert(p.end(), s.options.begin(), s.options.end());
  p.insert(p.end(), s.payload.begin(), s.payload.end());
  store_be16(p.data() + 4, static_cast<uint16_t>(p.size() - kHead));
  seal(p);
  return p;
}

inline Buffer random_bytes(std::mt19937& random, size_t n) {
  Buffer out(n);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random());
  return out;
}

struct Written {
  VnetHeader header;
  Buffer packet;
};

}  // namespace sluice::agent
