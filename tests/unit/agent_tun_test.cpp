// What passes the TUN device, without the device: addresses, cutting, putting together, refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "agent/tun/bridge.h"

namespace sluice::agent {
namespace {

constexpr size_t kHead = 40, kTcp = 20;

// --- The oracle: RFC 1071 and 9293 by the letter ------------------------------------------------

uint16_t plain_sum(Bytes packet) {
  uint64_t sum = 0;
  const auto word = [&](const uint8_t* p) { sum += uint64_t(p[0]) << 8 | p[1]; };
  for (size_t at = 8; at < kHead; at += 2) word(packet.data() + at);
  const size_t size = packet.size() - kHead;
  sum += size + packet[6];
  for (size_t at = kHead; at + 1 < packet.size(); at += 2) word(packet.data() + at);
  if (size % 2 == 1) sum += uint64_t(packet.back()) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

struct Segment {
  uint16_t source_port = 1111;
  uint32_t sequence = 1000, acknowledged = 77;
  uint8_t flags = tcp_field::kAck;
  uint16_t window = 5000;
  Buffer options, payload;
  uint8_t traffic_class = 0, hops = 64;
  uint8_t source_end = 1;
};

void seal(Buffer& p) {
  p[kHead + 16] = p[kHead + 17] = 0;
  store_be16(p.data() + kHead + 16, static_cast<uint16_t>(~plain_sum(p)));
}

Buffer made(const Segment& s) {
  Buffer p(kHead + kTcp, 0);
  p[0] = static_cast<uint8_t>(0x60 | s.traffic_class >> 4);
  p[1] = static_cast<uint8_t>(s.traffic_class << 4);
  p[6] = 6;
  p[7] = s.hops;
  p[8] = 0xfd;
  p[23] = s.source_end;
  p[24] = 0xfd;
  p[39] = 2;
  store_be16(p.data() + 40, s.source_port);
  store_be16(p.data() + 42, 80);
  store_be32(p.data() + 44, s.sequence);
  store_be32(p.data() + 48, s.acknowledged);
  p[52] = static_cast<uint8_t>((kTcp + s.options.size()) / 4 << 4);
  p[53] = s.flags;
  store_be16(p.data() + 54, s.window);
  p.insert(p.end(), s.options.begin(), s.options.end());
  p.insert(p.end(), s.payload.begin(), s.payload.end());
  store_be16(p.data() + 4, static_cast<uint16_t>(p.size() - kHead));
  seal(p);
  return p;
}

Buffer random_bytes(std::mt19937& random, size_t n) {
  Buffer out(n);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random());
  return out;
}

struct Written {
  VnetHeader header;
  Buffer packet;
};

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

// --- What the kernel is told
// -----------------------------------------------------------------------

TEST(TunIcmp, SaysWhyAndQuotes) {
  std::mt19937 random(5);
  Segment s;
  s.payload = random_bytes(random, 3000);
  const Buffer packet = made(s);
  const Buffer error = too_big(packet, 1391);
  ASSERT_EQ(error.size(), 1280u);
  EXPECT_EQ(plain_sum(error), 0xffff);
  EXPECT_EQ(error[6], 58);
  EXPECT_EQ(error[kHead], 2);
  EXPECT_EQ(error[kHead + 1], 0);
  EXPECT_EQ(load_be32(error.data() + kHead + 4), 1391u);
  EXPECT_TRUE(std::equal(packet.begin() + 24, packet.begin() + 40, error.begin() + 8));
  EXPECT_TRUE(std::equal(packet.begin() + 8, packet.begin() + 24, error.begin() + 24));
  EXPECT_TRUE(std::equal(error.begin() + kHead + 8, error.end(), packet.begin()));
  const Buffer prohibited = unreachable(packet, Unreachable::kProhibited);
  EXPECT_EQ(prohibited[kHead], 1);
  EXPECT_EQ(prohibited[kHead + 1], 1);
  EXPECT_EQ(unreachable(packet, Unreachable::kAddress)[kHead + 1], 3);
  EXPECT_TRUE(unreachable(error, Unreachable::kAddress).empty()) << "no errors about errors";
  Buffer group = packet;
  group[24] = 0xff;
  EXPECT_TRUE(unreachable(group, Unreachable::kAddress).empty()) << "nor about groups";
  Buffer unspecified = packet;
  std::fill_n(unspecified.begin() + 8, 16, uint8_t{0});
  EXPECT_TRUE(unreachable(unspecified, Unreachable::kAddress).empty()) << "nor to nobody";
  Buffer echo = packet;
  echo[6] = 58;
  echo[kHead] = 128;
  EXPECT_FALSE(unreachable(echo, Unreachable::kAddress).empty()) << "but about an echo";
}

// --- The bridge
// ------------------------------------------------------------------------------------

struct Bridged {
  crypto::Identity identity = crypto::Identity::generate();
  crypto::X25519KeyPair key = crypto::X25519KeyPair::generate();
  Pins pins;
  Agent agent{AgentConfig{&identity, &key, &pins, {}, {}, {}, "a", "", crypto::random_u64},
              AgentHooks{[](Bytes) {}, {}, {}, [](Level, const std::string&) {}}};
  std::vector<Written> written;
  TunBridge bridge{agent, ByteArray<32>{}, [this](const VnetHeader& h, Bytes p) {
                     written.push_back({h, to_buffer(p)});
                     return true;
                   }};
  PeerEdge peer;

  Bridged() { peer.address = {7, 2}; }
  Buffer packet(VirtualAddress from, VirtualAddress to) {
    Segment s;
    s.payload = {1, 2, 3};
    Buffer p = made(s);
    const Ip6 a = bridge.net().address(from), b = bridge.net().address(to);
    std::copy(a.begin(), a.end(), p.begin() + 8);
    std::copy(b.begin(), b.end(), p.begin() + 24);
    seal(p);
    return p;
  }
};

TEST(TunBridge, APeerSpeaksForItselfAndToUsAlone) {
  Bridged b;
  b.bridge.from_peer(b.peer, b.packet({7, 2}, {7, 1}));
  EXPECT_EQ(b.bridge.counters().dropped_target, 1u) << "we have no address yet";
  b.bridge.set_own({7, 1});
  b.bridge.from_peer(b.peer, b.packet({7, 2}, {7, 1}));
  b.bridge.flush();
  ASSERT_EQ(b.written.size(), 1u);
  EXPECT_EQ(b.written[0].packet, b.packet({7, 2}, {7, 1}));
  b.bridge.from_peer(b.peer, b.packet({7, 3}, {7, 1}));
  EXPECT_EQ(b.bridge.counters().dropped_source, 1u) << "another peer's address";
  b.bridge.from_peer(b.peer, b.packet({7, 1}, {7, 1}));
  EXPECT_EQ(b.bridge.counters().dropped_source, 2u) << "ours";
  b.bridge.from_peer(b.peer, b.packet({7, 2}, {7, 4}));
  EXPECT_EQ(b.bridge.counters().dropped_target, 2u) << "somebody behind us";
  Buffer group = b.packet({7, 2}, {7, 1});
  group[24] = 0xff;
  b.bridge.from_peer(b.peer, group);
  EXPECT_EQ(b.bridge.counters().dropped_target, 3u);
  Buffer longer = b.packet({7, 2}, {7, 1});
  longer.push_back(0);
  b.bridge.from_peer(b.peer, longer);
  b.bridge.from_peer(b.peer, Bytes(longer).first(39));
  b.bridge.from_peer(b.peer, {});
  Buffer four = b.packet({7, 2}, {7, 1});
  four[0] = 0x45;
  b.bridge.from_peer(b.peer, four);
  EXPECT_EQ(b.bridge.counters().dropped_malformed, 4u);
  b.bridge.flush();
  EXPECT_EQ(b.written.size(), 1u) << "of none of them the kernel hears";
  EXPECT_EQ(b.bridge.counters().received, 1u);
}

TEST(TunBridge, TheHostHearsWhatCannotGo) {
  Bridged b;
  b.bridge.set_own({7, 1});
  Buffer stranger = b.packet({7, 1}, {7, 9});
  b.bridge.from_host({}, stranger, {});
  ASSERT_EQ(b.written.size(), 1u);
  EXPECT_EQ(b.written[0].packet, unreachable(stranger, Unreachable::kAddress));
  Buffer other = b.packet({7, 5}, {7, 9});
  b.bridge.from_host({}, other, {});
  ASSERT_EQ(b.written.size(), 2u);
  EXPECT_EQ(b.written[1].packet, unreachable(other, Unreachable::kProhibited));
  Buffer group = b.packet({7, 1}, {7, 9});
  group[24] = 0xff;
  b.bridge.from_host({}, group, {});
  Buffer four(60, 0x45);
  b.bridge.from_host({}, four, {});
  EXPECT_EQ(b.written.size(), 2u);
  EXPECT_EQ(b.bridge.counters().dropped_target, 1u);
  EXPECT_EQ(b.bridge.counters().dropped_source, 1u);
  EXPECT_EQ(b.bridge.counters().dropped_malformed, 1u);
  EXPECT_EQ(b.bridge.counters().sent, 0u);
}

}  // namespace
}  // namespace sluice::agent
