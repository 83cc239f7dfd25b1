// Hostile and broken packets: each dies with exactly its reason, and nothing is ever sent for it.
#include <random>

#include "packet/expect.h"

namespace rig {
namespace {

using oracle::put_le;

class Drop : public testing::Test {
 protected:
  Drop()
      : alpha(r.add_agent(11, "alpha", 0)),
        beta(r.add_agent(12, "beta", 1)),
        gamma(r.add_agent(13, "gamma", 0)) {
    r.trust("alpha", "beta");
    r.trust("gamma", "beta");
    r.start();
    EXPECT_TRUE(r.connect(alpha));
    EXPECT_TRUE(r.connect(beta));
    EXPECT_TRUE(r.connect(gamma));
  }

  Buf over_udp(const Buf& payload) { return oracle::udp_frame(alpha.flow, payload); }
  Buf good() { return r.datagram(alpha, "beta", Buf(64, 0x5a)); }
  void drop(const Buf& udp_payload, const std::string& reason) {
    expect_drop(r, 0, over_udp(udp_payload), reason);
  }
  // A frame whose IP header bytes were changed, with the IPv4 checksum made right again.
  Buf with_ip_byte(Buf frame, size_t at, uint8_t value) {
    frame[14 + at] = value;
    frame[24] = frame[25] = 0;
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2) sum += uint32_t(frame[14 + i]) << 8 | frame[15 + i];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    frame[24] = static_cast<uint8_t>(~sum >> 8);
    frame[25] = static_cast<uint8_t>(~sum);
    return frame;
  }

  Rig r;
  Agent& alpha;
  Agent& beta;
  Agent& gamma;
};

TEST_F(Drop, EthernetAndIp) {
  const Buf frame = over_udp(good());
  for (size_t n : {1u, 13u, 14u, 20u, 33u, 34u, 41u, 60u}) {
    expect_drop(r, 0, Buf(frame.begin(), frame.begin() + n), "runt");
  }
  Buf f = frame;
  f[12] = 0x88, f[13] = 0xcc;
  expect_drop(r, 0, f, "not_ip");
  f = frame;
  f[24] ^= 1;
  expect_drop(r, 0, f, "ip_malformed");
  expect_drop(r, 0, with_ip_byte(frame, 0, 0x55), "ip_malformed");
  expect_drop(r, 0, with_ip_byte(frame, 0, 0x44), "ip_malformed");
  expect_drop(r, 0, with_ip_byte(frame, 6, 0x20), "fragment");
  expect_drop(r, 0, with_ip_byte(frame, 7, 0x03), "fragment");
  expect_drop(r, 0, with_ip_byte(frame, 9, 6), "not_udp");
  f = frame;
  f[38] = 0, f[39] = 9;  // UDP length
  expect_drop(r, 0, f, "ip_malformed");
  Buf options = frame;
  options.insert(options.begin() + 34, 4, 1);
  options[17] = static_cast<uint8_t>(options[17] + 4);
  options[14] = 0x46;
  options[24] = options[25] = 0;
  uint32_t sum = 0;
  for (int i = 0; i < 24; i += 2) sum += uint32_t(options[14 + i]) << 8 | options[15 + i];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  options[24] = static_cast<uint8_t>(~sum >> 8);
  options[25] = static_cast<uint8_t>(~sum);
  expect_drop(r, 0, options, "ip_extension");
}

TEST_F(Drop, SegmentationOffloadLeftOnAtTheSender) {
  Buf frame = over_udp(good());
  frame = with_ip_byte(frame, 2, 14000 >> 8);
  expect_drop(r, 0, frame, "gso_frame");
  // A whole one, where the buffer can hold it.
  expect_drop(r, 0, over_udp(Buf(1501 - 28, 4)), "gso_frame");
}

TEST_F(Drop, NotAddressedToTheRelay) {
  oracle::Flow flow = alpha.flow;
  flow.dst_port = 7601;
  expect_drop(r, 0, oracle::udp_frame(flow, good()), "not_for_us");
  flow = alpha.flow;
  flow.dst_ip[3] = 77;
  expect_drop(r, 0, oracle::udp_frame(flow, good()), "not_for_us");
  flow = alpha.flow;
  flow.dst_mac = {2, 9, 9, 9, 9, 9};
  expect_drop(r, 0, oracle::udp_frame(flow, good()), "not_for_us");
  flow.dst_mac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  expect_drop(r, 0, oracle::udp_frame(flow, good()), "not_for_us");
}

TEST_F(Drop, OuterHeader) {
  Buf p = good();
  drop({}, "short");
  drop(Buf(p.begin(), p.begin() + 15), "short");
  for (size_t n = 16; n < p.size(); n += 7) drop(Buf(p.begin(), p.begin() + n), "malformed");
  Buf longer = p;
  longer.push_back(0);
  drop(longer, "malformed");
  for (uint8_t type : {0, 6, 7, 128, 255}) {
    Buf q = p;
    q[0] = type;
    drop(q, "bad_type");
  }
  for (uint8_t type : {2, 3, 5}) {
    Buf q = p;
    q[0] = type;
    drop(q, "unexpected_type");
  }
  Buf v = p;
  v[1] = 2;
  drop(v, "bad_version");
}

TEST_F(Drop, ReceiverAndLane) {
  for (uint32_t receiver : {0u, 63u, 64u, 65u, 0x7fffffffu, 0xffffffffu}) {
    oracle::SealOptions o;
    o.receiver = receiver;
    drop(r.datagram(alpha, "beta", Buf(64, 1), o), "unknown_receiver");
  }
  for (uint8_t lane : {1, 2, 255}) {
    oracle::SealOptions o;
    o.lane = lane;
    drop(r.datagram(alpha, "beta", Buf(64, 1), o), "bad_lane");
  }
}

TEST_F(Drop, ReplayAndWindowEdges) {
  oracle::SealOptions at;
  at.seq = 10'000;
  const Buf first = r.datagram(alpha, "beta", Buf(64, 1), at);
  r.send(alpha, first);
  r.poll_workers();
  ASSERT_EQ(r.receive(beta).size(), 1u);
  drop(first, "replay");
  at.seq = 10'000 - 2048;
  drop(r.datagram(alpha, "beta", Buf(64, 1), at), "too_old");
  at.seq = 10'000 - 2047;
  const Buf oldest = r.datagram(alpha, "beta", Buf(64, 2), at);
  r.send(alpha, oldest);
  r.poll_workers();
  ASSERT_EQ(r.receive(beta).size(), 1u) << "the oldest sequence of the window is still good";
  drop(oldest, "replay");
}

TEST_F(Drop, TheSamePacketTwiceInOneBurst) {
  const Buf p = good();
  const auto before = r.counters();
  r.send(alpha, p);
  r.send(alpha, p);
  r.poll_workers();
  EXPECT_EQ(r.receive(beta).size(), 1u);
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("drop.replay"), 1u);
  EXPECT_EQ(diff.at("forwarded"), 1u);
}

TEST_F(Drop, EveryFlippedBitAndEveryTruncationIsCaught) {
  const Buf p = good();
  for (size_t byte = 16; byte < p.size(); ++byte) {
    Buf q = p;
    q[byte] ^= static_cast<uint8_t>(1 << (byte % 8));
    drop(q, "bad_tag");
  }
  // A shorter region with a length that says so: authentic length is part of what is signed.
  for (size_t cut = 1; cut <= p.size() - 48; ++cut) {
    Buf q(p.begin(), p.end() - static_cast<long>(cut));
    const auto n = static_cast<uint16_t>(q.size() - 32);
    q[2] = static_cast<uint8_t>(n), q[3] = static_cast<uint8_t>(n >> 8);
    drop(q, "bad_tag");
  }
  // And the untouched packet still passes: nothing forged moved the window.
  r.send(alpha, p);
  r.poll_workers();
  EXPECT_EQ(r.receive(beta).size(), 1u);
}

TEST_F(Drop, HeaderSealIsNotAllowedOnTheseEdges) {
  oracle::SealOptions o;
  o.header_seal = true;
  drop(r.datagram(alpha, "beta", Buf(64, 1), o), "seal_not_allowed");
}

TEST_F(Drop, FramesThatNoAgentMaySend) {
  const uint32_t label = alpha.labels["beta"];
  auto seal = [&](uint8_t f, uint8_t flags, uint32_t l, uint64_t call, Buf ext, Buf rest) {
    return alpha.peer.seal(f, flags, l, call, ext, rest);
  };
  drop(seal(6, 0, label, 1, Buf(24), {}), "frame_not_allowed");
  drop(seal(8, 0, label, 1, Buf(24), {}), "frame_not_allowed");
  for (uint8_t f : {9, 10, 127, 255}) drop(seal(f, 0, label, 1, {}, {}), "frame_unknown");
  drop(seal(1, 0, label, 7, {}, Buf(64)), "frame_malformed");  // DATAGRAM with a call id
  drop(seal(1, 1, label, 0, {}, Buf(64)), "frame_malformed");  // with a flag
  drop(seal(1, 0x80, label, 0, {}, Buf(64)), "frame_malformed");
  drop(seal(1, 0, label, 0, Buf(4), Buf(64)), "frame_malformed");
  drop(seal(0, 3, 0, 1, {}, {}), "frame_malformed");  // KEEPALIVE with an unknown flag
  drop(seal(0, 0, label, 1, {}, {}), "frame_malformed");
  drop(seal(0, 0, 0, 1, {}, Buf(1)), "frame_malformed");
  drop(seal(2, 0, label, 1, Buf(207), {}), "frame_malformed");  // CALL_OPEN
  drop(seal(2, 0, label, 1, Buf(208), Buf(1)), "frame_malformed");
  drop(seal(2, 2, label, 1, Buf(208), {}), "frame_malformed");  // `credentialed` is the relay's
  drop(seal(4, 0, label, 1, Buf(15), {}), "frame_malformed");
  drop(seal(5, 0, label, 1, Buf(96), {}), "frame_malformed");  // CALL_ACCEPT without `reply`
  drop(seal(7, 0, label, 1, Buf(8), {}), "frame_malformed");   // CONTROL with a label
  drop(seal(7, 0, 0, 1, {}, {}), "frame_malformed");
  drop(seal(7, 0, 0, 1, Buf(1201), {}), "frame_malformed");
  oracle::SealOptions lie;
  lie.extension_length = 5000;
  drop(alpha.peer.seal(1, 0, label, 0, {}, Buf(64), lie), "frame_malformed");
  // Call frames without an open call.
  drop(seal(3, 0, label, 1, {}, Buf(64)), "no_call");
  drop(seal(4, 0, label, 1, Buf(16), {}), "no_call");
  drop(seal(5, 1, label, 1, Buf(96), {}), "no_call");
}

TEST_F(Drop, LabelsThatTheAgentDoesNotOwn) {
  const uint32_t label = alpha.labels["beta"];
  std::vector<uint32_t> wrong = {0,
                                 1u << 24,
                                 0xffffff,
                                 0xffffffff,
                                 label ^ 1u << 24,
                                 label + (1u << 24),
                                 gamma.labels["beta"],
                                 beta.labels["alpha"],
                                 beta.labels["gamma"]};
  for (uint32_t l : wrong) {
    SCOPED_TRACE(l);
    drop(alpha.peer.seal(1, 0, l, 0, {}, Buf(64)), "no_edge");
  }
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    const uint32_t l = static_cast<uint32_t>(random());
    if (l == label) continue;
    drop(alpha.peer.seal(1, 0, l, 0, {}, Buf(64)), "no_edge");
  }
}

TEST_F(Drop, AnExpiredSession) {
  const Buf p = good();
  r.clock.advance_ms(181'000);
  // The worker refuses it by its own clock, before control has retired the slot.
  expect_drop(r, 0, over_udp(p), "session_expired");
  r.poll(3);
  expect_drop(r, 0, over_udp(p), "unknown_receiver");
}

TEST_F(Drop, HelloThatCostsNothing) {
  const uint64_t before = sluice::crypto::x25519_operations();
  oracle::HelloOptions o;
  o.bad_mac1 = true;
  expect_drop(r, 0, r.hello_frame(alpha, o), "bad_mac1");
  oracle::HelloOptions small;
  small.total = 319;
  expect_drop(r, 0, r.hello_frame(alpha, small), "malformed");
  oracle::HelloOptions counter;
  counter.counter = 1;
  expect_drop(r, 0, r.hello_frame(alpha, counter), "malformed");
  Buf hello = alpha.peer.hello(r.relay_key, {.time_ms = 5});
  for (size_t n : {16u, 20u, 100u, 255u, 256u, 319u}) {
    drop(Buf(hello.begin(), hello.begin() + n), "malformed");
  }
  hello.push_back(0);
  drop(hello, "malformed");
  // A version that is not spoken: too short for an answer.
  Buf old(255, 0);
  old[0] = 1, old[1] = 9;
  drop(old, "bad_version");
  // The oracle works out a public key of its own per HELLO, in libsodium and uncounted.
  EXPECT_EQ(sluice::crypto::x25519_operations(), before);
}

TEST_F(Drop, MoreHellosInABurstThanAreChecked) {
  r.drain_all();
  const auto before = r.counters();
  for (int i = 0; i < 32; ++i) r.inject(0, r.hello_frame(alpha));
  r.poll_workers();
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("punted"), 16u);
  EXPECT_EQ(diff.at("drop.hello_budget"), 16u);
  EXPECT_TRUE(r.drain_all().empty());
  r.check_balance();
  produced_reasons().insert("hello_budget");
}

TEST_F(Drop, RingToControlFull) {
  const auto before = r.counters();
  for (int i = 0; i < 600; ++i) {
    r.inject(0, r.hello_frame(alpha));
    r.poll_workers();
  }
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("punted"), 512u);
  EXPECT_EQ(diff.at("drop.punt_full"), 88u);
  EXPECT_TRUE(r.drain_all().empty());
  r.check_balance();
  produced_reasons().insert("punt_full");
}

TEST_F(Drop, AFrameOfControlWhoseSessionEnded) {
  const uint32_t slot = alpha.welcome.sender_index;
  const uint32_t generation = r.arena->sessions()[slot].generation;
  const size_t in_use = r.buffers_in_use();
  const auto before = r.counters();
  ASSERT_TRUE(r.plane->mailboxes().send_frame(0, slot, generation + 1, Buf(32, 7)));
  r.poll_workers();
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff, (std::map<std::string, uint64_t>{{"injected", 1}, {"drop.stale_frame", 1}}));
  EXPECT_TRUE(r.drain_all().empty());
  EXPECT_EQ(r.buffers_in_use(), in_use);
  produced_reasons().insert("stale_frame");
}

TEST_F(Drop, RandomBytesNeverMoveAnythingButACounter) {
  std::mt19937_64 random(20);
  uint64_t sent = 0;
  for (int i = 0; i < 20'000; ++i) {
    Buf payload = i % 3 == 0 ? good() : Buf(random() % 400);
    if (i % 3 != 0) {
      for (auto& b : payload) b = static_cast<uint8_t>(random());
    }
    Buf frame = over_udp(payload);
    if (i % 3 == 0) {
      // Any byte from the Ethernet type on; the same byte may not matter (TTL, TOS, MAC, ports).
      for (int k = 0; k < 3; ++k)
        frame[12 + random() % (frame.size() - 12)] ^= uint8_t(1 + random() % 255);
    }
    r.inject(0, frame);
    r.poll_workers();
    sent += r.drain_all().size();
  }
  r.check_balance();
  // Only packets whose changed bytes were TTL, TOS, the UDP checksum or the like may have passed.
  EXPECT_LT(sent, 100u);
}

}  // namespace
}  // namespace rig
