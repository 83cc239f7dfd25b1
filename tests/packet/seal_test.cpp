// The header seal of wire.md §3, and which seal an edge allows.
#include <rte_mbuf.h>

#include "packet/expect.h"

namespace rig {
namespace {

using sluice::fabric::SealPolicy;

Buf text_of(size_t n) {
  Buf out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(i * 13 + 5);
  return out;
}

// alpha and beta under the header seal, alpha and gamma as the sender likes, alpha and delta full.
class Seal : public testing::Test {
 protected:
  Seal()
      : alpha(r.add_agent(11, "alpha", 0)),
        beta(r.add_agent(12, "beta", 1)),
        gamma(r.add_agent(13, "gamma", 1, true)),
        delta(r.add_agent(14, "delta", 1)) {
    for (const auto& [name, policy] :
         std::map<std::string, SealPolicy>{{"beta", SealPolicy::kHeader},
                                           {"gamma", SealPolicy::kAny},
                                           {"delta", SealPolicy::kFull}}) {
      r.trust("alpha", name);
      r.config.trust.pairs.back().seal = policy;
    }
    r.start();
    for (Agent* a : {&alpha, &beta, &gamma, &delta}) EXPECT_TRUE(r.connect(*a));
    header.header_seal = true;
  }

  Buf framed(const Buf& payload) { return oracle::udp_frame(alpha.flow, payload); }
  Buf to(const std::string& name, const Buf& text, bool header_seal) {
    oracle::SealOptions o;
    o.header_seal = header_seal;
    return r.datagram(alpha, name, text, o);
  }
  // What comes out at the peer's port for `packet`; exactly one.
  Buf forwarded(const Buf& packet, unsigned queue = 0) {
    r.inject(0, framed(packet), queue);
    r.poll_workers();
    auto out = r.drain(1);
    EXPECT_EQ(out.size(), 1u);
    return out.empty() ? Buf() : out[0];
  }

  Rig r;
  Agent& alpha;
  Agent& beta;
  Agent& gamma;
  Agent& delta;
  oracle::SealOptions header;
};

TEST_F(Seal, UnderTheHeaderSealThePayloadPassesAsItIs) {
  for (size_t size : {16u, 17u, 64u, 500u, 1400u}) {
    const Buf text = text_of(size);
    const Buf in = to("beta", text, true);
    const Buf frame = forwarded(in);
    const auto parsed = oracle::parse_udp_frame(frame);
    ASSERT_TRUE(parsed);
    const Buf& out = parsed->payload;
    ASSERT_EQ(out.size(), in.size());
    EXPECT_EQ(Buf(out.begin() + 48, out.end()), text);
    EXPECT_NE(Buf(out.begin() + 32, out.begin() + 48), Buf(in.begin() + 32, in.begin() + 48));
    const auto opened = beta.peer.open(out);
    ASSERT_TRUE(opened);
    EXPECT_TRUE(opened->header_seal);
    EXPECT_EQ(opened->rest, text);
    EXPECT_EQ(opened->label, beta.labels["alpha"]);
  }
  // And back, handed over to the owner on the way.
  const Buf text = text_of(300);
  const auto before = r.counters();
  r.inject(1, oracle::udp_frame(beta.flow, r.datagram(beta, "alpha", text, header)), 1);
  r.poll_workers();
  const auto got = r.receive(alpha);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(got[0].header_seal);
  EXPECT_EQ(got[0].rest, text);
  EXPECT_EQ(moved(before, r.counters()).at("handed_out"), 1u);
}

TEST_F(Seal, AnEdgeTakesOnlyTheSealsThatItAllows) {
  const Buf text = text_of(100);
  expect_drop(r, 0, framed(to("beta", text, false)), "seal_not_allowed");
  expect_drop(r, 0, framed(to("delta", text, true)), "seal_not_allowed");
  for (bool header_seal : {true, false}) {
    const auto parsed = oracle::parse_udp_frame(forwarded(to("gamma", text, header_seal)));
    ASSERT_TRUE(parsed);
    const auto opened = gamma.peer.open(parsed->payload);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->header_seal, header_seal);
    EXPECT_EQ(opened->rest, text);
  }
  EXPECT_TRUE(oracle::parse_udp_frame(forwarded(to("delta", text, false))));
}

TEST_F(Seal, TagLengthAndHeadersAreBoundToTheSeal) {
  const Buf good = to("beta", text_of(64), true);
  // Outer header and sealed frame header; the tag; the last 16 bytes, which the seal covers.
  for (size_t byte = 8; byte < 48; ++byte) {
    if (byte < 16) continue;  // receiver index and counter have reasons of their own
    Buf bad = good;
    bad[byte] ^= 1;
    expect_drop(r, 0, framed(bad), "bad_tag");
  }
  for (size_t byte = good.size() - 16; byte < good.size(); ++byte) {
    Buf bad = good;
    bad[byte] ^= 0x80;
    expect_drop(r, 0, framed(bad), "bad_tag");
  }
  for (size_t cut = 1; cut <= 48; ++cut) {
    expect_drop(r, 0, framed(Buf(good.begin(), good.end() - static_cast<long>(cut))), "bad_tag");
  }
  Buf longer = good;
  longer.push_back(0);
  expect_drop(r, 0, framed(longer), "bad_tag");
  // A rest shorter than a tag cannot be the end of a sealed message.
  for (size_t rest = 1; rest < 16; ++rest) {
    expect_drop(r, 0, framed(Buf(good.begin(), good.begin() + 48 + static_cast<long>(rest))),
                "malformed");
  }
  // What lies between is the receiving agent's to judge: the relay never read it.
  Buf changed = good;
  changed[50] ^= 1;
  const auto parsed = oracle::parse_udp_frame(forwarded(changed));
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(beta.peer.open(parsed->payload));
  expect_drop(r, 0, framed(good), "replay");
}

TEST_F(Seal, OnlyMessagesMayLeaveTheirRestOutside) {
  const uint32_t label = alpha.labels["beta"];
  const Buf rest = text_of(32);
  expect_drop(r, 0, framed(alpha.peer.seal(0, 1, 0, 9, {}, rest, header)), "frame_malformed");
  expect_drop(r, 0, framed(alpha.peer.seal(2, 0, label, 1, text_of(208), {}, header)),
              "frame_malformed");
  expect_drop(r, 0, framed(alpha.peer.seal(7, 0, 0, 1, text_of(20), {}, header)),
              "frame_malformed");
  expect_drop(r, 0, framed(alpha.peer.seal(4, 0, label, 1, Buf(16), {}, header)),
              "frame_malformed");
  expect_drop(r, 0, framed(alpha.peer.seal(1, 0, label, 7, {}, rest, header)), "frame_malformed");
  expect_drop(r, 0, framed(alpha.peer.seal(3, 0, label, 7, {}, rest, header)), "no_call");
}

TEST_F(Seal, OverIpv6TheChecksumIsCarriedOverWhereTheNicHasMarkedItGood) {
  for (size_t size : {16u, 63u, 64u, 1001u}) {
    SCOPED_TRACE(size);
    for (bool good : {true, false}) {
      r.rx_flags = good ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
      const uint64_t touched = r.counters()["checksum_touched"];
      const auto parsed = oracle::parse_udp_frame(forwarded(to("gamma", text_of(size), true)));
      ASSERT_TRUE(parsed);
      EXPECT_TRUE(parsed->flow.v6);
      EXPECT_TRUE(parsed->udp_checksum_ok);
      EXPECT_EQ(r.counters()["checksum_touched"] - touched, good ? 0u : 1u);
    }
    // Marked good because the sender sent none: nothing to carry over.
    r.rx_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    Buf none = framed(to("gamma", text_of(size), true));
    none[40] = none[41] = 0;
    const uint64_t touched = r.counters()["checksum_touched"];
    r.inject(0, none);
    r.poll_workers();
    const auto out = r.drain(1);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_TRUE(oracle::parse_udp_frame(out[0])->udp_checksum_ok);
    EXPECT_EQ(r.counters()["checksum_touched"] - touched, 1u);
  }
  r.rx_flags = 0;
}

TEST_F(Seal, TheSumSurvivesAHandover) {
  r.rx_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  const uint64_t touched = r.counters()["checksum_touched"];
  const auto parsed = oracle::parse_udp_frame(forwarded(to("gamma", text_of(700), true), 1));
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->udp_checksum_ok);
  EXPECT_EQ(r.counters()["checksum_touched"], touched);
  r.rx_flags = 0;
}

TEST(HeaderSeal, JumboInOneBuffer) {
  Rig r({.mtu = 9000});
  Agent& alpha = r.add_agent(11, "alpha", 0);
  Agent& beta = r.add_agent(12, "beta", 1);
  r.trust("alpha", "beta");
  r.config.trust.pairs.back().seal = SealPolicy::kHeader;
  r.start();
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  oracle::SealOptions header;
  header.header_seal = true;
  r.send(alpha, r.datagram(alpha, "beta", text_of(8900), header));
  r.poll_workers();
  const auto got = r.receive(beta);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].rest, text_of(8900));
}

}  // namespace
}  // namespace rig
