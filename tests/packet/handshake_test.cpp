// wire.md §4 from the outside: who gets a WELCOME, who gets silence, and what it costs the relay.
#include "packet/expect.h"

namespace rig {
namespace {

using sluice::control::HandshakeOutcome;

class Handshake : public testing::Test {
 protected:
  Handshake() : alpha(r.add_agent(11, "alpha", 0)), beta(r.add_agent(12, "beta", 1, true)) {
    r.trust("alpha", "beta");
    r.start();
  }
  uint64_t count(HandshakeOutcome o) { return r.control->handshakes().counts()[size_t(o)]; }

  // Sends and waits until control has decided on it. What came back on the agent's port.
  std::vector<Buf> ask(Agent& a, const Buf& frame) {
    uint64_t decided = total();
    r.inject(a.port, frame);
    EXPECT_TRUE(r.poll_until([&] { return total() > decided; }));
    r.poll(3);
    std::vector<Buf> out;
    for (const Buf& f : r.drain(a.port)) {
      const auto parsed = oracle::parse_udp_frame(f);
      // CONTROL messages of a session that was just confirmed are not answers to a HELLO.
      if (parsed && parsed->payload.at(0) != 4) out.push_back(parsed->payload);
    }
    return out;
  }
  uint64_t total() {
    uint64_t n = 0;
    for (const uint64_t v : r.control->handshakes().counts()) n += v;
    return n;
  }

  Rig r;
  Agent& alpha;
  Agent& beta;
};

TEST_F(Handshake, WelcomeSaysWhatTheProtocolSays) {
  const Buf frame = r.hello_frame(alpha);
  const auto out = ask(alpha, frame);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_LE(out[0].size(), 320u);
  const auto w = alpha.peer.read_welcome(out[0]);
  ASSERT_TRUE(w);
  EXPECT_TRUE(w->has_session());
  EXPECT_EQ(w->receiver_index, 0x1001u);
  EXPECT_NE(w->sender_index, 0u);
  EXPECT_EQ(w->address >> 32, 7u);
  EXPECT_EQ(w->relay_epoch, r.control->epoch());
  EXPECT_EQ(w->mtu, 1500);
  EXPECT_EQ(w->send_lanes, 1);
  EXPECT_EQ(w->receive_lanes, 2) << "one for each worker that seals";
  EXPECT_NEAR(double(w->relay_time_ms), double(r.clock.unix_ms()), 2000);
}

TEST_F(Handshake, ConnectsOverIpv6WithARightChecksum) {
  const auto frame = r.hello_frame(beta);
  r.inject(1, frame);
  ASSERT_TRUE(r.poll_until([&] { return count(HandshakeOutcome::kWelcomed) == 1; }));
  r.poll(2);
  const auto out = r.drain(1);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(oracle::parse_udp_frame(out[0])->udp_checksum_ok);
}

TEST_F(Handshake, TheSameHelloGetsTheSameWelcomeUntilItIsConfirmed) {
  const Buf frame = r.hello_frame(alpha);
  const auto first = ask(alpha, frame);
  const uint64_t operations = sluice::crypto::x25519_operations();
  const auto second = ask(alpha, frame);
  EXPECT_EQ(first, second);
  EXPECT_EQ(sluice::crypto::x25519_operations(), operations);
  EXPECT_EQ(count(HandshakeOutcome::kRepeated), 1u);
  ASSERT_TRUE(alpha.peer.read_welcome(first.at(0)));
  r.send(alpha, alpha.peer.seal(0, 0, 0, 0, {}, {}));
  r.poll(5);
  // Confirmed: now it is an old HELLO, so no session and only the time.
  const auto third = ask(alpha, frame);
  EXPECT_EQ(count(HandshakeOutcome::kBadTime), 1u);
  ASSERT_EQ(third.size(), 1u);
  EXPECT_NE(third, first);
}

// The same bytes twice before control looks: one session, and its WELCOME twice.
TEST_F(Handshake, TheSameHelloTwiceInOneBatch) {
  const Buf frame = r.hello_frame(alpha);
  const uint64_t operations = sluice::crypto::x25519_operations();
  r.inject(0, frame);
  r.inject(0, frame);
  r.poll_workers();
  ASSERT_TRUE(r.poll_until([&] { return total() == 2; }));
  r.poll(2);
  EXPECT_EQ(count(HandshakeOutcome::kWelcomed), 1u);
  EXPECT_EQ(count(HandshakeOutcome::kRepeated), 1u);
  EXPECT_EQ(sluice::crypto::x25519_operations() - operations, 5u);
  const auto out = r.drain(0);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(oracle::parse_udp_frame(out[0])->payload, oracle::parse_udp_frame(out[1])->payload);
  EXPECT_EQ(r.control->sessions().entries().size(), 1u);
}

// Good and bad side by side: each has its own outcome, and only who is welcome is heard.
TEST_F(Handshake, EveryOutcomeInOneBatch) {
  oracle::Peer stranger(77);
  const uint64_t now = r.clock.unix_ms();
  const uint64_t operations = sluice::crypto::x25519_operations();
  r.inject(0, oracle::udp_frame(alpha.flow, stranger.hello(r.relay_key, {.time_ms = now})));
  r.inject(0, r.hello_frame(alpha, {.bad_signature = true}));
  r.inject(0, r.hello_frame(alpha, {.corrupt_noise = true}));
  r.inject(0, r.hello_frame(alpha));
  r.inject(1, r.hello_frame(beta, {.time_ms = now + 120'000}));
  r.inject(0, r.hello_frame(alpha, {.nonzero_padding = true}));
  r.poll_workers();
  ASSERT_TRUE(r.poll_until([&] { return total() == 6; }));
  r.poll(2);
  EXPECT_EQ(count(HandshakeOutcome::kUnknownIdentity), 1u);
  EXPECT_EQ(count(HandshakeOutcome::kBadSignature), 1u);
  EXPECT_EQ(count(HandshakeOutcome::kNoiseFailed), 1u);
  EXPECT_EQ(count(HandshakeOutcome::kWelcomed), 1u);
  EXPECT_EQ(count(HandshakeOutcome::kBadTime), 1u);
  EXPECT_EQ(count(HandshakeOutcome::kMalformed), 1u);
  // Two for every HELLO, three more for the two that are answered, none after a bad signature.
  EXPECT_EQ(sluice::crypto::x25519_operations() - operations, 6u * 2 + 2u * 3);
  EXPECT_EQ(r.drain(0).size(), 1u);
  EXPECT_EQ(r.drain(1).size(), 1u);
  EXPECT_EQ(r.control->sessions().entries().size(), 1u);
}

// Two fresh HELLOs of one agent in a batch: the second one's time decides, as if it had come later.
TEST_F(Handshake, TwoHellosOfOneAgentInOneBatch) {
  const uint64_t now = r.clock.unix_ms();
  r.inject(0, r.hello_frame(alpha, {.time_ms = now + 10}));
  r.inject(0, r.hello_frame(alpha, {.time_ms = now + 5}));
  r.inject(0, r.hello_frame(alpha, {.time_ms = now + 20}));
  r.poll_workers();
  ASSERT_TRUE(r.poll_until([&] { return total() == 3; }));
  EXPECT_EQ(count(HandshakeOutcome::kWelcomed), 2u);
  EXPECT_EQ(count(HandshakeOutcome::kBadTime), 1u);
  EXPECT_EQ(r.control->sessions().entries().size(), 1u) << "the unconfirmed one gave way";
}

TEST_F(Handshake, IdentitiesThatComeBackArePrepared) {
  ASSERT_TRUE(r.connect(alpha));
  r.clock.advance_ms(50);
  r.poll(3);
  const auto counts = r.control->prepared_keys().counts();
  if (sluice::crypto::batch_engine() == nullptr) {
    EXPECT_EQ(counts.room, 0u);
    return;
  }
  EXPECT_EQ(counts.prepared, 1u);
  r.clock.advance_ms(1000);
  ASSERT_TRUE(r.connect(alpha));
  EXPECT_EQ(r.control->prepared_keys().counts().prepared, 1u);
  EXPECT_TRUE(ask(alpha, r.hello_frame(alpha, {.bad_signature = true})).empty());
  EXPECT_EQ(count(HandshakeOutcome::kBadSignature), 1u) << "with a prepared key, too";
}

TEST(CryptoPath, IsWhatTheEnvironmentSays) {
  const char* wanted = std::getenv("SLUICE_CRYPTO");
  if (wanted == nullptr) {
    EXPECT_EQ(sluice::crypto::batch_engine(), sluice::crypto::ifma_engine_here());
  } else {
    EXPECT_EQ(std::string(wanted), sluice::crypto::name_of(sluice::crypto::batch_engine()));
  }
}

TEST_F(Handshake, BadTimeGetsTheRelaysTimeAndNoSession) {
  for (const uint64_t time : {r.clock.unix_ms() + 61'000, uint64_t{0}}) {
    oracle::HelloOptions o;
    o.time_ms = time;
    const Buf frame = oracle::udp_frame(alpha.flow, alpha.peer.hello(r.relay_key, o));
    const auto out = ask(alpha, frame);
    if (time == 0) {
      // 0 is not above the identity's last time, which is 0 before its first HELLO.
      ASSERT_EQ(out.size(), 1u);
    }
    ASSERT_EQ(out.size(), 1u);
    const auto w = alpha.peer.read_welcome(out[0]);
    ASSERT_TRUE(w);
    EXPECT_FALSE(w->has_session());
    EXPECT_NEAR(double(w->relay_time_ms), double(r.clock.unix_ms()), 2000);
  }
  EXPECT_TRUE(r.control->sessions().entries().empty());
}

TEST_F(Handshake, StrangersForgersAndTheRevokedHearNothing) {
  oracle::Peer stranger(77);
  Buf frame =
      oracle::udp_frame(alpha.flow, stranger.hello(r.relay_key, {.time_ms = r.clock.unix_ms()}));
  EXPECT_TRUE(ask(alpha, frame).empty());
  EXPECT_EQ(count(HandshakeOutcome::kUnknownIdentity), 1u);
  EXPECT_TRUE(ask(alpha, r.hello_frame(alpha, {.bad_signature = true})).empty());
  EXPECT_EQ(count(HandshakeOutcome::kBadSignature), 1u);
  EXPECT_TRUE(ask(alpha, r.hello_frame(alpha, {.corrupt_noise = true})).empty());
  EXPECT_EQ(count(HandshakeOutcome::kNoiseFailed), 1u);
  EXPECT_TRUE(ask(alpha, r.hello_frame(alpha, {.nonzero_padding = true})).empty());
  EXPECT_EQ(count(HandshakeOutcome::kMalformed), 1u);
  bool done = false;
  r.control->revocations().revoke(
      sluice::control::cut_of(*r.control->trust().resolve("alpha"), "test"),
      [&](const sluice::control::RevocationAnswer&) { done = true; });
  ASSERT_TRUE(r.poll_until([&] { return done; }));
  EXPECT_TRUE(ask(alpha, r.hello_frame(alpha)).empty());
  EXPECT_EQ(count(HandshakeOutcome::kRevokedIdentity), 1u);
  EXPECT_TRUE(r.control->sessions().entries().empty());
}

TEST_F(Handshake, AnUnconfirmedSessionEndsAfterFiveSecondsAndNeverDisplacesAConfirmedOne) {
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  const auto out = ask(alpha, r.hello_frame(alpha));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(r.control->sessions().entries().size(), 3u);
  // Still sends on the confirmed session.
  r.send(beta, r.datagram(beta, "alpha", Buf(32, 3)));
  r.poll(2);
  EXPECT_EQ(r.receive(alpha).size(), 1u);
  r.clock.advance_ms(5001);
  r.poll(3);
  EXPECT_EQ(r.control->sessions().entries().size(), 2u);
  r.send(beta, r.datagram(beta, "alpha", Buf(32, 4)));
  r.poll(2);
  EXPECT_EQ(r.receive(alpha).size(), 1u);
}

TEST_F(Handshake, ARekeyLosesNothing) {
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  r.clock.advance_ms(120'000);
  const uint32_t old_index = beta.welcome.sender_index;
  uint64_t sent = 0, got = 0;
  const auto traffic = [&] {
    r.send(alpha, r.datagram(alpha, "beta", Buf(100, static_cast<uint8_t>(sent++))));
    r.poll(1);
    for (const auto& f : r.receive(beta)) EXPECT_EQ(f.rest[0], static_cast<uint8_t>(got++));
  };
  for (int i = 0; i < 20; ++i) traffic();
  oracle::HelloOptions o;
  o.receiver = old_index;
  o.sender_index = 0x2002;
  r.inject(1, r.hello_frame(beta, o));
  bool welcomed = false;
  ASSERT_TRUE(r.poll_until([&] {
    for (const Buf& f : r.drain(1)) {
      const auto parsed = oracle::parse_udp_frame(f);
      if (parsed && parsed->payload[0] == 2) {
        welcomed = beta.peer.read_welcome(parsed->payload).has_value();
      }
    }
    return welcomed;
  }));
  for (int i = 0; i < 20; ++i) traffic();  // still on the old session, in both directions
  EXPECT_EQ(sent, got);
  r.send(beta, beta.peer.seal(0, 0, 0, 0, {}, {}));
  for (int i = 0; i < 50; ++i) traffic();
  EXPECT_EQ(sent, got);
  // Late packets of the old session are still received.
  beta.peer.use_session(0);
  r.send(beta, r.datagram(beta, "alpha", Buf(10, 1)));
  r.poll(2);
  EXPECT_EQ(r.receive(alpha).size(), 1u);
  r.check_balance();
}

TEST_F(Handshake, FiftyThousandForgedHellosCostNoScalarMultiplication) {
  const Buf forged =
      alpha.peer.hello(r.relay_key, {.time_ms = r.clock.unix_ms(), .corrupt_noise = true});
  oracle::Flow flow = alpha.flow;
  uint64_t before = sluice::crypto::x25519_operations();
  bool connected = false;
  Agent& real = beta;
  unsigned sent = 0;
  const auto flood = [&](unsigned n) {
    for (unsigned i = 0; i < n && sent < 50'000; ++i, ++sent) {
      flow.src_port = static_cast<uint16_t>(1024 + sent % 60'000);
      flow.src_ip[3] = static_cast<uint8_t>(20 + sent % 200);
      r.inject(0, oracle::udp_frame(flow, forged));
    }
  };
  while (sent < 25'000) {
    flood(16);
    r.poll(1);
    r.drain(0);
  }
  EXPECT_EQ(sluice::crypto::x25519_operations(), before) << "half of the flood";
  EXPECT_TRUE(r.control->handshakes().under_load());
  // The load lasts as long as the flood does, at whatever pace.
  r.clock.advance_ms(2500);
  flood(3);
  r.poll(3);
  r.drain(0);
  EXPECT_LE(sluice::crypto::x25519_operations(), before + 6) << "three at most between two floods";
  while (!r.control->handshakes().under_load()) {
    flood(16);
    r.poll(1);
    r.drain(0);
  }
  before = sluice::crypto::x25519_operations();
  // A real agent in the middle of it: RETRY, cookie, WELCOME.
  const auto started = std::chrono::steady_clock::now();
  r.inject(1, r.hello_frame(real));
  while (!connected && std::chrono::steady_clock::now() - started < std::chrono::seconds(1)) {
    flood(8);
    r.poll(1);
    r.drain(0);
    for (const Buf& f : r.drain(1)) {
      const auto parsed = oracle::parse_udp_frame(f);
      ASSERT_TRUE(parsed);
      if (real.peer.read_retry(parsed->payload))
        r.send(real, real.peer.resend_with_cookie());
      else
        connected = real.peer.read_welcome(parsed->payload).has_value();
    }
  }
  EXPECT_TRUE(connected);
  const uint64_t with_real = sluice::crypto::x25519_operations();
  EXPECT_EQ(with_real - before, 5u) << "the real handshake alone";
  while (sent < 50'000) {
    flood(16);
    r.poll(1);
    r.drain(0);
  }
  EXPECT_EQ(sluice::crypto::x25519_operations(), with_real);
  EXPECT_LE(count(HandshakeOutcome::kNoiseFailed), 3u);
}

TEST_F(Handshake, OneAgentCannotTakeEverySlot) {
  for (int i = 0; i < 10; ++i) {
    r.clock.advance_ms(50);
    ASSERT_TRUE(r.connect(alpha));
  }
  EXPECT_LE(r.control->sessions().entries().size(), 2u);
  ASSERT_TRUE(r.connect(beta));
  r.send(beta, r.datagram(beta, "alpha", Buf(12, 1)));
  r.poll(2);
  EXPECT_EQ(r.receive(alpha).size(), 1u);
}

TEST_F(Handshake, RekeysInARowQueueWithEverybodyElse) {
  ASSERT_TRUE(r.connect(alpha));
  r.clock.advance_ms(2000);
  r.poll(2);
  oracle::HelloOptions o;
  o.receiver = alpha.welcome.sender_index;
  for (int i = 0; i < 5; ++i) r.inject(0, r.hello_frame(alpha, o));
  r.poll_workers();
  unsigned rekeys = 0, hellos = 0;
  while (r.plane->mailboxes().take_rekey()) ++rekeys;
  while (r.plane->mailboxes().take_hello()) ++hellos;
  EXPECT_EQ(rekeys, 1u);
  EXPECT_EQ(hellos, 4u);
}

TEST_F(Handshake, ControlFramesOfOneSessionAreLimited) {
  ASSERT_TRUE(r.connect(alpha));
  r.clock.advance_ms(200);
  const auto before = r.counters();
  for (int i = 0; i < 100; ++i) {
    r.send(alpha, alpha.peer.seal(7, 0, 0, 1, Buf(4, 1), {}));
    if (i % 32 == 31) r.poll_workers();
  }
  r.poll(2);
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("punted"), 64u);
  EXPECT_EQ(diff.at("drop.control_rate"), 36u);
  r.check_balance();
  produced_reasons().insert("control_rate");
}

TEST_F(Handshake, ACookieIsWorthNothingFromAnotherAddress) {
  // Under load from the first HELLO on.
  for (int i = 0; i < 12; ++i) {
    r.inject(
        0, oracle::udp_frame(alpha.flow,
                             alpha.peer.hello(r.relay_key, {.time_ms = 1, .corrupt_noise = true})));
  }
  r.poll(5);
  ASSERT_TRUE(r.control->handshakes().under_load());
  r.drain_all();
  const auto retry = ask(alpha, r.hello_frame(alpha));
  ASSERT_EQ(retry.size(), 1u);
  EXPECT_LE(retry[0].size(), 320u);
  ASSERT_TRUE(alpha.peer.read_retry(retry[0]));
  oracle::Flow moved_flow = alpha.flow;
  moved_flow.src_port ^= 1;
  const uint64_t before = sluice::crypto::x25519_operations();
  r.inject(0, oracle::udp_frame(moved_flow, alpha.peer.resend_with_cookie()));
  ASSERT_TRUE(r.poll_until([&] { return count(HandshakeOutcome::kBadCookie) == 1; }));
  EXPECT_EQ(sluice::crypto::x25519_operations(), before);
  r.poll(2);
  r.drain_all();
  const auto welcome = ask(alpha, oracle::udp_frame(alpha.flow, alpha.peer.resend_with_cookie()));
  ASSERT_EQ(welcome.size(), 1u);
  EXPECT_TRUE(alpha.peer.read_welcome(welcome[0]));
}

TEST_F(Handshake, UnfilledChecksumsAreCountedAndForgiven) {
  Buf frame = r.hello_frame(alpha);
  // As a sender with checksum offload leaves it on a virtual link: the pseudo header's sum.
  uint32_t sum = 17 + uint32_t(frame.size() - 34);
  for (int i = 26; i < 34; i += 2) sum += uint32_t(frame[i]) << 8 | frame[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  frame[40] = static_cast<uint8_t>(sum >> 8);
  frame[41] = static_cast<uint8_t>(sum);
  EXPECT_EQ(ask(alpha, frame).size(), 1u);
  EXPECT_EQ(r.counters()["checksum_unfilled"], 1u);
}

}  // namespace
}  // namespace rig
