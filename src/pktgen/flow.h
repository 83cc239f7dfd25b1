// What one traffic worker knows of its agents. Agent i of the population belongs to device
// i mod D and has the number i / D there. Headers are set before the worker starts; from then on
// all of it is the worker's alone.
#pragma once

#include <vector>

#include "crypto/aead.h"
#include "pktgen/mailbox.h"
#include "pktgen/options.h"
#include "pktgen/pages.h"

namespace sluice::pktgen {

// Our receiver index: number | generation of the session, 1 to 15.
inline constexpr unsigned kGenerationBits = 4;
constexpr uint32_t make_index(uint32_t local, uint8_t generation) {
  return local << kGenerationBits | generation;
}

// The sending side, two cache lines.
struct alignas(64) Flow {
  uint8_t header[64] = {};  // Ethernet, IP, UDP towards the relay; lengths and checksums 0
  uint64_t sequence = 0;    // of the session
  uint64_t sent = 0;        // of the flow, over all its sessions
  uint32_t relay_index = 0;
  uint32_t label = 0;
  uint32_t agent = 0;   // in the population
  uint32_t ip_sum = 0;  // of the IPv4 header without its length
  uint8_t salt[4] = {};
  uint8_t header_size = 0;
  uint8_t queue = 0;
  bool keyed = false;
};
static_assert(sizeof(Flow) == 128);

struct ReceiveKey {
  uint8_t generation = 0;
  ByteArray<4> salt{};
  ByteArray<32> key{};
};

// The running session and the one before, which still receives. Schedules are expanded when a
// packet is opened, which is rare, and would double the memory.
struct Receiver {
  ReceiveKey current;
  ReceiveKey previous;
};

struct FlowTable {
  explicit FlowTable(uint32_t count)
      : flows(count), keys(count), receivers(count), generations(count) {}

  Pages<Flow> flows;
  Pages<crypto::GcmKey> keys;
  Pages<Receiver> receivers;
  std::vector<uint8_t> generations;  // current in the low half, previous in the high

  bool knows(uint32_t index) const noexcept {
    const uint32_t local = index >> kGenerationBits;
    if (local >= generations.size()) return false;
    const uint8_t g = index & 15, both = generations[local];
    return g != 0 && (g == (both & 15) || g == both >> 4);
  }
  const ReceiveKey& receive_key(uint32_t index) const noexcept {
    const Receiver& r = receivers[index >> kGenerationBits];
    return r.current.generation == (index & 15) ? r.current : r.previous;
  }
  // Takes a new session over; wipes the message.
  void set_keys(uint32_t local, KeyMessage& keys) noexcept;
};

// The source of agent `agent` and its headers towards the relay.
wire::IpBytes source_address(const DeviceOptions& device, uint32_t agent);
uint16_t source_port(uint32_t agent);
uint32_t addresses_used(uint32_t agents);
void set_header(Flow& flow, const DeviceOptions& device, const wire::Mac& own, uint32_t agent);

// Writes the headers for a UDP payload of this size. IPv6's UDP checksum stays 0.
inline void write_headers(const Flow& f, uint8_t* at, uint16_t payload) noexcept {
  std::memcpy(at, f.header, sizeof f.header);
  const auto udp = static_cast<uint16_t>(payload + wire::kUdpSize);
  store_be16(at + f.header_size - 4, udp);
  if (f.header_size == 62) {
    store_be16(at + wire::kEthSize + 4, udp);
  } else {
    const uint16_t total = __builtin_bswap16(static_cast<uint16_t>(udp + wire::kIp4Size));
    store_le(at + wire::kEthSize + 2, total);
    store_le(at + wire::kEthSize + 10, wire::checksum_fold(f.ip_sum + total));
  }
}

}  // namespace sluice::pktgen
