// The tunnel's state machine against a small responder, in memory: what it sends, when, and what it
// makes of good, bad, lost and repeated answers. Time is passed in and moves in steps of 10 ms; the
// tunnel is ticked only when its own deadline says so.
#include "agent/tunnel.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <deque>
#include <functional>

#include "crypto/hash.h"

namespace sluice::agent {
namespace {

using wire::FrameHeader;
using wire::FrameType;
using wire::KeepaliveFlag;

constexpr uint64_t kUnixStart = 1'700'000'000'000;
constexpr FrameHeader kData{uint8_t(FrameType::kDatagram), 0, 0, 0x01000007, 0};
constexpr uint8_t kPing = uint8_t(KeepaliveFlag::kPing);
constexpr uint8_t kAnswer = uint8_t(KeepaliveFlag::kAnswer);

Buffer text(std::string_view s) {
  return to_buffer(as_bytes(s));
}

// The relay's side, as much of it as the tunnel can notice.
class Relay {
 public:
  struct Session {
    uint32_t agent_index, relay_index;
    crypto::GcmKey in, out;
    ByteArray<4> salt_in, salt_out;
    bool confirmed = false;
    uint64_t sequence = 0;
  };
  struct Heard {
    size_t session;
    FrameHeader frame;
    Buffer payload;
  };

  crypto::X25519KeyPair key = crypto::X25519KeyPair::generate();
  uint64_t epoch = 77;
  uint64_t unix_ms = kUnixStart;
  uint8_t receive_lanes = 2;
  bool wants_cookie = false;
  bool refuses_time = false;
  bool answers_pings = true;
  bool hears_others = false;  // HELLOs for another key are not the test's failure
  ByteArray<16> cookie{1, 2, 3};
  std::vector<Buffer> hellos;
  std::vector<uint64_t> hello_times;
  std::deque<Session> sessions;
  std::vector<Heard> heard;
  std::vector<Buffer> out;  // to the agent
  std::function<void(wire::WelcomePayload&)> bend_payload = [](auto&) {};

  void receive(Bytes packet) {
    if (packet[0] == uint8_t(wire::Type::kHello)) return on_hello(packet);
    ASSERT_EQ(packet[0], uint8_t(wire::Type::kData));
    on_data(to_buffer(packet));
  }

  Buffer seal(size_t session, FrameHeader frame, Bytes payload, uint8_t lane = 0,
              bool header_seal = false) {
    Session& s = sessions.at(session);
    Buffer p(wire::kDataMin + payload.size());
    const auto region = header_seal ? sizeof frame : sizeof frame + payload.size();
    wire::write_outer(
        p.data(), {4, 1, uint16_t(region), s.agent_index, wire::make_counter(lane, s.sequence++)});
    wire::write_frame(p.data() + wire::kDataRegion, frame);
    std::copy(payload.begin(), payload.end(), p.begin() + wire::kDataMin);
    ByteArray<34> aad;
    std::memcpy(aad.data(), p.data(), 16);
    std::memcpy(aad.data() + 16, p.data() + p.size() - 16, 16);
    store_le(aad.data() + 32, uint16_t(p.size()));
    crypto::AeadOp op{};
    op.key = &s.out;
    op.aad = header_seal ? aad.data() : p.data();
    op.aad_size = header_seal ? 34 : 16;
    op.text = p.data() + wire::kDataRegion;
    op.text_size = uint32_t(region);
    op.tag = p.data() + 16;
    std::memcpy(op.nonce, s.salt_out.data(), 4);
    std::memcpy(op.nonce + 4, p.data() + 8, 8);
    crypto::aead().seal({&op, 1});
    return p;
  }

  Buffer make_retry(const wire::HelloView& hello) const {
    Buffer p(wire::kRetrySize);
    wire::write_outer(p.data(), {3, 1, 32, hello.sender, 0});
    crypto::random_bytes({p.data() + 16, 24});
    const auto cookie_key = crypto::blake2b_256({as_bytes("sluice-cookie/1"), key.public_key});
    crypto_aead_xchacha20poly1305_ietf_encrypt(p.data() + 40, nullptr, cookie.data(), cookie.size(),
                                               hello.mac1().data(), 16, nullptr, p.data() + 16,
                                               cookie_key.data());
    return p;
  }

 private:
  void on_hello(Bytes packet) {
    hellos.push_back(to_buffer(packet));
    const auto view = wire::parse_hello(packet);
    ASSERT_TRUE(view);
    const auto mac_key = crypto::blake2b_256({as_bytes("sluice-mac1/1"), key.public_key});
    const bool for_us =
        crypto::equal_secret(crypto::blake2b_128(mac_key, {view->before_mac1()}), view->mac1());
    if (!for_us && hears_others) return;
    ASSERT_TRUE(for_us);
    const bool has_cookie =
        crypto::equal_secret(crypto::blake2b_128(cookie, {view->before_mac2()}), view->mac2());
    if (wants_cookie && !has_cookie) return out.push_back(make_retry(*view));

    const auto prologue = wire::hello_prologue(packet);
    const crypto::Key256 psk;
    crypto::NoiseHandshake noise({crypto::NoisePattern::kIkPsk2, crypto::NoiseRole::kResponder,
                                  prologue, &key, std::nullopt, &psk});
    ASSERT_TRUE(noise.read_tokens(view->noise().first(wire::kHelloTokens)));
    const auto h = noise.hash();
    const Bytes sealed = view->noise().subspan(wire::kHelloTokens);
    Buffer payload(sealed.size() - 16);
    ASSERT_TRUE(noise.read_payload(sealed, payload));
    const auto hello = wire::parse_hello_payload(payload);
    ASSERT_TRUE(hello);
    ASSERT_TRUE(crypto::verify(hello->identity, crypto::kLabelHello, {h, hello->signed_part},
                               hello->signature));
    hello_times.push_back(hello->time_ms);

    const bool session = !refuses_time;
    const uint32_t own = session ? uint32_t(100 + sessions.size()) : 0;
    wire::WelcomePayload w{session ? view->sender : 0,
                           own,
                           7ull << 32 | 0x1a3f0,
                           unix_ms,
                           epoch,
                           3600,
                           0,
                           1500,
                           1,
                           receive_lanes,
                           0};
    bend_payload(w);
    Buffer p(wire::kWelcomeSize, 0);
    wire::write_outer(p.data(), {2, 1, wire::kWelcomeNoise, session ? view->sender : 0, 0});
    store_le(p.data() + 16, own);
    uint8_t* n = p.data() + wire::kNoiseOffset;
    ASSERT_TRUE(noise.write_tokens({n, 32}));
    noise.write_payload({reinterpret_cast<uint8_t*>(&w), sizeof w}, {n + 32, sizeof w + 16});
    const auto agent_mac = crypto::blake2b_256({as_bytes("sluice-mac1/1"), noise.remote_static()});
    const auto mac = crypto::blake2b_128(agent_mac, {Bytes(p).first(p.size() - 32)});
    std::copy(mac.begin(), mac.end(), p.end() - 32);
    if (session) add_session(noise.split(), view->sender, own);
    out.push_back(std::move(p));
  }

  void add_session(crypto::NoiseKeys keys, uint32_t agent_index, uint32_t own) {
    Session& s = sessions.emplace_back();
    s.agent_index = agent_index;
    s.relay_index = own;
    crypto::aead().expand(keys.initiator_to_responder.data(), s.in);
    crypto::aead().expand(keys.responder_to_initiator.data(), s.out);
    ByteArray<8> salts;
    crypto::hkdf_sha256(keys.hash, "sluice/1 salts", salts);
    s.salt_in = take<4>(salts.data());
    s.salt_out = take<4>(salts.data() + 4);
  }

  void on_data(Buffer p) {
    const auto outer = wire::read_outer(p.data());
    for (size_t i = 0; i < sessions.size(); ++i) {
      Session& s = sessions[i];
      if (s.relay_index != outer.receiver) continue;
      crypto::AeadOp op{};
      op.key = &s.in;
      op.aad = p.data();
      op.aad_size = 16;
      op.text = p.data() + 32;
      op.text_size = uint32_t(p.size() - 32);
      op.tag = p.data() + 16;
      std::memcpy(op.nonce, s.salt_in.data(), 4);
      std::memcpy(op.nonce + 4, p.data() + 8, 8);
      if (crypto::aead().open({&op, 1}) == 0) return;
      s.confirmed = true;
      const auto f = wire::read_frame(p.data() + 32);
      heard.push_back({i, f, Buffer(p.begin() + wire::kDataMin, p.end())});
      if (f.type == 0 && f.flags == kPing && answers_pings) {
        out.push_back(seal(i, {0, kAnswer, 0, 0, f.call_id}, {}));
      }
      return;
    }
  }
};

class TunnelTest : public testing::Test {
 protected:
  TunnelTest()
      : tunnel({{&identity, &tunnel_key, relay.key.public_key, token},
                "relay.test:7600",
                [this] { return random = random * 6364136223846793005u + 1442695040888963407u; }},
               {[this](Bytes d) { outbox.push_back(to_buffer(d)); },
                [this](const FrameHeader& f, MutBytes p, Now) {
                  frames.push_back({0, f, to_buffer(p)});
                },
                [this](const SessionStart& s, Now) {
                  ++(s.rekey ? rekeys : starts);
                  new_epochs += s.new_epoch ? 1 : 0;
                },
                [this](Level, std::string s) { reports.push_back(std::move(s)); }}) {}

  // To the relay and back at once, unless the link is cut.
  void settle() {
    while (!outbox.empty() || !relay.out.empty()) {
      auto up = std::exchange(outbox, {});
      for (const Buffer& d : up) {
        if (!cut && (!lose_up || !lose_up(d))) relay.receive(d);
      }
      auto down = std::exchange(relay.out, {});
      for (Buffer& d : down) {
        if (!cut && (!lose_down || !lose_down(d))) tunnel.receive(d, now);
      }
    }
  }
  void run(uint64_t ms) {
    for (uint64_t t = 0; t < ms; t += 10) {
      now.mono_ms += 10;
      now.unix_ms += 10;
      relay.unix_ms += 10;
      if (tunnel.deadline(now) <= now.mono_ms) tunnel.tick(now);
      settle();
    }
  }
  void connect() {
    tunnel.start(now);
    settle();
    ASSERT_TRUE(tunnel.up(now));
  }
  bool send(std::string_view s) {
    const bool sent = tunnel.send_frame(kData, as_bytes(s), now);
    settle();
    return sent;
  }
  std::vector<std::string> data_heard() const {
    std::vector<std::string> out;
    for (const auto& h : relay.heard) {
      if (h.frame.type == kData.type) out.emplace_back(as_text(h.payload));
    }
    return out;
  }
  size_t reports_with(std::string_view part) const {
    return size_t(std::count_if(reports.begin(), reports.end(), [&](const std::string& r) {
      return r.find(part) != std::string::npos;
    }));
  }

  const bool ready = crypto::init();
  crypto::Identity identity = crypto::Identity::generate();
  crypto::X25519KeyPair tunnel_key = crypto::X25519KeyPair::generate();
  Buffer token = Buffer(16, 9);
  Relay relay;
  uint64_t random = 5;
  Now now{1'000, kUnixStart};
  std::vector<Buffer> outbox;
  std::vector<Relay::Heard> frames;
  std::vector<std::string> reports;
  unsigned starts = 0, rekeys = 0, new_epochs = 0;
  bool cut = false;
  std::function<bool(const Buffer&)> lose_up, lose_down;
  Tunnel tunnel;
};

bool is(const Buffer& d, wire::Type type) {
  return d[0] == uint8_t(type);
}

TEST_F(TunnelTest, ConfirmsAtOnceAndCarriesData) {
  connect();
  ASSERT_EQ(relay.hellos.size(), 1u);
  EXPECT_EQ(relay.hellos[0].size(), wire::kHelloMin);
  EXPECT_EQ(wire::read_outer(relay.hellos[0].data()).receiver, 0u);
  EXPECT_EQ(relay.hello_times[0], kUnixStart);
  ASSERT_EQ(relay.heard.size(), 1u);  // the confirmation, before anybody sent anything
  EXPECT_EQ(relay.heard[0].frame.flags, kPing);
  EXPECT_EQ(starts, 1u);
  EXPECT_EQ(new_epochs, 1u);

  EXPECT_TRUE(send("up"));
  EXPECT_EQ(data_heard(), std::vector<std::string>{"up"});
  relay.out.push_back(relay.seal(0, kData, as_bytes("down")));
  settle();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].payload, text("down"));
}

TEST_F(TunnelTest, ConfirmationIsRepeatedUntilAnswered) {
  unsigned lost = 3;
  lose_up = [&](const Buffer& d) { return is(d, wire::Type::kData) && lost > 0 && lost-- > 0; };
  connect();
  EXPECT_FALSE(relay.sessions[0].confirmed);
  run(1'300);
  EXPECT_TRUE(relay.sessions[0].confirmed);
  const auto pings = tunnel.counters().pings;
  EXPECT_EQ(pings, 4u);
  run(5'000);
  EXPECT_EQ(tunnel.counters().pings, pings);  // answered: silence until the idle ping
}

TEST_F(TunnelTest, UnansweredSessionIsGivenUpAfterFiveSeconds) {
  lose_up = [](const Buffer& d) { return is(d, wire::Type::kData); };
  connect();
  run(4'900);
  EXPECT_EQ(relay.hellos.size(), 1u);
  run(300);
  EXPECT_EQ(relay.hellos.size(), 2u);
  EXPECT_NE(relay.hellos[0], relay.hellos[1]);
  EXPECT_EQ(reports_with("did not answer on it"), 1u);
}

TEST_F(TunnelTest, RetryMakesTheSameHelloWithMac2AndTheCookieIsKept) {
  relay.wants_cookie = true;
  connect();
  ASSERT_EQ(relay.hellos.size(), 2u);
  const size_t before = relay.hellos[0].size() - 16;
  EXPECT_TRUE(std::equal(relay.hellos[0].begin(), relay.hellos[0].begin() + long(before),
                         relay.hellos[1].begin()));
  EXPECT_TRUE(all_zero(Bytes(relay.hellos[0]).last(16)));
  EXPECT_FALSE(all_zero(Bytes(relay.hellos[1]).last(16)));

  run(119'000);  // still the same cookie: the next handshake needs no RETRY
  cut = true;
  run(30'000);
  cut = false;
  relay.hellos.clear();
  run(6'000);
  ASSERT_GE(relay.hellos.size(), 2u);  // after 120 s it is forgotten
  EXPECT_TRUE(all_zero(Bytes(relay.hellos[0]).last(16)));
}

TEST_F(TunnelTest, CookieServesTheNextHandshakeWithinItsLife) {
  relay.wants_cookie = true;
  connect();
  relay.hellos.clear();
  relay.answers_pings = false;
  run(25'000);  // idle ping, two unanswered, reconnect
  ASSERT_FALSE(relay.hellos.empty());
  EXPECT_FALSE(all_zero(Bytes(relay.hellos[0]).last(16)));
  EXPECT_EQ(tunnel.counters().retries, 1u);
}

TEST_F(TunnelTest, RetryPlayedAgainMakesNoHello) {
  Buffer retry;
  relay.wants_cookie = true;
  lose_down = [&](const Buffer& d) {
    if (is(d, wire::Type::kRetry) && retry.empty()) retry = d;
    return is(d, wire::Type::kWelcome);
  };
  tunnel.start(now);
  settle();
  ASSERT_FALSE(retry.empty());
  const size_t sent = relay.hellos.size();
  for (int i = 0; i < 10; ++i) tunnel.receive(retry, now);
  Buffer forged = retry;
  forged[60] ^= 1;
  tunnel.receive(forged, now);
  settle();
  EXPECT_EQ(relay.hellos.size(), sent);
  EXPECT_EQ(tunnel.counters().dropped_handshake, 11u);
}

TEST_F(TunnelTest, BadTimeCorrectsTheClockAndSaysSo) {
  relay.unix_ms = kUnixStart + 3'600'000;
  relay.refuses_time = true;
  lose_down = [&](const Buffer&) {
    relay.refuses_time = false;
    return false;
  };
  connect();
  ASSERT_EQ(relay.hello_times.size(), 2u);
  EXPECT_EQ(relay.hello_times[1], kUnixStart + 3'600'000);
  EXPECT_EQ(tunnel.clock_offset_ms(), 3'600'000);
  EXPECT_EQ(reports_with("3600000 ms behind"), 1u);
}

TEST_F(TunnelTest, BadTimeBackwardsIsNotHeldUpByWhatWasSent) {
  now.unix_ms = kUnixStart + 3'600'000;  // this host is an hour ahead
  relay.refuses_time = true;
  unsigned answers = 0;
  lose_down = [&](const Buffer&) {
    relay.refuses_time = ++answers < 2;
    return false;
  };
  tunnel.start(now);
  settle();
  run(1'000);
  ASSERT_EQ(relay.hello_times.size(), 3u);
  EXPECT_EQ(relay.hello_times[1], kUnixStart);
  // Refused again although it was the relay's own time: the last one it took lies ahead of it.
  EXPECT_GT(relay.hello_times[2], kUnixStart + 50'000);
  EXPECT_LT(relay.hello_times[2], relay.unix_ms + 60'000);
  EXPECT_TRUE(tunnel.up(now));
}

TEST_F(TunnelTest, TimesOnlyGoUp) {
  cut = true;
  tunnel.start(now);
  for (int i = 0; i < 4; ++i) {
    run(6'000);
    now.unix_ms = kUnixStart - 10'000;  // somebody sets the clock back
  }
  cut = false;
  run(12'000);
  ASSERT_TRUE(tunnel.up(now));
  EXPECT_GT(relay.hello_times.front(), kUnixStart);
}

TEST_F(TunnelTest, WelcomeWithWrongIndicesIsRefused) {
  const std::function<void(wire::WelcomePayload&)> bends[] = {
      [](auto& w) { w.receiver ^= 1; },
      [](auto& w) { w.sender ^= 1; },
      [](auto& w) { w.receiver = 0; },
      [](auto& w) { w.sender = 0; },
      [](auto& w) { w.zeros = 1; },
      [](auto& w) { w.receive_lanes = 0; },
      [](auto& w) { w.send_lanes = 0; },
      [](auto& w) { w.address |= 1ull << 48; },
      [](auto& w) { w.receiver = w.sender = 0; }};
  tunnel.start(now);
  for (const auto& bend : bends) {
    relay.bend_payload = bend;
    settle();
    run(6'000);
    EXPECT_FALSE(tunnel.up(now));
  }
  EXPECT_EQ(starts, 0u);
  relay.bend_payload = [](auto&) {};
  run(6'000);
  EXPECT_TRUE(tunnel.up(now));
}

TEST_F(TunnelTest, ForgedWelcomesDoNotSpoilTheTrueOne) {
  Buffer welcome;
  lose_down = [&](const Buffer& d) {
    if (welcome.empty()) welcome = d;
    return true;
  };
  tunnel.start(now);
  settle();
  for (size_t at : {size_t{4}, size_t{16}, size_t{30}, size_t{60}, welcome.size() - 20}) {
    Buffer forged = welcome;
    forged[at] ^= 1;
    tunnel.receive(forged, now);
    // With a mac1 that holds, as only who knows the agent's tunnel key can make it.
    const auto key = crypto::blake2b_256({as_bytes("sluice-mac1/1"), tunnel_key.public_key});
    const auto mac = crypto::blake2b_128(key, {Bytes(forged).first(forged.size() - 32)});
    std::copy(mac.begin(), mac.end(), forged.end() - 32);
    if (at + 32 < forged.size()) tunnel.receive(forged, now);
  }
  EXPECT_FALSE(tunnel.up(now));
  tunnel.receive(welcome, now);
  EXPECT_TRUE(tunnel.up(now));
  tunnel.receive(welcome, now);  // a second session on the same keys would repeat nonces
  EXPECT_EQ(starts, 1u);
}

TEST_F(TunnelTest, RekeyWhenIdleLosesNoPacket) {
  connect();
  unsigned welcomes_lost = 2, pings_lost = 3;
  lose_down = [&](const Buffer& d) {
    return is(d, wire::Type::kWelcome) && welcomes_lost > 0 && welcomes_lost-- > 0;
  };
  lose_up = [&](const Buffer& d) {  // the confirmations of the new session
    return is(d, wire::Type::kData) && wire::read_outer(d.data()).receiver != 100 &&
           pings_lost > 0 && pings_lost-- > 0;
  };
  run(119'000);
  EXPECT_EQ(relay.hellos.size(), 1u);
  std::vector<std::string> sent;
  size_t down = 0;
  for (int i = 0; i < 400; ++i) {
    sent.push_back(std::to_string(i));
    ASSERT_TRUE(send(sent.back()));
    // The relay sends on the newest session that was confirmed.
    size_t newest = 0;
    for (size_t s = 0; s < relay.sessions.size(); ++s)
      newest = relay.sessions[s].confirmed ? s : newest;
    relay.out.push_back(relay.seal(newest, kData, as_bytes("d")));
    ++down;
    settle();
    run(10);
  }
  EXPECT_EQ(rekeys, 1u);
  EXPECT_GE(relay.hellos.size(), 3u);
  EXPECT_EQ(wire::read_outer(relay.hellos[1].data()).receiver,
            100u);  // the running session's index
  EXPECT_EQ(data_heard(), sent);
  EXPECT_EQ(frames.size(), down);
  EXPECT_EQ(relay.heard.back().session, relay.sessions.size() - 1);

  relay.out.push_back(relay.seal(0, kData, as_bytes("late")));  // old ones still receive
  settle();
  EXPECT_EQ(frames.size(), down + 1);
}

TEST_F(TunnelTest, RekeysByPacketCount) {
  connect();
  tunnel.newest()->skip_packets(kRekeyPackets);
  run(1'100);
  EXPECT_EQ(rekeys, 1u);
}

TEST_F(TunnelTest, StopsSendingAtTheLimits) {
  connect();
  lose_up = [](const Buffer& d) { return is(d, wire::Type::kHello); };
  tunnel.newest()->skip_packets(kMaxPackets);
  EXPECT_FALSE(send("x"));
}

TEST_F(TunnelTest, KeysEndAfter180Seconds) {
  connect();
  lose_up = [](const Buffer& d) { return is(d, wire::Type::kHello); };
  run(179'980);
  EXPECT_TRUE(send("last"));
  const Buffer late = relay.seal(0, kData, as_bytes("late"));
  run(30);
  EXPECT_FALSE(send("too late"));
  relay.out.push_back(late);
  settle();
  EXPECT_TRUE(frames.empty());
  EXPECT_EQ(tunnel.counters().dropped_session, 1u);
  run(7'000);
  EXPECT_EQ(reports_with("no answer from relay.test:7600 over UDP for 4.5 s"), 1u);
}

TEST_F(TunnelTest, ReplayIsRefusedPerLane) {
  connect();
  const Buffer a = relay.seal(0, kData, as_bytes("a"));
  relay.sessions[0].sequence -= 1;
  const Buffer b = relay.seal(0, kData, as_bytes("b"), 1);  // same sequence, other lane
  relay.sessions[0].sequence -= 1;
  const Buffer beyond = relay.seal(0, kData, as_bytes("c"), 2);
  for (const Buffer* packet : {&a, &b, &a, &b, &beyond}) {
    Buffer copy = *packet;
    tunnel.receive(copy, now);
  }
  EXPECT_EQ(frames.size(), 2u);
  EXPECT_EQ(tunnel.counters().dropped_replay, 2u);
  EXPECT_EQ(tunnel.counters().dropped_malformed, 1u);
  Buffer forged = relay.seal(0, kData, as_bytes("d"));
  forged.back() ^= 1;
  tunnel.receive(forged, now);
  EXPECT_EQ(tunnel.counters().dropped_bad_tag, 1u);
  EXPECT_EQ(frames.size(), 2u);
}

TEST_F(TunnelTest, HeaderSealIsOpenedForDatagramsOnly) {
  connect();
  const Buffer payload(64, 3);
  relay.out.push_back(relay.seal(0, kData, payload, 0, true));
  settle();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].payload, payload);
  relay.out.push_back(relay.seal(0, {7, 0, 64, 0, 1}, payload, 0, true));
  settle();
  EXPECT_EQ(frames.size(), 1u);
  EXPECT_EQ(tunnel.counters().dropped_malformed, 1u);
}

TEST_F(TunnelTest, FramesOfWrongShapeAreDropped) {
  connect();
  const FrameHeader bad[] = {{1, 1, 0, 5, 0}, {1, 0, 0, 5, 9}, {1, 0, 1, 5, 0},
                             {7, 0, 3, 0, 1}, {7, 0, 4, 6, 1}, {0, 0, 0, 1, 0},
                             {0, 9, 0, 0, 0}, {6, 0, 0, 5, 1}, {99, 0, 0, 0, 0}};
  for (const auto& f : bad) {
    const bool keepalive = f.type == 0 && f.flags == 9;
    relay.out.push_back(relay.seal(0, f, keepalive ? Bytes() : as_bytes("data")));
  }
  settle();
  EXPECT_TRUE(frames.empty());
  EXPECT_EQ(tunnel.counters().dropped_frame, std::size(bad));
  relay.out.push_back(relay.seal(0, {7, 0, 4, 0, 1}, as_bytes("data")));
  settle();
  EXPECT_EQ(frames.size(), 1u);
}

TEST_F(TunnelTest, ChallengesAreAnsweredOnceASecond) {
  connect();
  relay.heard.clear();
  for (uint64_t value : {11u, 12u}) relay.out.push_back(relay.seal(0, {0, kPing, 0, 0, value}, {}));
  settle();
  ASSERT_EQ(relay.heard.size(), 1u);
  EXPECT_EQ(relay.heard[0].frame.flags, kAnswer);
  EXPECT_EQ(relay.heard[0].frame.call_id, 11u);
  run(1'000);
  relay.out.push_back(relay.seal(0, {0, kPing, 0, 0, 13}, {}));
  settle();
  ASSERT_EQ(relay.heard.size(), 2u);
  EXPECT_EQ(relay.heard[1].frame.call_id, 13u);
}

TEST_F(TunnelTest, PathChangeIsToldAtOnce) {
  connect();
  relay.heard.clear();
  tunnel.path_changed(now);
  settle();
  ASSERT_EQ(relay.heard.size(), 1u);
  EXPECT_EQ(relay.heard[0].frame.flags, kPing);
}

TEST_F(TunnelTest, IdlePingsAreSpreadAround15Seconds) {
  connect();
  relay.heard.clear();
  run(13'400);
  EXPECT_TRUE(relay.heard.empty());
  run(3'200);
  EXPECT_EQ(relay.heard.size(), 1u);
  // Traffic one way only is not enough: the other direction may be dead.
  for (int i = 0; i < 17; ++i) {
    send("x");
    run(1'000);
  }
  const auto pings = [&] {
    return std::count_if(relay.heard.begin(), relay.heard.end(),
                         [](const auto& h) { return h.frame.type == 0; });
  };
  EXPECT_EQ(pings(), 2);
  for (int i = 0; i < 17; ++i) {
    relay.out.push_back(relay.seal(0, kData, as_bytes("x")));
    settle();
    run(1'000);
  }
  EXPECT_EQ(pings(), 3);
}

TEST_F(TunnelTest, TwoUnansweredPingsReconnectWithGrowingDelays) {
  connect();
  std::vector<uint64_t> hello_at;
  cut = true;
  uint64_t gone_at = 0;
  std::vector<uint64_t> ping_at;
  for (int i = 0; i < 8'000; ++i) {
    now.mono_ms += 10;
    now.unix_ms += 10;
    if (tunnel.deadline(now) <= now.mono_ms) tunnel.tick(now);
    for (const Buffer& d : outbox) {
      (is(d, wire::Type::kHello) ? hello_at : ping_at).push_back(now.mono_ms);
    }
    outbox.clear();
    if (gone_at == 0 && !tunnel.up(now)) gone_at = now.mono_ms;
  }
  // 15 s ± 1.5 idle, then 2 s for each of two pings.
  ASSERT_EQ(ping_at.size(), 2u);
  EXPECT_GE(ping_at[0], 1'000u + 13'500);
  EXPECT_LE(ping_at[0], 1'000u + 16'500 + 10);
  EXPECT_EQ(ping_at[1], ping_at[0] + 2'000);
  EXPECT_EQ(gone_at, ping_at[0] + 4'000);
  ASSERT_GT(hello_at.size(), 10u);
  EXPECT_EQ(hello_at[0], gone_at);
  for (size_t i = 1; i < hello_at.size(); ++i) {
    const uint64_t gap = hello_at[i] - hello_at[i - 1];
    const uint64_t ceiling = std::min<uint64_t>(200ull << std::min<size_t>(i - 1, 5), 5'000);
    EXPECT_GE(gap + 10, ceiling / 2) << i;
    EXPECT_LE(gap, ceiling + 20) << i;
  }
  EXPECT_EQ(reports_with("two pings unanswered"), 1u);
  EXPECT_EQ(reports_with("no answer from"), 1u + (now.mono_ms - gone_at - 5'000) / 60'000);
  cut = false;
  run(6'000);
  EXPECT_TRUE(tunnel.up(now));
}

TEST_F(TunnelTest, AnswerAfterTheFirstLostPingKeepsTheSession) {
  connect();
  unsigned lost = 0;
  lose_up = [&](const Buffer& d) { return is(d, wire::Type::kData) && lost++ == 0; };
  run(20'000);
  EXPECT_EQ(relay.hellos.size(), 1u);
  EXPECT_GE(lost, 2u);
  EXPECT_TRUE(tunnel.up(now));
}

TEST_F(TunnelTest, NewRelayEpochIsTold) {
  connect();
  relay.sessions[0].relay_index = 9'999;  // the relay restarted and knows nothing of it
  relay.epoch = 78;
  run(25'000);
  EXPECT_TRUE(tunnel.up(now));
  EXPECT_EQ(starts, 2u);
  EXPECT_EQ(new_epochs, 2u);
  EXPECT_EQ(tunnel.counters().reconnects, 1u);
}

TEST_F(TunnelTest, VersionIsReportedAndChangesNothing) {
  cut = true;
  tunnel.start(now);
  const Buffer hello = outbox.at(0);
  auto version = wire::build_version(hello);
  version[16] = 3;
  Buffer stranger(version.begin(), version.end());
  stranger[4] ^= 1;
  tunnel.receive(stranger, now);
  EXPECT_EQ(reports_with("version"), 0u);
  tunnel.receive(version, now);
  tunnel.receive(version, now);
  EXPECT_EQ(reports_with("tunnel version 3"), 1u);
  cut = false;
  run(300);
  EXPECT_TRUE(tunnel.up(now));
}

TEST_F(TunnelTest, SilenceIsSaidWithinFiveSeconds) {
  cut = true;
  tunnel.start(now);
  run(4'400);
  EXPECT_EQ(reports_with("no answer from"), 0u);
  run(200);
  EXPECT_EQ(
      reports_with("no answer from relay.test:7600 over UDP for 4.5 s: is UDP blocked, the relay "
                   "down, or this agent not enrolled there?"),
      1u);
}

TEST_F(TunnelTest, JunkIsCountedAndHarmless) {
  connect();
  for (size_t n : {0u, 1u, 15u, 16u, 31u, 47u, 48u, 320u}) {
    for (int type = 0; type < 8; ++type) {
      Buffer junk(n, uint8_t(type));
      tunnel.receive(junk, now);
    }
  }
  EXPECT_TRUE(tunnel.up(now));
  EXPECT_TRUE(frames.empty());
}

TEST_F(TunnelTest, GreetsWithTheKeyThatItWasToldOf) {
  const auto stale = relay.key.public_key;
  relay.key = crypto::X25519KeyPair::generate();
  tunnel.use_relay_key({relay.key.public_key, stale, 1, now.unix_ms + 3'600'000});
  EXPECT_FALSE(tunnel.relay_key_proven());
  connect();
  EXPECT_TRUE(tunnel.relay_key_proven());
  EXPECT_EQ(tunnel.counters().hellos, 1u);
}

// Who has stolen the old key and stands in the way gets nobody back who has met the new one.
TEST_F(TunnelTest, AKeyThatWasProvenIsNotGivenUpForTheOneBefore) {
  auto stolen = relay.key.clone();
  relay.key = crypto::X25519KeyPair::generate();
  tunnel.use_relay_key({relay.key.public_key, stolen.public_key, 1, now.unix_ms + 3'600'000});
  connect();
  relay.key = std::move(stolen);
  relay.hears_others = true;
  relay.sessions.clear();
  cut = true;
  run(30'000);
  cut = false;
  run(60'000);
  EXPECT_FALSE(tunnel.up(now));
  EXPECT_TRUE(relay.sessions.empty());
}

TEST_F(TunnelTest, TriesTheKeyBeforeOnlyWhileItHolds) {
  // The relay came back from a copy that knows nothing of the new key.
  relay.hears_others = true;
  const auto lost = crypto::X25519KeyPair::generate();
  tunnel.use_relay_key({lost.public_key, relay.key.public_key, 1, now.unix_ms + 20'000});
  tunnel.start(now);
  settle();
  EXPECT_FALSE(tunnel.up(now));
  run(12'000);
  ASSERT_TRUE(tunnel.up(now));
  cut = true;
  run(60'000);
  EXPECT_FALSE(tunnel.up(now));
  cut = false;
  const uint64_t hellos = relay.hellos.size();
  run(30'000);
  EXPECT_FALSE(tunnel.up(now)) << "its time is over, whoever still holds it";
  EXPECT_GT(relay.hellos.size(), hellos);
  tunnel.use_relay_key({relay.key.public_key, lost.public_key, 2, 0});
  run(12'000);
  EXPECT_TRUE(tunnel.up(now));
}

}  // namespace
}  // namespace sluice::agent
