// Ethernet frames: the parser, and the headers made from what it accepts. IPv4's header checksum is
// also repaired in a copy, so that mutations reach what lies behind it.
#include "fuzz.h"
#include "wire/ip.h"

namespace {

using namespace sluice;
using namespace sluice::wire;

constexpr uint16_t kMtu = 1500;

fuzz::Canary udp4_seen("UDP over IPv4");
fuzz::Canary udp6_seen("UDP over IPv6");
fuzz::Canary good_seen("a right UDP checksum");
fuzz::Canary other_seen("another protocol");

void reply(const uint8_t* frame, const IpView& v) {
  const PathHeader path = reply_path(frame, v, 5);
  SLUICE_REQUIRE(path.size == v.payload_offset && path.port == 5 && path.v6() == v.v6);
  SLUICE_REQUIRE(path.remote_port() == load_be16(frame + v.l4_offset));
  const size_t payload = v.payload_size;
  Buffer out(path.size + payload);
  std::memcpy(out.data() + path.size, frame + v.payload_offset, payload);
  write_headers(out.data(), path, static_cast<uint16_t>(payload), v.tos);
  IpView back;
  SLUICE_REQUIRE(parse_ip(out, kMtu, back) == IpVerdict::kUdp);
  SLUICE_REQUIRE(back.v6 == v.v6 && back.tos == v.tos && back.payload_size == payload);
  SLUICE_REQUIRE(check_udp(out.data(), back) == UdpChecksum::kAbsent);
  finish_udp_checksum(out.data(), v.v6, static_cast<uint16_t>(payload));
  SLUICE_REQUIRE(check_udp(out.data(), back) == UdpChecksum::kGood);
  // There and back again is the same path.
  const PathHeader twice = reply_path(out.data(), back, 5);
  Buffer third(twice.size + payload);
  write_headers(third.data(), twice, static_cast<uint16_t>(payload), 0);
  IpView view;
  SLUICE_REQUIRE(parse_ip(third, kMtu, view) == IpVerdict::kUdp);
  SLUICE_REQUIRE(reply_path(third.data(), view, 5) == path);
}

void frame(Bytes in) {
  IpView v;
  const auto verdict = parse_ip(in, kMtu, v);
  if (verdict == IpVerdict::kOther) other_seen.reached();
  if (verdict == IpVerdict::kOther || verdict == IpVerdict::kUdp) {
    SLUICE_REQUIRE(v.l4_offset == kEthSize + (v.v6 ? kIp6Size : kIp4Size));
    SLUICE_REQUIRE(v.payload_offset >= v.l4_offset);
    SLUICE_REQUIRE(size_t{v.payload_offset} + v.payload_size <= in.size());
    SLUICE_REQUIRE(size_t{v.payload_offset} + v.payload_size <= kEthSize + size_t{kMtu});
    SLUICE_REQUIRE((verdict == IpVerdict::kUdp) == (v.protocol == kProtoUdp));
  }
  if (verdict != IpVerdict::kUdp) return;
  (v.v6 ? udp6_seen : udp4_seen).reached();
  SLUICE_REQUIRE(v.payload_offset == v.l4_offset + kUdpSize);
  if (check_udp(in.data(), v) == UdpChecksum::kGood) good_seen.reached();
  reply(in.data(), v);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  frame({bytes, size});
  if (size < kEthSize + kIp4Size || load_be16(bytes + 12) != kEtherIp4) return 0;
  const size_t header = size_t{bytes[kEthSize] & 15u} * 4;
  if (header < kIp4Size || size < kEthSize + header) return 0;
  Buffer repaired(bytes, bytes + size);
  uint8_t* ip = repaired.data() + kEthSize;
  store_le<uint16_t>(ip + 10, 0);
  store_le(ip + 10, checksum_fold(checksum_add({ip, header}, 0)));
  frame(repaired);
  return 0;
}
