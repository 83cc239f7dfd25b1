#include "wire/ip.h"

namespace sluice::wire {
namespace {

constexpr uint8_t kTtl = 64;
constexpr uint8_t kExtensionHeaders[] = {0, 43, 50, 51, 60, 135, 139, 140};
constexpr uint8_t kIp6Fragment = 44;

IpVerdict parse_ip4(Bytes frame, uint16_t mtu, IpView& out) noexcept {
  if (frame.size() < kEthSize + kIp4Size) return IpVerdict::kRunt;
  const uint8_t* ip = frame.data() + kEthSize;
  if (ip[0] >> 4 != 4 || (ip[0] & 15) < 5) return IpVerdict::kMalformed;
  const size_t total = load_be16(ip + 2);
  if (total > mtu) return IpVerdict::kGso;
  const size_t header = size_t{ip[0] & 15u} * 4;
  if (total < header) return IpVerdict::kMalformed;
  if (frame.size() < kEthSize + total) return IpVerdict::kRunt;
  if (checksum_fold(checksum_add({ip, header}, 0)) != 0) return IpVerdict::kMalformed;
  if ((load_be16(ip + 6) & 0x3fff) != 0) return IpVerdict::kFragment;
  if (header != kIp4Size) return IpVerdict::kExtension;
  out.protocol = ip[9];
  out.tos = ip[1];
  out.l4_offset = kEthSize + kIp4Size;
  out.payload_offset = out.l4_offset;
  out.payload_size = static_cast<uint16_t>(total - kIp4Size);
  return IpVerdict::kOther;
}

IpVerdict parse_ip6(Bytes frame, uint16_t mtu, IpView& out) noexcept {
  if (frame.size() < kEthSize + kIp6Size) return IpVerdict::kRunt;
  const uint8_t* ip = frame.data() + kEthSize;
  if (ip[0] >> 4 != 6) return IpVerdict::kMalformed;
  const size_t length = load_be16(ip + 4);
  if (kIp6Size + length > mtu) return IpVerdict::kGso;
  if (frame.size() < kEthSize + kIp6Size + length) return IpVerdict::kRunt;
  if (ip[6] == kIp6Fragment) return IpVerdict::kFragment;
  for (uint8_t e : kExtensionHeaders) {
    if (ip[6] == e) return IpVerdict::kExtension;
  }
  out.v6 = true;
  out.protocol = ip[6];
  out.tos = static_cast<uint8_t>(load_be16(ip) >> 4);
  out.l4_offset = kEthSize + kIp6Size;
  out.payload_offset = out.l4_offset;
  out.payload_size = static_cast<uint16_t>(length);
  return IpVerdict::kOther;
}

}  // namespace

IpBytes mapped_ip4(const uint8_t* four) noexcept {
  IpBytes out{};
  out[10] = out[11] = 0xff;
  std::memcpy(out.data() + 12, four, 4);
  return out;
}

IpVerdict parse_ip(Bytes frame, uint16_t mtu, IpView& out) noexcept {
  out = {};
  if (frame.size() < kEthSize) return IpVerdict::kRunt;
  IpVerdict verdict = IpVerdict::kNotIp;
  switch (load_be16(frame.data() + 12)) {
    case kEtherIp4:
      verdict = parse_ip4(frame, mtu, out);
      break;
    case kEtherIp6:
      verdict = parse_ip6(frame, mtu, out);
      break;
    case kEtherArp:
      return IpVerdict::kArp;
    default:
      return IpVerdict::kNotIp;
  }
  if (verdict != IpVerdict::kOther || out.protocol != kProtoUdp) return verdict;
  if (out.payload_size < kUdpSize) return IpVerdict::kRunt;
  const uint16_t udp_length = load_be16(frame.data() + out.l4_offset + 4);
  if (udp_length < kUdpSize || udp_length != out.payload_size) return IpVerdict::kMalformed;
  out.payload_offset = static_cast<uint16_t>(out.l4_offset + kUdpSize);
  out.payload_size = static_cast<uint16_t>(udp_length - kUdpSize);
  return IpVerdict::kUdp;
}

IpBytes PathHeader::remote_ip() const noexcept {
  if (v6()) return take<16>(bytes + kEthSize + 24);
  return mapped_ip4(bytes + kEthSize + 16);
}

uint16_t PathHeader::remote_port() const noexcept {
  return load_be16(bytes + (size - kUdpSize) + 2);
}

PathHeader reply_path(const uint8_t* frame, bool v6, uint8_t port) noexcept {
  PathHeader out{};
  const size_t l4 = kEthSize + (v6 ? kIp6Size : kIp4Size);
  out.port = port;
  out.size = static_cast<uint8_t>(l4 + kUdpSize);
  std::memcpy(out.bytes, frame + 6, 6);
  std::memcpy(out.bytes + 6, frame, 6);
  std::memcpy(out.bytes + 12, frame + 12, 2);
  uint8_t* ip = out.bytes + kEthSize;
  const uint8_t* in = frame + kEthSize;
  if (v6) {
    ip[0] = 0x60;
    ip[6] = kProtoUdp;
    ip[7] = kTtl;
    std::memcpy(ip + 8, in + 24, 16);
    std::memcpy(ip + 24, in + 8, 16);
  } else {
    ip[0] = 0x45;
    ip[6] = 0x40;  // don't fragment, so the ID may stay 0 (RFC 6864)
    ip[8] = kTtl;
    ip[9] = kProtoUdp;
    std::memcpy(ip + 12, in + 16, 4);
    std::memcpy(ip + 16, in + 12, 4);
    store_le(out.bytes + kEthSize + kIp4Size + kUdpSize,
             static_cast<uint16_t>(~checksum_fold(checksum_add({ip, kIp4Size}, 0))));
  }
  std::memcpy(out.bytes + l4, frame + l4 + 2, 2);
  std::memcpy(out.bytes + l4 + 2, frame + l4, 2);
  return out;
}

SourceTag source_of(const PathHeader& path) noexcept {
  // A path is the frame that answers; the path back from that one is the frame itself.
  const PathHeader frame = reply_path(path.bytes, path.v6(), path.port);
  return source_of(frame.bytes, path.v6(), path.port);
}

void write_headers(uint8_t* at, const PathHeader& path, uint16_t payload_size,
                   uint8_t tos) noexcept {
  const auto word = [&path](int i) {
    return load_le<uint64_t>(reinterpret_cast<const uint8_t*>(&path) + 8 * i);
  };
  write_headers_before(at + path.size, word, payload_size, tos);
}

uint32_t checksum_add(Bytes data, uint32_t sum) noexcept {
  uint64_t acc = sum;
  const uint8_t* p = data.data();
  size_t n = data.size();
  for (; n >= 4; p += 4, n -= 4) acc += load_le<uint32_t>(p);
  if (n >= 2) {
    acc += load_le<uint16_t>(p);
    p += 2;
    n -= 2;
  }
  if (n != 0) acc += *p;
  acc = (acc & 0xffffffff) + (acc >> 32);
  acc = (acc & 0xffffffff) + (acc >> 32);
  // Two more folds keep the result within 17 bits, so that callers may go on adding.
  acc = (acc & 0xffff) + (acc >> 16);
  return static_cast<uint32_t>(acc);
}

uint16_t checksum_fold(uint32_t sum) noexcept {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

uint32_t pseudo_header_sum(const uint8_t* ip, bool v6, uint8_t protocol,
                           uint16_t l4_size) noexcept {
  uint8_t tail[4] = {0, protocol, 0, 0};
  store_be16(tail + 2, l4_size);
  const uint32_t sum = checksum_add({tail, 4}, 0);
  return v6 ? checksum_add({ip + 8, 32}, sum) : checksum_add({ip + 12, 8}, sum);
}

void finish_udp_checksum(uint8_t* at, bool v6, uint16_t payload_size) noexcept {
  uint8_t* ip = at + kEthSize;
  uint8_t* udp = ip + (v6 ? kIp6Size : kIp4Size);
  const uint16_t size = static_cast<uint16_t>(payload_size + kUdpSize);
  store_le<uint16_t>(udp + 6, 0);
  uint16_t sum =
      checksum_fold(checksum_add({udp, size}, pseudo_header_sum(ip, v6, kProtoUdp, size)));
  if (sum == 0) sum = 0xffff;
  store_le(udp + 6, sum);
}

UdpChecksum check_udp(const uint8_t* frame, bool v6, uint16_t payload_size) noexcept {
  const uint8_t* udp = frame + kEthSize + (v6 ? kIp6Size : kIp4Size);
  const uint16_t size = static_cast<uint16_t>(payload_size + kUdpSize);
  const uint16_t field = load_le<uint16_t>(udp + 6);
  if (field == 0) return UdpChecksum::kAbsent;
  const uint32_t pseudo = pseudo_header_sum(frame + kEthSize, v6, kProtoUdp, size);
  if (checksum_fold(checksum_add({udp, size}, pseudo)) == 0) return UdpChecksum::kGood;
  return static_cast<uint16_t>(~checksum_fold(pseudo)) == field ? UdpChecksum::kUnfilled
                                                                : UdpChecksum::kBad;
}

}  // namespace sluice::wire
