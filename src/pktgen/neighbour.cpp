#include "pktgen/neighbour.h"

namespace sluice::pktgen {
namespace {

using wire::kEthSize;
using wire::kIp6Size;

constexpr size_t kArpSize = 28;
constexpr uint8_t kArpHead[7] = {0, 1, 8, 0, 6, 4, 0};
constexpr size_t kNdpSize = 32;  // ICMPv6 header, target, one link-layer option
constexpr uint8_t kSolicitation = 135;
constexpr uint8_t kAdvertisement = 136;

void fill_checksum(uint8_t* ip) noexcept {
  uint8_t* icmp = ip + kIp6Size;
  store_le<uint16_t>(icmp + 2, 0);
  const uint32_t pseudo = wire::pseudo_header_sum(ip, true, wire::kProtoIcmp6, kNdpSize);
  store_le(icmp + 2, wire::checksum_fold(wire::checksum_add({icmp, kNdpSize}, pseudo)));
}

size_t build_solicitation(const AddressRange& own, const wire::IpBytes& target, uint8_t* f) {
  const uint8_t group[6] = {0x33, 0x33, 0xff, target[13], target[14], target[15]};
  std::memcpy(f, group, 6);
  std::memcpy(f + 6, own.mac.data(), 6);
  store_be16(f + 12, wire::kEtherIp6);
  uint8_t* ip = f + kEthSize;
  std::memset(ip, 0, kIp6Size + kNdpSize);
  ip[0] = 0x60;
  store_be16(ip + 4, kNdpSize);
  ip[6] = wire::kProtoIcmp6;
  ip[7] = 255;
  std::memcpy(ip + 8, own.first.data(), 16);
  const uint8_t solicited[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  std::memcpy(ip + 24, solicited, 13);
  std::memcpy(ip + 37, target.data() + 13, 3);
  uint8_t* icmp = ip + kIp6Size;
  icmp[0] = kSolicitation;
  std::memcpy(icmp + 8, target.data(), 16);
  icmp[24] = 1;  // source link-layer address, in units of 8 bytes
  icmp[25] = 1;
  std::memcpy(icmp + 26, own.mac.data(), 6);
  fill_checksum(ip);
  return kEthSize + kIp6Size + kNdpSize;
}

bool is_ndp(Bytes frame, uint8_t type) noexcept {
  return frame.size() >= kEthSize + kIp6Size + kNdpSize &&
         load_be16(frame.data() + 12) == wire::kEtherIp6 &&
         frame[kEthSize + 6] == wire::kProtoIcmp6 && frame[kEthSize + kIp6Size] == type;
}

bool is_arp(Bytes frame, uint8_t operation) noexcept {
  return frame.size() >= kEthSize + kArpSize && load_be16(frame.data() + 12) == wire::kEtherArp &&
         std::memcmp(frame.data() + kEthSize, kArpHead, 7) == 0 && frame[kEthSize + 7] == operation;
}

void turn_ethernet(uint8_t* eth, const wire::Mac& mac) noexcept {
  std::memcpy(eth, eth + 6, 6);
  std::memcpy(eth + 6, mac.data(), 6);
}

void turn_solicitation(const AddressRange& own, uint8_t* eth) noexcept {
  uint8_t* ip = eth + kEthSize;
  uint8_t* icmp = ip + kIp6Size;
  turn_ethernet(eth, own.mac);
  std::memcpy(ip + 24, ip + 8, 16);
  std::memcpy(ip + 8, icmp + 8, 16);
  icmp[0] = kAdvertisement;
  store_be32(icmp + 4, 0x60000000);  // solicited, override
  icmp[24] = 2;                      // target link-layer address
  std::memcpy(icmp + 26, own.mac.data(), 6);
  fill_checksum(ip);
}

}  // namespace

bool AddressRange::holds(const wire::IpBytes& ip) const noexcept {
  return std::memcmp(ip.data(), first.data(), 12) == 0 &&
         load_be32(ip.data() + 12) - load_be32(first.data() + 12) < count;
}

wire::IpBytes address_after(const wire::IpBytes& base, uint32_t n) noexcept {
  wire::IpBytes out = base;
  store_be32(out.data() + 12, load_be32(base.data() + 12) + n);
  return out;
}

size_t build_question(const AddressRange& own, const wire::IpBytes& target, uint8_t* f) {
  if (own.v6) return build_solicitation(own, target, f);
  std::memset(f, 0xff, 6);
  std::memcpy(f + 6, own.mac.data(), 6);
  store_be16(f + 12, wire::kEtherArp);
  uint8_t* arp = f + kEthSize;
  std::memcpy(arp, kArpHead, 7);
  arp[7] = 1;
  std::memcpy(arp + 8, own.mac.data(), 6);
  std::memcpy(arp + 14, own.first.data() + 12, 4);
  std::memset(arp + 18, 0, 6);
  std::memcpy(arp + 24, target.data() + 12, 4);
  std::memset(arp + kArpSize, 0, 60 - kEthSize - kArpSize);
  return 60;
}

std::optional<wire::Mac> read_answer(Bytes frame, bool v6, const wire::IpBytes& target) noexcept {
  if (!v6) {
    const uint8_t* arp = frame.data() + kEthSize;
    if (!is_arp(frame, 2) || std::memcmp(arp + 14, target.data() + 12, 4) != 0) {
      return std::nullopt;
    }
    return take<6>(arp + 8);
  }
  const uint8_t* icmp = frame.data() + kEthSize + kIp6Size;
  if (!is_ndp(frame, kAdvertisement) || std::memcmp(icmp + 8, target.data(), 16) != 0 ||
      icmp[24] != 2) {
    return std::nullopt;
  }
  return take<6>(icmp + 26);
}

bool answer_question(const AddressRange& own, MutBytes frame) noexcept {
  uint8_t* eth = frame.data();
  if (own.v6) {
    if (!is_ndp(frame, kSolicitation)) return false;
    if (!own.holds(take<16>(eth + kEthSize + kIp6Size + 8))) return false;
    turn_solicitation(own, eth);
    return true;
  }
  if (!is_arp(frame, 1)) return false;
  uint8_t* arp = eth + kEthSize;
  if (!own.holds(wire::mapped_ip4(arp + 24))) return false;
  const auto asked = take<4>(arp + 24);
  turn_ethernet(eth, own.mac);
  arp[7] = 2;
  std::memcpy(arp + 18, arp + 8, 10);
  std::memcpy(arp + 8, own.mac.data(), 6);
  std::memcpy(arp + 14, asked.data(), 4);
  return true;
}

}  // namespace sluice::pktgen
