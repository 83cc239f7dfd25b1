// Ethernet, IP and UDP: frames written by hand, every way to be wrong, checksums against a naive
// one, and prebuilt headers against bytes worked out on paper.
#include "wire/ip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "vectors.h"

namespace sluice::wire {
namespace {

using vectors::hex;
using vectors::layout;

constexpr uint16_t kMtu = 1500;

// RFC 1071, word by word in network order.
uint16_t naive_sum(Bytes data, uint32_t start = 0) {
  uint64_t sum = start;
  for (size_t i = 0; i < data.size(); i += 2) {
    sum += uint64_t{data[i]} << 8 | (i + 1 < data.size() ? data[i + 1] : 0u);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

uint16_t naive_udp_checksum(const Buffer& frame, bool v6) {
  const size_t l4 = v6 ? 54 : 34;
  Buffer pseudo(frame.begin() + (v6 ? 22 : 26), frame.begin() + (v6 ? 54 : 34));
  const size_t size = frame.size() - l4;
  pseudo.insert(pseudo.end(), {0, 17, uint8_t(size >> 8), uint8_t(size)});
  Buffer udp(frame.begin() + long(l4), frame.end());
  udp[6] = udp[7] = 0;
  if (udp.size() % 2 != 0) udp.push_back(0);
  udp.insert(udp.end(), pseudo.begin(), pseudo.end());
  const auto sum = static_cast<uint16_t>(~naive_sum(udp));
  return sum == 0 ? 0xffff : sum;
}

// 10.0.0.1:0x1234 to 10.0.0.2:0x5678, TOS 0x02; the header's checksum by `naive_sum`.
Buffer frame4(size_t payload, std::string_view options = "") {
  Buffer f =
      layout("020000000002 020000000001 0800 45 02 0000 0000 4000 40 11 0000 0a000001 0a000002");
  const Buffer extra = layout(options);
  f.insert(f.end(), extra.begin(), extra.end());
  const size_t header = 20 + extra.size();
  f[14] = uint8_t(0x40 | header / 4);
  store_be16(f.data() + 16, uint16_t(header + 8 + payload));
  const Buffer udp = layout("1234 5678 0000 0000");
  f.insert(f.end(), udp.begin(), udp.end());
  store_be16(f.data() + 14 + header + 4, uint16_t(8 + payload));
  for (size_t i = 0; i < payload; ++i) f.push_back(uint8_t(i * 7 + 1));
  store_be16(f.data() + 24, uint16_t(~naive_sum(Bytes(f).subspan(14, header))));
  return f;
}

void refresh(Buffer& frame) {
  frame[24] = frame[25] = 0;
  store_be16(frame.data() + 24, uint16_t(~naive_sum(Bytes(frame).subspan(14, 20))));
}

// fd00::1 to fd00::2, traffic class 0x02, flow label 0xabcde, which nobody reads.
Buffer frame6(size_t payload, uint8_t next_header = 17) {
  Buffer f = layout(
      "020000000002 020000000001 86dd 602abcde 0000 11 40"
      "fd000000000000000000000000000001 fd000000000000000000000000000002 1234 5678 0000 0000");
  f[20] = next_header;
  store_be16(f.data() + 18, uint16_t(8 + payload));
  store_be16(f.data() + 58, uint16_t(8 + payload));
  for (size_t i = 0; i < payload; ++i) f.push_back(uint8_t(i * 7 + 1));
  return f;
}

IpVerdict verdict(const Buffer& frame, uint16_t mtu = kMtu) {
  IpView view;
  return parse_ip(frame, mtu, view);
}

#define EXPECT_VERDICT(frame, expected) EXPECT_EQ(int(verdict(frame)), int(IpVerdict::expected))

TEST(Ip, UdpOverIp4) {
  const Buffer f = frame4(100);
  IpView v;
  ASSERT_EQ(int(parse_ip(f, kMtu, v)), int(IpVerdict::kUdp));
  EXPECT_FALSE(v.v6);
  EXPECT_EQ(v.protocol, 17);
  EXPECT_EQ(v.tos, 2);
  EXPECT_EQ(v.l4_offset, 34);
  EXPECT_EQ(v.payload_offset, 42);
  EXPECT_EQ(v.payload_size, 100);
}

TEST(Ip, UdpOverIp6) {
  const Buffer f = frame6(100);
  IpView v;
  ASSERT_EQ(int(parse_ip(f, kMtu, v)), int(IpVerdict::kUdp));
  EXPECT_TRUE(v.v6);
  EXPECT_EQ(v.protocol, 17);
  EXPECT_EQ(v.tos, 2);
  EXPECT_EQ(v.l4_offset, 54);
  EXPECT_EQ(v.payload_offset, 62);
  EXPECT_EQ(v.payload_size, 100);
}

TEST(Ip, TosAndTrafficClassInAllBits) {
  for (int tos = 0; tos < 256; ++tos) {
    Buffer four = frame4(20);
    four[15] = uint8_t(tos);
    refresh(four);
    IpView v;
    ASSERT_EQ(int(parse_ip(four, kMtu, v)), int(IpVerdict::kUdp));
    EXPECT_EQ(v.tos, tos);
    Buffer six = frame6(20);
    store_be16(six.data() + 14, uint16_t(0x600f | tos << 4));
    ASSERT_EQ(int(parse_ip(six, kMtu, v)), int(IpVerdict::kUdp));
    EXPECT_EQ(v.tos, tos);
  }
}

TEST(Ip, PaddingOfShortEthernetFramesIsNotPayload) {
  for (Buffer f : {frame4(1), frame6(1)}) {
    f.resize(f.size() + 17, 0xee);
    IpView v;
    ASSERT_EQ(int(parse_ip(f, kMtu, v)), int(IpVerdict::kUdp));
    EXPECT_EQ(v.payload_size, 1);
  }
}

// A frame that ends anywhere before its end is a runt, and nothing beyond it is read: each one is
// its own allocation for a sanitizer to see.
TEST(Ip, EveryTruncationIsARunt) {
  for (const Buffer& good : {frame4(30), frame6(30), frame4(0), frame6(0)}) {
    EXPECT_VERDICT(good, kUdp);
    for (size_t n = 0; n < good.size(); ++n) {
      const Buffer cut(good.begin(), good.begin() + long(n));
      EXPECT_EQ(int(verdict(cut)), int(IpVerdict::kRunt)) << n << " of " << good.size();
    }
  }
}

TEST(Ip, OtherEtherTypes) {
  Buffer f = frame4(30);
  for (unsigned type : {0x0000u, 0x002eu, 0x0801u, 0x8100u, 0x88a8u, 0x8847u, 0x86deu, 0x88ccu}) {
    store_be16(f.data() + 12, uint16_t(type));
    EXPECT_VERDICT(f, kNotIp) << type;
  }
  store_be16(f.data() + 12, 0x0806);
  EXPECT_VERDICT(f, kArp);
  store_be16(f.data() + 12, 0x86dd);
  EXPECT_VERDICT(f, kMalformed) << "version 4 under IPv6's EtherType";
  Buffer six = frame6(30);
  store_be16(six.data() + 12, 0x0800);
  EXPECT_VERDICT(six, kMalformed) << "version 6 under IPv4's EtherType";
}

TEST(Ip, OtherProtocolsAreNamed) {
  for (unsigned protocol : {1u, 2u, 6u, 41u, 47u, 58u, 132u, 255u}) {
    Buffer f = frame4(30);
    f[23] = uint8_t(protocol);
    refresh(f);
    IpView v;
    ASSERT_EQ(int(parse_ip(f, kMtu, v)), int(IpVerdict::kOther)) << protocol;
    EXPECT_EQ(v.protocol, protocol);
    EXPECT_EQ(v.l4_offset, 34);
    EXPECT_EQ(v.payload_offset, 34);
    EXPECT_EQ(v.payload_size, 38);
  }
  IpView v;
  ASSERT_EQ(int(parse_ip(frame6(30, 58), kMtu, v)), int(IpVerdict::kOther));
  EXPECT_EQ(v.protocol, 58);
  EXPECT_EQ(v.payload_offset, 54);
  EXPECT_EQ(v.payload_size, 38);
}

TEST(Ip, VersionAndHeaderLength) {
  for (int version = 0; version < 16; ++version) {
    Buffer four = frame4(30), six = frame6(30);
    four[14] = uint8_t(version << 4 | 5);
    refresh(four);
    six[14] = uint8_t(version << 4 | (six[14] & 15));
    EXPECT_EQ(int(verdict(four)), int(version == 4 ? IpVerdict::kUdp : IpVerdict::kMalformed));
    EXPECT_EQ(int(verdict(six)), int(version == 6 ? IpVerdict::kUdp : IpVerdict::kMalformed));
  }
  for (int words = 0; words < 5; ++words) {
    Buffer f = frame4(30);
    f[14] = uint8_t(0x40 | words);
    refresh(f);
    EXPECT_VERDICT(f, kMalformed) << words;
  }
}

TEST(Ip, EveryFlippedBitOfTheIp4HeaderIsCaughtByItsChecksum) {
  const Buffer good = frame4(30);
  for (size_t bit = 8 * 14; bit < 8 * 34; ++bit) {
    Buffer bad = good;
    bad[bit / 8] ^= uint8_t(1u << bit % 8);
    EXPECT_NE(int(verdict(bad)), int(IpVerdict::kUdp)) << bit;
    // Version and lengths have answers of their own; what is left is malformed.
    if (bit / 8 > 17) {
      EXPECT_VERDICT(bad, kMalformed) << bit;
    }
  }
  // 0xffff in place of 0x0000 is one's complement's other zero, and both sums are zero.
}

TEST(Ip, Options) {
  EXPECT_VERDICT(frame4(30, "94040000"), kExtension);  // router alert
  EXPECT_VERDICT(frame4(30, std::string(80, '0')), kExtension);
  Buffer cut = frame4(30, "94040000");
  cut[26] ^= 1;
  EXPECT_VERDICT(cut, kMalformed) << "the checksum covers the options' header";
  // Options that the total length does not have room for.
  Buffer f = frame4(0);
  f[14] = 0x4f;
  refresh(f);
  EXPECT_VERDICT(f, kMalformed);
}

TEST(Ip, Fragments) {
  for (unsigned field : {0x2000u, 0x0001u, 0x1fffu, 0x2001u, 0x6000u, 0x4001u, 0xa000u}) {
    Buffer f = frame4(30);
    store_be16(f.data() + 20, uint16_t(field));
    refresh(f);
    EXPECT_VERDICT(f, kFragment) << field;
  }
  Buffer f = frame4(30);
  store_be16(f.data() + 20, 0);
  refresh(f);
  EXPECT_VERDICT(f, kUdp) << "not a fragment, only fragmentable";
  EXPECT_VERDICT(frame6(30, 44), kFragment);
}

TEST(Ip, Ip6ExtensionHeaders) {
  for (unsigned next : {0u, 43u, 50u, 51u, 60u, 135u, 139u, 140u}) {
    EXPECT_EQ(int(verdict(frame6(30, uint8_t(next)))), int(IpVerdict::kExtension)) << next;
  }
}

TEST(Ip, LengthFields) {
  // Beyond the frame: a runt, as long as a frame of that length could exist.
  for (size_t more : {1u, 100u}) {
    Buffer four = frame4(30);
    store_be16(four.data() + 16, uint16_t(58 + more));
    refresh(four);
    EXPECT_VERDICT(four, kRunt);
    Buffer six = frame6(30);
    store_be16(six.data() + 18, uint16_t(38 + more));
    EXPECT_VERDICT(six, kRunt);
  }
  // IPv4's total below its own header.
  for (unsigned total : {0u, 19u}) {
    Buffer f = frame4(30);
    store_be16(f.data() + 16, uint16_t(total));
    refresh(f);
    EXPECT_VERDICT(f, kMalformed) << total;
  }
  // IP leaves no room for UDP's header.
  for (unsigned l4 = 0; l4 < 8; ++l4) {
    Buffer four = frame4(30);
    store_be16(four.data() + 16, uint16_t(20 + l4));
    refresh(four);
    EXPECT_VERDICT(four, kRunt) << l4;
    Buffer six = frame6(30);
    store_be16(six.data() + 18, uint16_t(l4));
    EXPECT_VERDICT(six, kRunt) << l4;
  }
  // UDP's length differs from IP's.
  for (unsigned length : {0u, 7u, 8u, 37u, 39u, 65535u}) {
    Buffer four = frame4(30), six = frame6(30);
    store_be16(four.data() + 38, uint16_t(length));
    store_be16(six.data() + 58, uint16_t(length));
    EXPECT_VERDICT(four, kMalformed) << length;
    EXPECT_VERDICT(six, kMalformed) << length;
  }
}

TEST(Ip, LongerThanTheLinkIsSegmentationOffload) {
  EXPECT_EQ(int(verdict(frame4(1472))), int(IpVerdict::kUdp));
  EXPECT_EQ(int(verdict(frame4(1473))), int(IpVerdict::kGso));
  EXPECT_EQ(int(verdict(frame6(1452))), int(IpVerdict::kUdp));
  EXPECT_EQ(int(verdict(frame6(1453))), int(IpVerdict::kGso));
  EXPECT_EQ(int(verdict(frame4(9000))), int(IpVerdict::kGso));
  EXPECT_EQ(int(verdict(frame4(8972), 9000)), int(IpVerdict::kUdp));
  EXPECT_EQ(int(verdict(frame4(8973), 9000)), int(IpVerdict::kGso));
  // The length field alone decides: only the first segment's bytes may be here.
  Buffer f = frame4(30);
  store_be16(f.data() + 16, 30000);
  EXPECT_VERDICT(f, kGso);
  Buffer six = frame6(30);
  store_be16(six.data() + 18, 65535);
  EXPECT_VERDICT(six, kGso);
}

TEST(Checksum, AgreesWithTheNaiveOneForEveryLength) {
  std::mt19937_64 random(1);
  for (size_t n = 0; n <= 200; ++n) {
    for (int round = 0; round < 20; ++round) {
      Buffer data(n);
      // Also all ones and all zeros, where carries pile up or never come.
      for (auto& b : data) b = round == 0 ? 0xff : round == 1 ? 0 : uint8_t(random());
      uint8_t bytes[2];
      store_le(bytes, checksum_fold(checksum_add(data, 0)));
      ASSERT_EQ(load_be16(bytes), uint16_t(~naive_sum(data))) << n;
      // In two parts of which the first is even.
      const size_t half = n / 4 * 2;
      store_le(bytes, checksum_fold(checksum_add(Bytes(data).subspan(half),
                                                 checksum_add(Bytes(data).first(half), 0))));
      ASSERT_EQ(load_be16(bytes), uint16_t(~naive_sum(data))) << n;
    }
  }
  const Buffer most(65536, 0xff);
  EXPECT_EQ(checksum_fold(checksum_add(most, 0xffffffff)), 0);
  EXPECT_EQ(checksum_fold(0), 0xffff);
  EXPECT_EQ(checksum_fold(0xffffffff), 0);
}

// RFC 1071 section 3: 0001 f203 f4f5 f6f7 sums to ddf2.
TEST(Checksum, ExampleOfRfc1071) {
  uint8_t bytes[2];
  store_le(bytes, checksum_fold(checksum_add(layout("0001 f203 f4f5 f6f7"), 0)));
  EXPECT_EQ(hex(bytes), "220d");
}

TEST(Checksum, PseudoHeaderAgainstTheNaiveOne) {
  for (bool v6 : {false, true}) {
    const Buffer f = v6 ? frame6(0) : frame4(0);
    for (unsigned size : {8u, 300u, 65535u}) {
      Buffer pseudo(f.begin() + (v6 ? 22 : 26), f.begin() + (v6 ? 54 : 34));
      pseudo.insert(pseudo.end(), {0, 58, uint8_t(size >> 8), uint8_t(size)});
      uint8_t bytes[2];
      store_le(bytes,
               uint16_t(~checksum_fold(pseudo_header_sum(f.data() + 14, v6, 58, uint16_t(size)))));
      EXPECT_EQ(load_be16(bytes), naive_sum(pseudo));
    }
  }
}

IpView view_of(const Buffer& frame) {
  IpView v;
  EXPECT_EQ(int(parse_ip(frame, 65535, v)), int(IpVerdict::kUdp));
  return v;
}

TEST(UdpChecksum, FinishedOnesAreNaivelyRightAndGood) {
  std::mt19937_64 random(2);
  for (bool v6 : {false, true}) {
    for (size_t n = 0; n <= 200; ++n) {
      Buffer f = v6 ? frame6(n) : frame4(n);
      for (size_t i = 0; i < n; ++i) f[f.size() - 1 - i] = uint8_t(random());
      const size_t at = v6 ? 60 : 40;
      store_be16(f.data() + at, uint16_t(random()));  // a stale value does not matter
      finish_udp_checksum(f.data(), v6, uint16_t(n));
      ASSERT_EQ(load_be16(f.data() + at), naive_udp_checksum(f, v6)) << n;
      ASSERT_EQ(int(check_udp(f.data(), view_of(f))), int(UdpChecksum::kGood)) << n;
      for (size_t bit : {8 * (at + 1), 8 * (at - 6), 8 * (at - 10)}) {
        Buffer bad = f;
        bad[bit / 8] ^= 1;
        EXPECT_NE(int(check_udp(bad.data(), view_of(f))), int(UdpChecksum::kGood));
      }
    }
  }
}

// A payload word chosen so that the sum is all ones: the complement 0 is sent as 0xffff.
TEST(UdpChecksum, ZeroIsWrittenAsAllOnes) {
  for (bool v6 : {false, true}) {
    Buffer f = v6 ? frame6(2) : frame4(2);
    f[f.size() - 2] = f[f.size() - 1] = 0;
    store_be16(f.data() + f.size() - 2, naive_udp_checksum(f, v6));
    const size_t at = v6 ? 60 : 40;
    finish_udp_checksum(f.data(), v6, 2);
    EXPECT_EQ(load_be16(f.data() + at), 0xffff);
    EXPECT_EQ(int(check_udp(f.data(), view_of(f))), int(UdpChecksum::kGood));
  }
}

TEST(UdpChecksum, Kinds) {
  for (bool v6 : {false, true}) {
    Buffer f = v6 ? frame6(33) : frame4(33);
    const size_t at = v6 ? 60 : 40;
    const IpView v = view_of(f);
    EXPECT_EQ(int(check_udp(f.data(), v)), int(UdpChecksum::kAbsent));
    finish_udp_checksum(f.data(), v6, 33);
    EXPECT_EQ(int(check_udp(f.data(), v)), int(UdpChecksum::kGood));
    const uint16_t good = load_be16(f.data() + at);
    // What a sender leaves for its hardware: the pseudo header's sum, not complemented.
    Buffer pseudo(f.begin() + (v6 ? 22 : 26), f.begin() + (v6 ? 54 : 34));
    pseudo.insert(pseudo.end(), {0, 17, 0, 41});
    const uint16_t unfilled = naive_sum(pseudo);
    size_t counts[4] = {};
    for (unsigned field = 0; field < 0x10000; ++field) {
      store_be16(f.data() + at, uint16_t(field));
      const auto kind = check_udp(f.data(), v);
      ++counts[size_t(kind)];
      if (field == 0) {
        EXPECT_EQ(int(kind), int(UdpChecksum::kAbsent));
      }
      if (field == good) {
        EXPECT_EQ(int(kind), int(UdpChecksum::kGood));
      }
      if (field == unfilled) {
        EXPECT_EQ(int(kind), int(UdpChecksum::kUnfilled));
      }
    }
    EXPECT_EQ(counts[size_t(UdpChecksum::kGood)], 1u);
    EXPECT_EQ(counts[size_t(UdpChecksum::kAbsent)], 1u);
    EXPECT_EQ(counts[size_t(UdpChecksum::kUnfilled)], 1u);
    EXPECT_EQ(counts[size_t(UdpChecksum::kBad)], 0x10000u - 3);
    // A payload byte changes what was good, whatever the payload's parity.
    store_be16(f.data() + at, good);
    f.back() ^= 0x80;
    EXPECT_EQ(int(check_udp(f.data(), v)), int(UdpChecksum::kBad));
  }
}

TEST(Path, HeadersByHandIp4) {
  const Buffer in = frame4(5);
  const PathHeader path = reply_path(in.data(), view_of(in), 3);
  EXPECT_EQ(path.port, 3);
  EXPECT_EQ(path.size, 42);
  EXPECT_FALSE(path.v6());
  EXPECT_EQ(hex(path.remote_ip()), "00000000000000000000ffff0a000001");
  EXPECT_EQ(path.remote_port(), 0x1234);
  Buffer out(42 + 1, 0xcc);
  write_headers(out.data(), path, 100, 0xb9);
  // Total 128, no ID, don't fragment, TTL 64; checksum by hand:
  // 45b9 + 0080 + 0000 + 4000 + 4011 + 0a00 + 0002 + 0a00 + 0001 = da4d, complement 25b2.
  EXPECT_EQ(hex(Bytes(out).first(42)),
            hex(layout("020000000001 020000000002 0800"
                       "45 b9 0080 0000 4000 40 11 25b2 0a000002 0a000001"
                       "5678 1234 006c 0000")));
  EXPECT_EQ(out.back(), 0xcc);
}

TEST(Path, HeadersByHandIp6) {
  const Buffer in = frame6(5);
  const PathHeader path = reply_path(in.data(), view_of(in), 7);
  EXPECT_EQ(path.port, 7);
  EXPECT_EQ(path.size, 62);
  EXPECT_TRUE(path.v6());
  EXPECT_EQ(hex(path.remote_ip()), "fd000000000000000000000000000001");
  EXPECT_EQ(path.remote_port(), 0x1234);
  Buffer out(62 + 1, 0xcc);
  write_headers(out.data(), path, 100, 0xb9);
  EXPECT_EQ(hex(Bytes(out).first(62)),
            hex(layout("020000000001 020000000002 86dd 6b900000 006c 11 40"
                       "fd000000000000000000000000000002 fd000000000000000000000000000001"
                       "5678 1234 006c 0000")));
  EXPECT_EQ(out.back(), 0xcc);
}

// What write_headers makes parses as UDP of that size, from where the first packet went.
TEST(Path, RoundTripsThroughTheParser) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 4000; ++i) {
    const bool v6 = i % 2 == 1;
    Buffer in = v6 ? frame6(9) : frame4(9);
    for (size_t at = 0; at < 12; ++at) in[at] = uint8_t(random());
    for (size_t at = v6 ? 22 : 26; at < (v6 ? 58u : 38u); ++at) in[at] = uint8_t(random());
    if (!v6) refresh(in);
    const PathHeader path = reply_path(in.data(), view_of(in), uint8_t(i));
    const size_t payload = random() % 1400;
    const auto tos = uint8_t(random());
    Buffer out(path.size + payload);
    for (auto& b : out) b = uint8_t(random());
    write_headers(out.data(), path, uint16_t(payload), tos);
    if (i % 3 == 0) finish_udp_checksum(out.data(), v6, uint16_t(payload));
    IpView v;
    ASSERT_EQ(int(parse_ip(out, kMtu, v)), int(IpVerdict::kUdp));
    EXPECT_EQ(v.v6, v6);
    EXPECT_EQ(v.tos, tos);
    EXPECT_EQ(v.payload_offset, path.size);
    EXPECT_EQ(v.payload_size, payload);
    EXPECT_EQ(int(check_udp(out.data(), v)),
              int(i % 3 == 0 ? UdpChecksum::kGood : UdpChecksum::kAbsent));
    // The way back of the way back is the way there, whatever length, TOS and checksum were.
    const PathHeader back = reply_path(out.data(), v, uint8_t(i));
    Buffer again(path.size + payload);
    write_headers(again.data(), back, 9, 2);
    EXPECT_TRUE(std::equal(in.begin(), in.begin() + 12, again.begin()));
    again.resize(back.size + 9u);
    EXPECT_TRUE(reply_path(again.data(), view_of(again), uint8_t(i)) == path);
  }
}

TEST(Path, EqualityIsThePathAndNothingElse) {
  const Buffer in = frame4(5);
  const PathHeader path = reply_path(in.data(), view_of(in), 1);
  const Buffer longer = frame4(77);
  EXPECT_TRUE(reply_path(longer.data(), view_of(longer), 1) == path);
  Buffer other_fields = in;
  other_fields[15] = 0xfc;                     // TOS
  store_be16(other_fields.data() + 18, 0x77);  // ID
  store_be16(other_fields.data() + 20, 0);     // flags
  other_fields[22] = 3;                        // TTL
  store_be16(other_fields.data() + 40, 0x99);  // UDP checksum
  refresh(other_fields);
  EXPECT_TRUE(reply_path(other_fields.data(), view_of(other_fields), 1) == path);
  EXPECT_FALSE(reply_path(in.data(), view_of(in), 2) == path) << "another port";
  for (size_t at : {0u, 6u, 26u, 29u, 30u, 33u, 34u, 35u, 36u, 37u}) {
    Buffer other = in;
    other[at] ^= 1;
    refresh(other);
    EXPECT_FALSE(reply_path(other.data(), view_of(other), 1) == path) << at;
  }
}

TEST(Path, MappedIp4) {
  const uint8_t four[] = {192, 0, 2, 33};
  EXPECT_EQ(hex(mapped_ip4(four)), "00000000000000000000ffffc0000221");
}

}  // namespace
}  // namespace sluice::wire
