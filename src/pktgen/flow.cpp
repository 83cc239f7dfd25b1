#include "pktgen/flow.h"

#include "pktgen/neighbour.h"

namespace sluice::pktgen {
namespace {

constexpr uint32_t kPortsPerAddress = 32'000;
constexpr uint16_t kFirstPort = 20'000;
constexpr uint8_t kTtl = 64;

}  // namespace

void FlowTable::set_keys(uint32_t local, KeyMessage& message) noexcept {
  Receiver& r = receivers[local];
  if (r.current.generation != message.generation) r.previous = r.current;
  r.current = {message.generation, message.receive_salt, message.receive};
  generations[local] =
      static_cast<uint8_t>(r.previous.generation << kGenerationBits | message.generation);
  Flow& f = flows[local];
  crypto::aead().expand(message.send.data(), keys[local]);
  std::memcpy(f.salt, message.send_salt.data(), 4);
  f.relay_index = message.relay_index;
  f.sequence = 0;
  f.keyed = true;
  crypto::wipe(&message, sizeof message);
}

wire::IpBytes source_address(const DeviceOptions& device, uint32_t agent) {
  return address_after(device.base, agent / kPortsPerAddress);
}

uint16_t source_port(uint32_t agent) {
  return static_cast<uint16_t>(kFirstPort + agent % kPortsPerAddress);
}

uint32_t addresses_used(uint32_t agents) {
  return (agents + kPortsPerAddress - 1) / kPortsPerAddress;
}

void set_header(Flow& f, const DeviceOptions& device, const wire::Mac& own, uint32_t agent) {
  const auto source = source_address(device, agent);
  uint8_t* p = f.header;
  std::memcpy(p, device.relay_mac.data(), 6);
  std::memcpy(p + 6, own.data(), 6);
  uint8_t* ip = p + wire::kEthSize;
  uint8_t* udp = ip + (device.v6 ? wire::kIp6Size : wire::kIp4Size);
  if (device.v6) {
    store_be16(p + 12, wire::kEtherIp6);
    ip[0] = 0x60;
    ip[6] = wire::kProtoUdp;
    ip[7] = kTtl;
    std::memcpy(ip + 8, source.data(), 16);
    std::memcpy(ip + 24, device.relay.data(), 16);
  } else {
    store_be16(p + 12, wire::kEtherIp4);
    ip[0] = 0x45;
    ip[6] = 0x40;  // don't fragment
    ip[8] = kTtl;
    ip[9] = wire::kProtoUdp;
    std::memcpy(ip + 12, source.data() + 12, 4);
    std::memcpy(ip + 16, device.relay.data() + 12, 4);
    f.ip_sum = wire::checksum_add({ip, wire::kIp4Size}, 0);
  }
  store_be16(udp, source_port(agent));
  store_be16(udp + 2, device.relay_port);
  f.header_size = static_cast<uint8_t>(udp + wire::kUdpSize - p);
  f.agent = agent;
}

}  // namespace sluice::pktgen
