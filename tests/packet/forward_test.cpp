// The main job: what an agent sends over an edge arrives at its peer, byte for byte, and only
// there.
#include "packet/expect.h"

namespace rig {
namespace {

Buf message(size_t n, uint8_t first = 0) {
  Buf out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(first + i * 7);
  return out;
}

struct Pair {
  Rig rig;
  Agent& alpha;
  Agent& beta;
  explicit Pair(Setup setup = {}, bool beta_v6 = false)
      : rig(setup),
        alpha(rig.add_agent(11, "alpha", 0)),
        beta(rig.add_agent(12, "beta", 1, beta_v6)) {
    rig.trust("alpha", "beta");
    rig.start();
    EXPECT_TRUE(rig.connect(alpha));
    EXPECT_TRUE(rig.connect(beta));
  }
};

TEST(Forward, DatagramsArriveUnchangedUnderTheOppositeLabel) {
  Pair p;
  ASSERT_EQ(p.alpha.labels.size(), 1u);
  ASSERT_EQ(p.beta.labels.size(), 1u);
  EXPECT_NE(p.alpha.labels["beta"], p.beta.labels["alpha"]);
  const size_t in_use = p.rig.buffers_in_use();
  for (size_t size : {0u, 1u, 16u, 64u, 500u, 1300u}) {
    const auto before = p.rig.counters();
    const Buf text = message(size);
    const Buf packet = p.rig.datagram(p.alpha, "beta", text);
    p.rig.send(p.alpha, packet);
    p.rig.poll_workers();
    EXPECT_TRUE(p.rig.drain(0).empty());
    const auto frames = p.rig.drain(1);
    ASSERT_EQ(frames.size(), 1u);
    const auto parsed = oracle::parse_udp_frame(frames[0]);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->flow.dst_mac, p.beta.flow.src_mac);
    EXPECT_EQ(parsed->flow.dst_ip, p.beta.flow.src_ip);
    EXPECT_EQ(parsed->flow.src_ip, p.beta.flow.dst_ip);
    EXPECT_EQ(parsed->flow.dst_port, p.beta.flow.src_port);
    EXPECT_EQ(parsed->flow.src_port, 7600);
    EXPECT_TRUE(parsed->ip_checksum_ok);
    EXPECT_TRUE(parsed->udp_checksum_absent);
    EXPECT_EQ(parsed->payload.size(), packet.size());
    // No ciphertext in common: a packet cannot be matched by content across the relay.
    EXPECT_NE(Buf(parsed->payload.begin() + 16, parsed->payload.end()),
              Buf(packet.begin() + 16, packet.end()));
    const auto frame = p.beta.peer.open(parsed->payload);
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->frame, 1);
    EXPECT_EQ(frame->flags, 0);
    EXPECT_EQ(frame->call_id, 0u);
    EXPECT_EQ(frame->label, p.beta.labels["alpha"]);
    EXPECT_EQ(frame->rest, text);
    const std::map<std::string, uint64_t> expected = {{"rx_packets", 1},
                                                      {"rx_bytes", 42 + packet.size()},
                                                      {"tx_packets", 1},
                                                      {"tx_bytes", frames[0].size()},
                                                      {"forwarded", 1}};
    EXPECT_EQ(moved(before, p.rig.counters()), expected);
  }
  EXPECT_EQ(p.rig.buffers_in_use(), in_use);
  p.rig.check_balance();
}

TEST(Forward, BothWaysAndBetweenIpVersions) {
  Pair p({}, true);
  p.rig.send(p.alpha, p.rig.datagram(p.alpha, "beta", message(200)));
  p.rig.poll_workers();
  const auto frames = p.rig.drain(1);
  ASSERT_EQ(frames.size(), 1u);
  const auto parsed = oracle::parse_udp_frame(frames[0]);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->flow.v6);
  EXPECT_TRUE(parsed->udp_checksum_ok) << "UDP over IPv6 needs its checksum";
  ASSERT_TRUE(p.beta.peer.open(parsed->payload));

  p.rig.send(p.beta, p.rig.datagram(p.beta, "alpha", message(321, 9)));
  p.rig.poll_workers();
  const auto back = p.rig.receive(p.alpha);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].rest, message(321, 9));
}

TEST(Forward, SendCountersRunWithoutGapsInTheWorkersLane) {
  Pair p;
  uint64_t next = 0;
  for (int i = 0; i < 100; ++i) p.rig.send(p.alpha, p.rig.datagram(p.alpha, "beta", message(64)));
  p.rig.poll(10);
  for (const auto& f : p.rig.receive(p.beta)) {
    if (next == 0) next = f.seq;
    EXPECT_EQ(f.seq, next++);
    EXPECT_EQ(f.lane, 0);
  }
  EXPECT_GE(next, 100u);
}

TEST(Forward, EcnIsCarriedAndDscpIsConfigured) {
  Pair p({.dscp = 46});
  for (uint8_t ecn : {0, 1, 2, 3}) {
    p.alpha.flow.tos = static_cast<uint8_t>(0xb4 | ecn);
    p.rig.send(p.alpha, p.rig.datagram(p.alpha, "beta", message(64)));
    p.rig.poll_workers();
    const auto frames = p.rig.drain(1);
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(oracle::parse_udp_frame(frames[0])->tos, 46 << 2 | ecn);
  }
}

TEST(Forward, Ipv4ChecksumWhereConfigured) {
  Pair p({.ipv4_udp_checksum = true});
  p.rig.send(p.alpha, p.rig.datagram(p.alpha, "beta", message(333)));
  p.rig.poll_workers();
  const auto frames = p.rig.drain(1);
  ASSERT_EQ(frames.size(), 1u);
  const auto parsed = oracle::parse_udp_frame(frames[0]);
  EXPECT_FALSE(parsed->udp_checksum_absent);
  EXPECT_TRUE(parsed->udp_checksum_ok);
}

TEST(Forward, JumboPacketInOneBuffer) {
  Pair p({.mtu = 9000});
  const Buf text = message(8800);
  p.rig.send(p.alpha, p.rig.datagram(p.alpha, "beta", text));
  p.rig.poll_workers();
  const auto got = p.rig.receive(p.beta);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].rest, text);
}

TEST(Forward, PingIsAnsweredOnceASecond) {
  Pair p;
  p.rig.clock.advance_ms(1500);
  p.rig.send(p.alpha, p.alpha.peer.seal(0, 1, 0, 0xfeed, {}, {}));
  p.rig.poll_workers();
  const auto got = p.rig.receive(p.alpha);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].frame, 0);
  EXPECT_EQ(got[0].flags, 2);
  EXPECT_EQ(got[0].call_id, 0xfeedu);
  expect_drop(p.rig, 0, oracle::udp_frame(p.alpha.flow, p.alpha.peer.seal(0, 1, 0, 0xfeee, {}, {})),
              "ping_rate");
  p.rig.clock.advance_ms(1001);
  p.rig.send(p.alpha, p.alpha.peer.seal(0, 1, 0, 0xfeef, {}, {}));
  p.rig.poll_workers();
  EXPECT_EQ(p.rig.receive(p.alpha).size(), 1u);
  expect_drop(p.rig, 0, oracle::udp_frame(p.alpha.flow, p.alpha.peer.seal(0, 0, 0, 1, {}, {})),
              "keepalive");
}

TEST(Forward, NoSessionOfThePeer) {
  Rig r;
  Agent& alpha = r.add_agent(11, "alpha", 0);
  r.add_agent(12, "beta", 1);
  r.trust("alpha", "beta");
  r.start();
  ASSERT_TRUE(r.connect(alpha));
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", message(64))),
              "peer_offline");
}

TEST(Forward, DepartingLinkWithASmallerMtu) {
  Rig r;
  Agent& alpha = r.add_agent(11, "alpha", 0);
  Agent& beta = r.add_agent(12, "beta", 1, true);
  r.trust("alpha", "beta");
  r.start();
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  // 1,472 bytes of UDP payload fill IPv4's 1,500; over IPv6 they are 20 too many.
  const Buf text = message(1472 - 48);
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", text)), "mtu");
}

TEST(Forward, AnExhaustedNonceIsNeverUsed) {
  Pair p;
  p.rig.arena->lane_counter(0, p.beta.welcome.sender_index) =
      (uint64_t{1} << 34) / 2 - 1;  // 2^34 a key, divided among the workers
  p.rig.send(p.alpha, p.rig.datagram(p.alpha, "beta", message(64)));
  p.rig.poll_workers();
  EXPECT_EQ(p.rig.receive(p.beta).size(), 1u);
  expect_drop(p.rig, 0,
              oracle::udp_frame(p.alpha.flow, p.rig.datagram(p.alpha, "beta", message(64))),
              "nonce_exhausted");
}

TEST(Forward, TransmitQueueFull) {
  Pair p({.tx_ring = 16});
  p.rig.drain_all();
  const auto before = p.rig.counters();
  for (int i = 0; i < 30; ++i) p.rig.send(p.alpha, p.rig.datagram(p.alpha, "beta", message(64)));
  p.rig.poll_workers();
  const auto diff = moved(before, p.rig.counters());
  EXPECT_EQ(diff.at("tx_packets"), 15u);  // a ring of 16 holds 15
  EXPECT_EQ(diff.at("drop.tx_full"), 15u);
  EXPECT_EQ(diff.at("forwarded"), 15u);
  EXPECT_EQ(p.rig.drain(1).size(), 15u);
  p.rig.check_balance();
  produced_reasons().insert("tx_full");
}

TEST(Forward, ReplyOnlyGivesNoRightToSend) {
  Rig r;
  Agent& alpha = r.add_agent(11, "alpha", 0);
  Agent& beta = r.add_agent(12, "beta", 1);
  r.trust("alpha", "beta", sluice::control::EdgeRight::kMaySend,
          sluice::control::EdgeRight::kReplyOnly);
  r.start();
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  r.send(alpha, r.datagram(alpha, "beta", message(10)));
  r.poll_workers();
  EXPECT_EQ(r.receive(beta).size(), 1u);
  expect_drop(r, 1, oracle::udp_frame(beta.flow, r.datagram(beta, "alpha", message(10))), "right");
}

}  // namespace
}  // namespace rig
