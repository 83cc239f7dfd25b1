// What the agents are to send in one measurement: plain values, fixed before it begins.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/ip.h"
#include "wire/tunnel.h"

namespace sluice::pktgen {

inline constexpr size_t kFcs = 4;
// UDP payload of a DATAGRAM frame without a message: outer header, tag, frame header.
inline constexpr size_t kTunnelSize = wire::kDataMin;
inline constexpr size_t kStampSize = 24;
inline constexpr size_t kTrailerSize = 16;  // stands for the end-to-end tag

constexpr size_t overhead(bool v6) {
  return wire::kEthSize + (v6 ? wire::kIp6Size : wire::kIp4Size) + wire::kUdpSize + kTunnelSize +
         kFcs;
}

enum class Order : uint8_t { kRandom, kRound };

enum class FloodKind : uint8_t {
  kRandom,      // random bytes of random length
  kForged,      // a real session's header, address and a fresh sequence, with a wrong tag
  kForgedAway,  // the same from addresses that are no agent's
  kReplay,      // packets sent before, byte for byte
  kUnknown,     // a receiver index that nobody has
  kHello,       // HELLO with a good mac1 from spoofed sources
  kBadMac,      // HELLO with a wrong mac1
};
inline constexpr const char* kFloodNames[] = {"random",  "forged", "forged-away", "replay",
                                              "unknown", "hello",  "badmac"};
constexpr const char* name(FloodKind k) {
  return kFloodNames[static_cast<size_t>(k)];
}

struct Flood {
  FloodKind kind = FloodKind::kRandom;
  double pps = 0;  // 0: as many as the generator can
};

// One packet in so many, when latency is wanted of frames without room for a stamp.
inline constexpr uint32_t kDefaultProbe = 256;

struct Traffic {
  std::string label;  // "94" or "imix"
  // Payloads behind the frame header, one per packet in turn: one for a fixed size, twelve of IMIX.
  std::vector<uint16_t> payloads;
  wire::Seal seal = wire::Seal::kFull;
  Order order = Order::kRandom;
  double pps = 0;  // of all agents together; 0: as many as the generator can
  // One packet in so many is enlarged to carry a stamp, where the size itself has no room. 0: none.
  uint32_t probe_every = 0;
  uint32_t presealed = 0;
  uint32_t open_every = 64;
  bool dry = false;  // packets are made and sealed, then dropped instead of sent
  double stray = 0;  // share of packets that leave by another queue than their agent's
  std::vector<Flood> floods;
  double flood_from = 0;
  double flood_until = 0;  // seconds from the start; 0: to the end
};

// A payload that the wire allows: the header seal needs 16 bytes behind the frame header.
constexpr bool payload_fits(size_t payload, wire::Seal seal, bool v6, uint16_t mtu) {
  const size_t ip = overhead(v6) - wire::kEthSize - kFcs + payload;
  return ip <= mtu && (seal != wire::Seal::kHeader || payload >= kTrailerSize);
}

}  // namespace sluice::pktgen
