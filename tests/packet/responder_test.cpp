// ARP, neighbour discovery, echo and VERSION: answered rightly, never with more than was asked.
#include "packet/expect.h"

namespace rig {
namespace {

class Responder : public testing::Test {
 protected:
  Responder() : four(r.add_agent(11, "four", 0)), six(r.add_agent(12, "six", 0, true)) {
    r.start();
  }

  std::vector<Buf> ask(const Buf& frame) {
    r.inject(0, frame);
    r.poll_workers();
    auto out = r.drain(0);
    for (const auto& f : out) EXPECT_LE(f.size(), frame.size());
    r.check_balance();
    return out;
  }

  Rig r;
  Agent& four;
  Agent& six;
};

TEST_F(Responder, Arp) {
  const auto out = ask(oracle::arp_request(four.flow));
  ASSERT_EQ(out.size(), 1u);
  const auto reply = oracle::parse_arp_reply(out[0]);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->sender_ip, four.flow.dst_ip);
  EXPECT_EQ(reply->target_ip, four.flow.src_ip);
  EXPECT_EQ(reply->target_mac, four.flow.src_mac);
  EXPECT_EQ(reply->sender_mac, four.flow.dst_mac);
  oracle::Flow other = four.flow;
  other.dst_ip[3] = 99;
  expect_drop(r, 0, oracle::arp_request(other), "arp_ignored");
  Buf reply_frame = oracle::arp_request(four.flow);
  reply_frame[21] = 2;
  expect_drop(r, 0, reply_frame, "arp_ignored");
  Buf short_frame = oracle::arp_request(four.flow);
  short_frame.resize(41);
  expect_drop(r, 0, short_frame, "runt");
}

TEST_F(Responder, NeighbourDiscovery) {
  const auto out = ask(oracle::neighbour_solicitation(six.flow));
  ASSERT_EQ(out.size(), 1u);
  const auto na = oracle::parse_neighbour_advertisement(out[0]);
  ASSERT_TRUE(na);
  EXPECT_EQ(na->target, six.flow.dst_ip);
  EXPECT_EQ(na->dst_ip, six.flow.src_ip);
  EXPECT_EQ(na->src_ip, six.flow.dst_ip);
  EXPECT_TRUE(na->solicited);
  ASSERT_TRUE(na->target_mac);
  EXPECT_EQ(*na->target_mac, six.flow.dst_mac);
  oracle::Flow other = six.flow;
  other.dst_ip[15] = 99;
  expect_drop(r, 0, oracle::neighbour_solicitation(other), "ndp_ignored");
  Buf bad_sum = oracle::neighbour_solicitation(six.flow);
  bad_sum.back() ^= 1;
  expect_drop(r, 0, bad_sum, "ip_malformed");
  Buf hops = oracle::neighbour_solicitation(six.flow);
  hops[14 + 7] = 64;
  expect_drop(r, 0, hops, "ndp_ignored");
}

TEST_F(Responder, ReachabilityProbeWithoutALinkLayerOption) {
  // What a router sends to the address itself: 24 bytes of ICMPv6, no option; the answer is as
  // long.
  Buf probe = oracle::neighbour_solicitation(six.flow);
  probe.resize(probe.size() - 8);
  probe[14 + 5] = 24;
  std::copy(six.flow.dst_mac.begin(), six.flow.dst_mac.end(), probe.begin());
  std::copy(six.flow.dst_ip.begin(), six.flow.dst_ip.end(), probe.begin() + 14 + 24);
  probe[56] = probe[57] = 0;
  uint32_t sum = 58 + 24;
  for (size_t i = 22; i < probe.size(); i += 2) sum += uint32_t(probe[i]) << 8 | probe[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  probe[56] = static_cast<uint8_t>(~sum >> 8);
  probe[57] = static_cast<uint8_t>(~sum);
  const auto out = ask(probe);
  ASSERT_EQ(out.size(), 1u);
  const auto na = oracle::parse_neighbour_advertisement(out[0]);
  ASSERT_TRUE(na);
  EXPECT_FALSE(na->target_mac);
  EXPECT_EQ(na->target, six.flow.dst_ip);
}

TEST_F(Responder, Echo) {
  for (const Agent* a : {&four, &six}) {
    for (size_t n : {0u, 1u, 56u, 1000u}) {
      const Buf data(n, 0x42);
      const auto out = ask(oracle::icmp_echo(a->flow, 7, 9, data));
      ASSERT_EQ(out.size(), 1u);
      const auto reply = oracle::parse_echo_reply(out[0]);
      ASSERT_TRUE(reply);
      EXPECT_EQ(reply->id, 7);
      EXPECT_EQ(reply->seq, 9);
      EXPECT_EQ(reply->data, data);
      EXPECT_EQ(reply->flow.dst_ip, a->flow.src_ip);
      EXPECT_EQ(reply->flow.dst_mac, a->flow.src_mac);
    }
  }
  oracle::Flow other = four.flow;
  other.dst_ip[3] = 99;
  expect_drop(r, 0, oracle::icmp_echo(other, 1, 1, {}), "icmp_ignored");
}

TEST_F(Responder, VersionNamesWhatIsSpokenInNoMoreThanWasAsked) {
  Buf hello(256, 0);
  hello[0] = 1, hello[1] = 9;
  for (int i = 0; i < 8; ++i) hello[8 + i] = static_cast<uint8_t>(0xa0 + i);
  hello[16] = 0x11, hello[17] = 0x22, hello[18] = 0x33, hello[19] = 0x44;
  const auto out = ask(oracle::udp_frame(four.flow, hello));
  ASSERT_EQ(out.size(), 1u);
  const auto parsed = oracle::parse_udp_frame(out[0]);
  ASSERT_TRUE(parsed);
  const Buf expected = {5,    0,    1,    0,    0x11, 0x22, 0x33, 0x44, 0xa0,
                        0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 1};
  EXPECT_EQ(parsed->payload, expected);
  EXPECT_EQ(parsed->flow.dst_port, four.flow.src_port);
}

TEST_F(Responder, StrangersGetNoMoreThanTheBudget) {
  uint64_t answered = 0;
  const auto before = r.counters();
  const auto request = oracle::arp_request(four.flow);
  const uint64_t started = r.clock.ticks();
  // In bursts: one at a time, a slow build would ask no faster than the budget grows.
  for (int i = 0; i < 4000; i += 32) {
    for (int n = 0; n < 32; ++n) r.inject(0, request);
    r.poll_workers();
    answered += r.drain(0).size();
  }
  r.check_balance();
  const double seconds = double(r.clock.ticks() - started) / double(r.clock.hz());
  const auto diff = moved(before, r.counters());
  EXPECT_GE(answered, 200u);
  EXPECT_LE(double(answered), 200 + 2000 * seconds + 1);
  EXPECT_EQ(diff.contains("drop.responder_budget") ? diff.at("drop.responder_budget") : 0,
            4000 - answered);
  if (answered < 4000) produced_reasons().insert("responder_budget");
}

}  // namespace
}  // namespace rig
