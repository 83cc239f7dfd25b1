#include "frames.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

namespace oracle {
namespace {

constexpr uint16_t kEtherIpv4 = 0x0800;
constexpr uint16_t kEtherArp = 0x0806;
constexpr uint16_t kEtherIpv6 = 0x86dd;
constexpr size_t kEtherSize = 14;
constexpr size_t kIpv4Size = 20;
constexpr size_t kIpv6Size = 40;
constexpr size_t kUdpSize = 8;
constexpr uint8_t kIcmp = 1;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kIcmpv6 = 58;
constexpr uint8_t kTtl = 64;
constexpr uint8_t kNeighbourHopLimit = 255;  // RFC 4861: proves that the sender is on the link

void put16(Buf& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void set16(Buf& out, size_t at, uint16_t value) {
  out[at] = static_cast<uint8_t>(value >> 8);
  out[at + 1] = static_cast<uint8_t>(value);
}

uint16_t get16(const Buf& in, size_t at) {
  return static_cast<uint16_t>(in.at(at) << 8 | in.at(at + 1));
}

template <typename Bytes>
void append(Buf& out, const Bytes& bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <size_t N>
void append_ip(Buf& out, const Ip& ip) {
  out.insert(out.end(), ip.begin(), ip.begin() + N);
}

Buf slice(const Buf& in, size_t at, size_t size) {
  if (at > in.size() || size > in.size() - at) {
    throw std::runtime_error("slice beyond the frame");
  }
  return Buf(in.data() + at, in.data() + at + size);
}

Mac mac_at(const Buf& in, size_t at) {
  Mac out{};
  const Buf bytes = slice(in, at, out.size());
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

Ip ip_at(const Buf& in, size_t at, bool v6) {
  Ip out{};
  const Buf bytes = slice(in, at, v6 ? 16 : 4);
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

// RFC 1071. Over bytes that include a right checksum the answer is 0.
uint16_t checksum(const Buf& bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += static_cast<uint64_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
  }
  while (sum >> 16 != 0) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(~sum);
}

uint16_t checksum_with_pseudo_header(const Flow& flow, uint8_t protocol, const Buf& segment) {
  Buf all;
  if (flow.v6) {
    append_ip<16>(all, flow.src_ip);
    append_ip<16>(all, flow.dst_ip);
  } else {
    append_ip<4>(all, flow.src_ip);
    append_ip<4>(all, flow.dst_ip);
  }
  // IPv6 has wider fields here, but the sum of zeros is the same.
  put16(all, protocol);
  put16(all, segment.size());
  append(all, segment);
  return checksum(all);
}

Buf ethernet(const Mac& dst, const Mac& src, uint16_t type) {
  Buf out;
  out.reserve(kEtherSize + kIpv6Size);
  append(out, dst);
  append(out, src);
  put16(out, type);
  return out;
}

Buf ip_frame(const Flow& flow, uint8_t protocol, uint8_t ttl, const Buf& segment) {
  if (segment.size() > 65535 - kIpv4Size) {
    throw std::runtime_error("payload too long for IP");
  }
  Buf out = ethernet(flow.dst_mac, flow.src_mac, flow.v6 ? kEtherIpv6 : kEtherIpv4);
  Buf header;
  if (flow.v6) {
    put16(header, 0x6000 | flow.tos << 4);
    put16(header, 0);  // flow label
    put16(header, segment.size());
    header.push_back(protocol);
    header.push_back(ttl);
    append_ip<16>(header, flow.src_ip);
    append_ip<16>(header, flow.dst_ip);
  } else {
    header.push_back(0x45);
    header.push_back(flow.tos);
    put16(header, kIpv4Size + segment.size());
    put16(header, 0);
    put16(header, 0x4000);  // DF
    header.push_back(ttl);
    header.push_back(protocol);
    put16(header, 0);
    append_ip<4>(header, flow.src_ip);
    append_ip<4>(header, flow.dst_ip);
    set16(header, 10, checksum(header));
  }
  append(out, header);
  append(out, segment);
  return out;
}

struct IpPacket {
  Flow flow;
  uint8_t protocol = 0;
  uint8_t ttl = 0;
  bool dont_fragment = false;
  bool checksum_ok = true;
  Buf segment;
};

// Bytes after the IP length are Ethernet padding and dropped.
std::optional<IpPacket> parse_ip(const Buf& frame) {
  if (frame.size() < kEtherSize) {
    return std::nullopt;
  }
  IpPacket out;
  out.flow.dst_mac = mac_at(frame, 0);
  out.flow.src_mac = mac_at(frame, 6);
  const uint16_t type = get16(frame, 12);
  const Buf ip(frame.begin() + kEtherSize, frame.end());
  if (type == kEtherIpv4) {
    if (ip.size() < kIpv4Size || ip[0] >> 4 != 4) {
      return std::nullopt;
    }
    const size_t header_size = (ip[0] & 15) * size_t{4};
    const size_t total = get16(ip, 2);
    const uint16_t fragment = get16(ip, 6);
    if (header_size < kIpv4Size || total < header_size || total > ip.size() ||
        (fragment & 0xbfff) != 0) {
      return std::nullopt;
    }
    out.flow.tos = ip[1];
    out.dont_fragment = (fragment & 0x4000) != 0;
    out.ttl = ip[8];
    out.protocol = ip[9];
    out.checksum_ok = checksum(slice(ip, 0, header_size)) == 0;
    out.flow.src_ip = ip_at(ip, 12, false);
    out.flow.dst_ip = ip_at(ip, 16, false);
    out.segment = slice(ip, header_size, total - header_size);
    return out;
  }
  if (type == kEtherIpv6) {
    if (ip.size() < kIpv6Size || ip[0] >> 4 != 6 || get16(ip, 4) > ip.size() - kIpv6Size) {
      return std::nullopt;
    }
    out.flow.v6 = true;
    out.flow.tos = static_cast<uint8_t>(get16(ip, 0) >> 4);
    out.protocol = ip[6];
    out.ttl = ip[7];
    out.flow.src_ip = ip_at(ip, 8, true);
    out.flow.dst_ip = ip_at(ip, 24, true);
    out.segment = slice(ip, kIpv6Size, get16(ip, 4));
    return out;
  }
  return std::nullopt;
}

}  // namespace

Buf udp_frame(const Flow& flow, const Buf& payload) {
  Buf segment;
  put16(segment, flow.src_port);
  put16(segment, flow.dst_port);
  put16(segment, kUdpSize + payload.size());
  put16(segment, 0);
  append(segment, payload);
  const uint16_t sum = checksum_with_pseudo_header(flow, kUdp, segment);
  set16(segment, 6, sum == 0 ? 0xffff : sum);  // 0 would say that there is none
  return ip_frame(flow, kUdp, kTtl, segment);
}

std::optional<ParsedFrame> parse_udp_frame(const Buf& frame) {
  const auto ip = parse_ip(frame);
  if (!ip || ip->protocol != kUdp || ip->segment.size() < kUdpSize ||
      get16(ip->segment, 4) != ip->segment.size()) {
    return std::nullopt;
  }
  ParsedFrame out;
  out.flow = ip->flow;
  out.flow.src_port = get16(ip->segment, 0);
  out.flow.dst_port = get16(ip->segment, 2);
  out.payload = slice(ip->segment, kUdpSize, ip->segment.size() - kUdpSize);
  out.ttl = ip->ttl;
  out.tos = ip->flow.tos;
  out.dont_fragment = ip->dont_fragment;
  out.ip_checksum_ok = ip->checksum_ok;
  out.udp_checksum_absent = get16(ip->segment, 6) == 0;
  out.udp_checksum_ok = out.udp_checksum_absent
                            ? !ip->flow.v6
                            : checksum_with_pseudo_header(ip->flow, kUdp, ip->segment) == 0;
  return out;
}

Buf arp_request(const Flow& flow) {
  Mac broadcast{};
  broadcast.fill(0xff);
  Buf out = ethernet(broadcast, flow.src_mac, kEtherArp);
  put16(out, 1);  // Ethernet
  put16(out, kEtherIpv4);
  out.push_back(6);
  out.push_back(4);
  put16(out, 1);  // request
  append(out, flow.src_mac);
  append_ip<4>(out, flow.src_ip);
  append(out, Mac{});
  append_ip<4>(out, flow.dst_ip);
  return out;
}

std::optional<ArpReply> parse_arp_reply(const Buf& frame) {
  constexpr size_t kArpSize = 28;
  if (frame.size() < kEtherSize + kArpSize || get16(frame, 12) != kEtherArp ||
      get16(frame, 14) != 1 || get16(frame, 16) != kEtherIpv4 || frame[18] != 6 || frame[19] != 4 ||
      get16(frame, 20) != 2) {
    return std::nullopt;
  }
  ArpReply out;
  out.dst_mac = mac_at(frame, 0);
  out.src_mac = mac_at(frame, 6);
  out.sender_mac = mac_at(frame, 22);
  out.sender_ip = ip_at(frame, 28, false);
  out.target_mac = mac_at(frame, 32);
  out.target_ip = ip_at(frame, 38, false);
  return out;
}

Buf neighbour_solicitation(const Flow& flow) {
  Buf segment{135, 0, 0, 0, 0, 0, 0, 0};
  append(segment, flow.dst_ip);
  segment.push_back(1);  // source link-layer address
  segment.push_back(1);  // in units of 8 bytes
  append(segment, flow.src_mac);

  Flow to_group = flow;
  to_group.v6 = true;
  const Ip& target = flow.dst_ip;
  to_group.dst_ip = {0xff, 2, 0, 0, 0,    0,          0,          0,
                     0,    0, 0, 1, 0xff, target[13], target[14], target[15]};
  to_group.dst_mac = {0x33, 0x33, 0xff, target[13], target[14], target[15]};
  set16(segment, 2, checksum_with_pseudo_header(to_group, kIcmpv6, segment));
  return ip_frame(to_group, kIcmpv6, kNeighbourHopLimit, segment);
}

std::optional<NeighbourAdvertisement> parse_neighbour_advertisement(const Buf& frame) {
  constexpr size_t kFixed = 24;
  const auto ip = parse_ip(frame);
  if (!ip || !ip->flow.v6 || ip->protocol != kIcmpv6 || ip->ttl != kNeighbourHopLimit) {
    return std::nullopt;
  }
  const Buf& s = ip->segment;
  if (s.size() < kFixed || s[0] != 136 || s[1] != 0 ||
      checksum_with_pseudo_header(ip->flow, kIcmpv6, s) != 0) {
    return std::nullopt;
  }
  NeighbourAdvertisement out;
  out.src_mac = ip->flow.src_mac;
  out.dst_mac = ip->flow.dst_mac;
  out.src_ip = ip->flow.src_ip;
  out.dst_ip = ip->flow.dst_ip;
  out.router = (s[4] & 0x80) != 0;
  out.solicited = (s[4] & 0x40) != 0;
  out.override_flag = (s[4] & 0x20) != 0;
  out.target = ip_at(s, 8, true);
  for (size_t at = kFixed; at < s.size();) {
    const size_t left = s.size() - at;
    const size_t size = left < 2 ? 0 : s[at + 1] * size_t{8};
    if (size == 0 || size > left) {
      return std::nullopt;
    }
    if (s[at] == 2) {
      out.target_mac = mac_at(s, at + 2);
    }
    at += size;
  }
  return out;
}

Buf icmp_echo(const Flow& flow, uint16_t id, uint16_t seq, const Buf& data) {
  Buf segment;
  put16(segment, flow.v6 ? 128 << 8 : 8 << 8);
  put16(segment, 0);
  put16(segment, id);
  put16(segment, seq);
  append(segment, data);
  set16(segment, 2,
        flow.v6 ? checksum_with_pseudo_header(flow, kIcmpv6, segment) : checksum(segment));
  return ip_frame(flow, flow.v6 ? kIcmpv6 : kIcmp, kTtl, segment);
}

std::optional<EchoReply> parse_echo_reply(const Buf& frame) {
  const auto ip = parse_ip(frame);
  if (!ip || !ip->checksum_ok || ip->segment.size() < 8 ||
      ip->protocol != (ip->flow.v6 ? kIcmpv6 : kIcmp)) {
    return std::nullopt;
  }
  const Buf& s = ip->segment;
  const uint16_t sum =
      ip->flow.v6 ? checksum_with_pseudo_header(ip->flow, kIcmpv6, s) : checksum(s);
  if (s[0] != (ip->flow.v6 ? 129 : 0) || s[1] != 0 || sum != 0) {
    return std::nullopt;
  }
  EchoReply out;
  out.flow = ip->flow;
  out.id = get16(s, 4);
  out.seq = get16(s, 6);
  out.data = slice(s, 8, s.size() - 8);
  out.ttl = ip->ttl;
  return out;
}

}  // namespace oracle
