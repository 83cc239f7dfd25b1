// Who may send what over the TUN device, and what the kernel is told where something cannot go.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/tun/bridge.h"
#include "agent_tun_packets.h"

namespace sluice::agent {
namespace {

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
  // Behind what nobody looks behind.
  for (const uint8_t next : {0, 43, 51, 60, 135}) {
    Buffer extended = b.packet({7, 2}, {7, 1});
    extended[6] = next;
    b.bridge.from_peer(b.peer, extended);
  }
  EXPECT_EQ(b.bridge.counters().dropped_source, 7u);
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

// An error of ICMPv6 acts on the connection that it quotes.
TEST(TunBridge, APeerReportsOnItsOwnTrafficAlone) {
  Bridged b;
  b.bridge.set_own({7, 1});
  const auto error = [&](VirtualAddress from, VirtualAddress to) {
    Buffer out = unreachable(b.packet(from, to), Unreachable::kAddress);
    // From the peer to us, whatever it quotes.
    const Ip6 peer = b.bridge.net().address({7, 2}), own = b.bridge.net().address({7, 1});
    std::copy(peer.begin(), peer.end(), out.begin() + 8);
    std::copy(own.begin(), own.end(), out.begin() + 24);
    return out;
  };
  const auto passes = [&](const Buffer& packet) {
    const uint64_t before = b.bridge.counters().received;
    b.bridge.from_peer(b.peer, packet);
    return b.bridge.counters().received == before + 1;
  };
  EXPECT_TRUE(passes(error({7, 1}, {7, 2})));
  EXPECT_FALSE(passes(error({7, 1}, {7, 3}))) << "what we say to others";
  EXPECT_FALSE(passes(error({7, 3}, {7, 2})));
  EXPECT_FALSE(passes(error({7, 2}, {7, 1}))) << "what it has said";
  Buffer shorter = error({7, 1}, {7, 2});
  shorter.resize(kHead + 8 + 39);
  store_be16(shorter.data() + 4, 8 + 39);
  EXPECT_FALSE(passes(shorter)) << "no quotation";
  shorter.resize(kHead);
  store_be16(shorter.data() + 4, 0);
  EXPECT_FALSE(passes(shorter));
  Buffer echo = error({7, 1}, {7, 3});
  echo[kHead] = 128;
  EXPECT_TRUE(passes(echo)) << "an echo quotes nothing";
  // In fragments, errors do not come; the first says what it is.
  const auto fragment = [&](uint8_t protocol, uint16_t offset, uint8_t type) {
    Buffer out = error({7, 1}, {7, 2});
    out[6] = 44;
    out[kHead] = protocol;
    store_be16(out.data() + kHead + 2, offset);
    out[kHead + 8] = type;
    return out;
  };
  EXPECT_FALSE(passes(fragment(58, 1, 1)));
  EXPECT_TRUE(passes(fragment(58, 1, 128)));
  EXPECT_TRUE(passes(fragment(58, 8 | 1, 1)));
  EXPECT_TRUE(passes(fragment(17, 1, 1)));
  EXPECT_FALSE(passes(fragment(60, 1, 1)));
  EXPECT_FALSE(passes(fragment(44, 1, 1)));
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
