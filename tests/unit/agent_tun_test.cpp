// Packets of the TUN device, without the device: addresses, cutting, putting together.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/tun/coalesce.h"
#include "agent/tun/net.h"
#include "agent/tun/segment.h"
#include "agent_tun_packets.h"

namespace sluice::agent {
namespace {

struct Device {
  std::vector<Written> written;
  Coalescer coalescer{[this](const VnetHeader& h, Bytes p) {
    written.push_back({h, to_buffer(p)});
  }};
  void add(const Segment& s) { coalescer.add(made(s)); }
};

std::vector<Buffer> cut(const VnetHeader& header, Buffer packet, size_t most,
                        Segmenter::Verdict expected = Segmenter::Verdict::kOk) {
  std::vector<Buffer> out;
  Segmenter segmenter;
  EXPECT_EQ(segmenter.cut(header, packet, most, [&](Bytes p) { out.push_back(to_buffer(p)); }),
            expected);
  return out;
}

VnetHeader to_be_cut(uint16_t segment) {
  VnetHeader h;
  h.flags = vnet::kNeedsChecksum;
  h.kind = vnet::kTcp6;
  h.head = kHead + kTcp;
  h.segment = segment;
  h.sum_start = kHead;
  h.sum_offset = 16;
  return h;
}

// --- Addresses -----------------------------------------------------------------------------------

TEST(TunNet, AddressesCarryTheVirtualOne) {
  ByteArray<32> relay{};
  const TunNet net(relay);
  // SHA-256 of "sluice-tun/1" and 32 zeros begins with c8 a5 58 a1 b6; computed apart.
  const Ip6 ip = net.address({7, 0x0001a3f0});
  EXPECT_EQ(to_text(ip), "fdc8:a558:a1b6:7::1:a3f0");
  EXPECT_EQ(net.find(ip.data()), (VirtualAddress{7, 0x0001a3f0}));
  relay[31] = 1;
  const TunNet other(relay);
  EXPECT_NE(other.address({7, 0x0001a3f0}), ip);
  EXPECT_FALSE(other.find(ip.data()));
  for (const size_t at : {0, 1, 5, 8, 11}) {
    Ip6 wrong = ip;
    wrong[at] ^= 1;
    EXPECT_FALSE(net.find(wrong.data())) << at;
  }
}

// --- Cutting -------------------------------------------------------------------------------------

TEST(TunSegment, CutsAsTheKernelWould) {
  std::mt19937 random(1);
  for (const size_t payload : {1u, 99u, 100u, 101u, 250u, 65'000u}) {
    Segment s;
    s.sequence = 0xffffff00;  // it wraps on the way
    s.flags = tcp_field::kAck | tcp_field::kPsh | tcp_field::kFin | tcp_field::kCwr;
    s.options = random_bytes(random, 12);
    s.payload = random_bytes(random, payload);
    const auto pieces = cut(to_be_cut(100), made(s), 1280);
    ASSERT_EQ(pieces.size(), (payload + 99) / 100);
    Buffer whole;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const Buffer& p = pieces[i];
      EXPECT_EQ(plain_sum(p), 0xffff);
      EXPECT_EQ(load_be16(p.data() + 4), p.size() - kHead);
      EXPECT_EQ(load_be32(p.data() + kHead + 4), s.sequence + uint32_t(100 * i));
      const bool first = i == 0, last = i + 1 == pieces.size();
      EXPECT_EQ(p[kHead + 13], tcp_field::kAck | (first ? tcp_field::kCwr : 0) |
                                   (last ? tcp_field::kPsh | tcp_field::kFin : 0));
      EXPECT_TRUE(std::equal(s.options.begin(), s.options.end(), p.begin() + kHead + kTcp));
      whole.insert(whole.end(), p.begin() + kHead + kTcp + 12, p.end());
    }
    EXPECT_EQ(whole, s.payload);
  }
}

TEST(TunSegment, CompletesChecksums) {
  Segment s;
  s.payload = {1, 2, 3};
  const Buffer good = made(s);
  VnetHeader h = to_be_cut(0);
  h.kind = vnet::kNone;
  Buffer p = good;
  store_le<uint16_t>(p.data() + kHead + 16,
                     static_cast<uint16_t>(~wire::checksum_fold(wire::pseudo_header_sum(
                         p.data(), true, 6, static_cast<uint16_t>(p.size() - kHead)))));
  EXPECT_EQ(cut(h, p, 1280), std::vector<Buffer>{good});
  EXPECT_EQ(cut({}, good, 1280), std::vector<Buffer>{good}) << "what is complete stays as it is";
  h.sum_start = static_cast<uint16_t>(p.size() - 17);
  EXPECT_TRUE(cut(h, p, 1280, Segmenter::Verdict::kMalformed).empty());
  h.sum_start = 39;
  EXPECT_TRUE(cut(h, p, 1280, Segmenter::Verdict::kMalformed).empty());
}

TEST(TunSegment, WhatDoesNotFitIsNotHalfSent) {
  std::mt19937 random(2);
  Segment s;
  s.payload = random_bytes(random, 5000);
  EXPECT_TRUE(cut(to_be_cut(1240), made(s), 1280, Segmenter::Verdict::kTooBig).empty());
  EXPECT_EQ(cut(to_be_cut(1220), made(s), 1280).size(), 5u);
  EXPECT_TRUE(cut({}, made(s), 1280, Segmenter::Verdict::kTooBig).empty());
  EXPECT_TRUE(cut(to_be_cut(0), made(s), 1280, Segmenter::Verdict::kMalformed).empty());
  VnetHeader unknown = to_be_cut(100);
  unknown.kind = 3;
  EXPECT_TRUE(cut(unknown, made(s), 1280, Segmenter::Verdict::kMalformed).empty());
  Buffer shorter = made(s);
  shorter.pop_back();
  EXPECT_TRUE(cut(to_be_cut(100), shorter, 1280, Segmenter::Verdict::kMalformed).empty());
}

// --- Putting together
// ------------------------------------------------------------------------------

TEST(TunCoalesce, GivesBackWhatWasCut) {
  std::mt19937 random(3);
  for (const size_t payload : {200u, 1000u, 1001u, 1099u, 30'000u}) {
    Segment s;
    s.options = random_bytes(random, 12);
    s.flags |= tcp_field::kPsh;
    s.payload = random_bytes(random, payload);
    const auto pieces = cut(to_be_cut(100), made(s), 1280);
    Device d;
    for (const Buffer& p : pieces) d.coalescer.add(p);
    EXPECT_TRUE(d.written.empty()) << "more may come";
    d.coalescer.flush();
    ASSERT_EQ(d.written.size(), 1u);
    const Written& w = d.written[0];
    EXPECT_EQ(w.header.flags, vnet::kNeedsChecksum);
    EXPECT_EQ(w.header.kind, vnet::kTcp6);
    EXPECT_EQ(w.header.segment, 100);
    EXPECT_EQ(w.header.head, kHead + kTcp + 12);
    EXPECT_EQ(w.header.sum_start, kHead);
    EXPECT_EQ(w.header.sum_offset, 16);
    Buffer whole = w.packet;
    seal(whole);
    EXPECT_EQ(whole, made(s));
    EXPECT_EQ(cut(w.header, w.packet, 1280), pieces) << "as the kernel cuts it again";
    d.coalescer.flush();
    EXPECT_EQ(d.written.size(), 1u) << "nothing is written twice";
  }
}

TEST(TunCoalesce, OneAloneStaysAsItIs) {
  Segment s;
  s.payload = {1, 2, 3};
  Device d;
  d.add(s);
  d.coalescer.flush();
  ASSERT_EQ(d.written.size(), 1u);
  EXPECT_EQ(d.written[0].packet, made(s));
  EXPECT_EQ(d.written[0].header.kind, vnet::kNone);
  EXPECT_EQ(d.written[0].header.flags, 0);
}

// Two that follow each other but for one thing stay two, in their order.
TEST(TunCoalesce, NothingElseIsPutTogether) {
  Segment first;
  first.payload = Buffer(100, 1);
  Segment next = first;
  next.sequence += 100;
  next.payload = Buffer(100, 2);
  const auto written = [&](const Segment& a, const Segment& b, bool broken = false) {
    Device d;
    d.add(a);
    Buffer p = made(b);
    if (broken) p.back() ^= 1;
    d.coalescer.add(p);
    d.coalescer.flush();
    if (d.written.size() == 2) {
      EXPECT_EQ(d.written[0].packet, made(a));
      EXPECT_EQ(d.written[1].packet, p);
      EXPECT_EQ(d.written[1].header.flags, 0) << "the kernel looks at its checksum itself";
    }
    return d.written.size();
  };
  EXPECT_EQ(written(first, next), 1u);
  const std::pair<const char*, std::function<void(Segment&)>> kDiffers[] = {
      {"a gap", [](Segment& s) { ++s.sequence; }},
      {"a repetition", [](Segment& s) { s.sequence -= 100; }},
      {"another acknowledgement", [](Segment& s) { ++s.acknowledged; }},
      {"another window", [](Segment& s) { ++s.window; }},
      {"options", [](Segment& s) { s.options = Buffer(4, 1); }},
      {"a mark of congestion", [](Segment& s) { s.traffic_class = 3; }},
      {"another hop limit", [](Segment& s) { --s.hops; }},
      {"fin", [](Segment& s) { s.flags |= tcp_field::kFin; }},
      {"syn", [](Segment& s) { s.flags |= 2; }},
      {"rst", [](Segment& s) { s.flags |= 4; }},
      {"urgent", [](Segment& s) { s.flags |= 0x20; }},
      {"ece", [](Segment& s) { s.flags |= 0x40; }},
      {"no acknowledgement", [](Segment& s) { s.flags = 0; }},
      {"nothing in it", [](Segment& s) { s.payload.clear(); }},
      {"more in it", [](Segment& s) { s.payload = Buffer(101, 2); }},
      {"another port", [](Segment& s) { ++s.source_port; }},
      {"another source", [](Segment& s) { s.source_end = 9; }},
  };
  for (const auto& [what, change] : kDiffers) {
    Segment other = next;
    change(other);
    EXPECT_EQ(written(first, other), 2u) << what;
  }
  EXPECT_EQ(written(first, next, true), 2u) << "a wrong checksum";
  Segment pushed = first;
  pushed.flags |= tcp_field::kPsh;
  EXPECT_EQ(written(pushed, next), 2u) << "after a push";
}

TEST(TunCoalesce, AShortOneIsTheLast) {
  Segment s;
  s.payload = Buffer(100, 1);
  Device d;
  for (const size_t size : {100u, 60u, 60u}) {
    s.payload = Buffer(size, 7);
    d.add(s);
    s.sequence += uint32_t(size);
  }
  d.coalescer.flush();
  ASSERT_EQ(d.written.size(), 2u);
  EXPECT_EQ(d.written[0].packet.size(), kHead + kTcp + 160);
  EXPECT_EQ(d.written[1].packet.size(), kHead + kTcp + 60);
}

TEST(TunCoalesce, NeverMoreThanAPacketCanHave) {
  Segment s;
  s.payload = Buffer(1300, 1);
  Device d;
  size_t bytes = 0;
  for (int i = 0; i < 200; ++i) {
    d.add(s);
    bytes += s.payload.size();
    s.sequence += 1300;
  }
  d.coalescer.flush();
  size_t out = 0;
  for (const Written& w : d.written) {
    EXPECT_LE(w.packet.size(), 65'535u);
    out += w.packet.size() - kHead - kTcp;
  }
  EXPECT_EQ(out, bytes);
  EXPECT_EQ(d.written.size(), 4u);
}

TEST(TunCoalesce, FlowsKeepTheirOrder) {
  std::mt19937 random(4);
  Device d;
  std::vector<Segment> flows(12);  // more than are open at a time
  std::vector<Buffer> sent(flows.size());
  for (size_t i = 0; i < flows.size(); ++i) flows[i].source_port = static_cast<uint16_t>(i);
  for (int i = 0; i < 5'000; ++i) {
    const size_t f = random() % flows.size();
    Segment& s = flows[f];
    s.payload = random_bytes(random, random() % 8 == 0 ? 0 : random() % 8 == 0 ? 33 : 100);
    s.flags = random() % 16 == 0 ? tcp_field::kAck | tcp_field::kPsh : tcp_field::kAck;
    d.add(s);
    s.sequence += uint32_t(s.payload.size());
    sent[f].insert(sent[f].end(), s.payload.begin(), s.payload.end());
    if (random() % 64 == 0) d.coalescer.flush();
  }
  d.coalescer.flush();
  std::vector<Buffer> got(flows.size());
  std::vector<uint32_t> next(flows.size(), 1000);
  for (const Written& w : d.written) {
    const size_t f = load_be16(w.packet.data() + kHead);
    EXPECT_EQ(load_be32(w.packet.data() + kHead + 4), next[f]);
    const size_t size = w.packet.size() - kHead - kTcp;
    next[f] += uint32_t(size);
    got[f].insert(got[f].end(), w.packet.end() - std::ptrdiff_t(size), w.packet.end());
  }
  EXPECT_EQ(got, sent);
  EXPECT_LT(d.written.size(), 5'000u);
}

TEST(TunCoalesce, WhatIsNoTcpPassesAtOnce) {
  Device d;
  Segment s;
  s.payload = Buffer(100, 1);
  Buffer udp = made(s);
  udp[6] = 17;
  d.coalescer.add(udp);
  Buffer shorter = made(s);
  shorter.resize(kHead + 10);
  store_be16(shorter.data() + 4, 10);
  d.coalescer.add(shorter);
  Buffer offset = made(s);
  offset[kHead + 12] = 0x40;  // a header of 16 bytes
  d.coalescer.add(offset);
  ASSERT_EQ(d.written.size(), 3u);
  EXPECT_EQ(d.written[0].packet, udp);
  EXPECT_EQ(d.written[1].packet, shorter);
  EXPECT_EQ(d.written[2].packet, offset);
}

}  // namespace
}  // namespace sluice::agent
