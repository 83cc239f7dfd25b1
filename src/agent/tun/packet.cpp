#include "agent/tun/packet.h"

#include <algorithm>

namespace sluice::agent {
namespace {

constexpr uint8_t kTypeUnreachable = 1, kTypeTooBig = 2;
constexpr uint8_t kLeastInformational = 128;
constexpr size_t kIcmpHeader = 8;
constexpr size_t kIcmpChecksum = 2;
constexpr uint8_t kHopLimit = 64;

bool may_be_answered(Bytes packet) {
  if (packet.size() < wire::kIp6Size || is_multicast(packet.data() + ip6_field::kTarget) ||
      is_multicast(packet.data() + ip6_field::kSource)) {
    return false;
  }
  const auto source = packet.subspan(ip6_field::kSource, 16);
  if (std::all_of(source.begin(), source.end(), [](uint8_t b) { return b == 0; })) return false;
  return packet[ip6_field::kNext] != wire::kProtoIcmp6 ||
         (packet.size() > wire::kIp6Size && packet[wire::kIp6Size] >= kLeastInformational);
}

Buffer icmp_error(Bytes packet, uint8_t type, uint8_t code, uint32_t value) {
  if (!may_be_answered(packet)) return {};
  const size_t quoted = std::min(packet.size(), kIp6LeastMtu - wire::kIp6Size - kIcmpHeader);
  Buffer out(wire::kIp6Size + kIcmpHeader + quoted, 0);
  out[0] = 0x60;
  store_be16(out.data() + ip6_field::kLength, static_cast<uint16_t>(kIcmpHeader + quoted));
  out[ip6_field::kNext] = wire::kProtoIcmp6;
  out[ip6_field::kHops] = kHopLimit;
  std::copy_n(packet.data() + ip6_field::kTarget, 16, out.data() + ip6_field::kSource);
  std::copy_n(packet.data() + ip6_field::kSource, 16, out.data() + ip6_field::kTarget);
  uint8_t* icmp = out.data() + wire::kIp6Size;
  icmp[0] = type;
  icmp[1] = code;
  store_be32(icmp + 4, value);
  std::copy_n(packet.data(), quoted, icmp + kIcmpHeader);
  fill_checksum(out, wire::kIp6Size, kIcmpChecksum);
  return out;
}

uint16_t sum_of(Bytes packet, size_t transport_at) {
  const Bytes transport = packet.subspan(transport_at);
  return wire::checksum_fold(wire::checksum_add(
      transport, wire::pseudo_header_sum(packet.data(), true, packet[ip6_field::kNext],
                                         static_cast<uint16_t>(transport.size()))));
}

}  // namespace

bool is_whole_ip6(Bytes packet) {
  return packet.size() >= wire::kIp6Size && packet[0] >> 4 == 6 &&
         wire::kIp6Size + load_be16(packet.data() + ip6_field::kLength) == packet.size();
}

std::optional<TcpView> parse_tcp(Bytes packet) {
  if (!is_whole_ip6(packet) || packet[ip6_field::kNext] != kProtoTcp ||
      packet.size() < wire::kIp6Size + kTcpHeader) {
    return std::nullopt;
  }
  const uint8_t* t = packet.data() + wire::kIp6Size;
  const size_t header = size_t{4} * (t[tcp_field::kOffset] >> 4);
  if (header < kTcpHeader || packet.size() < wire::kIp6Size + header) return std::nullopt;
  const size_t at = wire::kIp6Size + header;
  return TcpView{at, packet.size() - at, load_be32(t + tcp_field::kSequence), t[tcp_field::kFlags]};
}

bool checksum_holds(Bytes packet, size_t transport_at) {
  return sum_of(packet, transport_at) == 0;
}

void fill_checksum(MutBytes packet, size_t transport_at, size_t offset) {
  uint8_t* at = packet.data() + transport_at + offset;
  at[0] = at[1] = 0;
  const uint16_t sum = sum_of(packet, transport_at);
  // Zero says "none" in UDP.
  const bool none = sum == 0 && packet[ip6_field::kNext] == wire::kProtoUdp;
  store_le<uint16_t>(at, none ? uint16_t{0xffff} : sum);
}

Buffer unreachable(Bytes packet, Unreachable code) {
  return icmp_error(packet, kTypeUnreachable, uint8_t(code), 0);
}

Buffer too_big(Bytes packet, uint32_t mtu) {
  return icmp_error(packet, kTypeTooBig, 0, mtu);
}

}  // namespace sluice::agent
