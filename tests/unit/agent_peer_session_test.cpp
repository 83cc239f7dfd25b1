// The end-to-end session of two agents, each driven by hand: messages between them can be lost,
// repeated, reordered and kept. Time is passed in and moves in steps of 10 ms.
#include "agent/peer_session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace sluice::agent {
namespace {

using Sent = PeerSession::Sent;
using wire::E2eType;

constexpr uint64_t kUnixStart = 1'700'000'000'000;

bool is(const Buffer& m, E2eType type) {
  return m.at(0) == uint8_t(type);
}

struct Party {
  crypto::Identity identity = crypto::Identity::generate();
  crypto::X25519KeyPair key = crypto::X25519KeyPair::generate();
  std::optional<PeerSession> session;
  std::vector<Buffer> outbox;
  std::vector<std::string> got;
  std::vector<uint64_t> pongs;
  std::vector<std::string> reports;
  size_t kk1s = 0, kk2s = 0;  // sent
};

class PeerSessionTest : public testing::Test {
 protected:
  PeerSessionTest() {
    // `a` has the lower identity, so it is initiator when both start.
    if (b.identity.public_key() < a.identity.public_key()) std::swap(a.identity, b.identity);
    reset(a, b);
    reset(b, a);
  }

  void reset(Party& own, const Party& peer) {
    own.session.emplace(
        PeerSessionConfig{.own_key = &own.key,
                          .own_identity = own.identity.public_key(),
                          .peer_identity = peer.identity.public_key(),
                          .peer_key = peer.key.public_key,
                          .peer_name = "peer"},
        PeerSessionHooks{[&own](const Carrier&, Bytes m) {
                           own.kk1s += m[0] == 1 ? 1 : 0;
                           own.kk2s += m[0] == 2 ? 1 : 0;
                           own.outbox.push_back(to_buffer(m));
                         },
                         [&own](Bytes d) { own.got.emplace_back(as_text(d)); },
                         [&own](uint64_t id) { own.pongs.push_back(id); },
                         [](const Carrier*) { return Carrier{}; },
                         [](const Carrier&, MessageKind, Bytes) { FAIL() << "no call is open"; },
                         [&own](Level, std::string s) { own.reports.push_back(std::move(s)); }});
  }

  void deliver(Party& from, Party& to) {
    for (Buffer& m : std::exchange(from.outbox, {})) {
      if (!lose || !lose(from, m)) to.session->receive({}, m, now);
    }
  }
  void settle() {
    while (!a.outbox.empty() || !b.outbox.empty()) {
      deliver(a, b);
      deliver(b, a);
    }
  }
  void run(uint64_t ms) {
    for (uint64_t t = 0; t < ms; t += 10) {
      now.mono_ms += 10;
      now.unix_ms += 10;
      for (Party* p : {&a, &b}) {
        if (p->session->deadline() <= now.mono_ms) p->session->tick(now);
      }
      settle();
    }
  }
  Sent send(Party& from, std::string_view s) {
    return from.session->send(MessageKind::kData, as_bytes(s), now);
  }
  void connect(Party& from) {
    send(from, "first");
    settle();
    run(30);
    ASSERT_TRUE(a.session->ready(now));
    ASSERT_TRUE(b.session->ready(now));
    a.got.clear();
    b.got.clear();
  }

  const bool ready = crypto::init();
  Party a, b;
  Now now{1'000, kUnixStart};
  std::function<bool(const Party&, const Buffer&)> lose;
};

using List = std::vector<std::string>;

TEST_F(PeerSessionTest, QueuedMessagesArriveInOrderAfterTheHandshake) {
  EXPECT_EQ(send(a, "1"), Sent::kQueued);
  EXPECT_EQ(send(a, "2"), Sent::kQueued);
  settle();
  EXPECT_EQ(b.got, (List{"1", "2"}));
  EXPECT_EQ(send(a, "3"), Sent::kSent);
  EXPECT_EQ(send(b, "4"), Sent::kSent);
  settle();
  EXPECT_EQ(b.got, (List{"1", "2", "3"}));
  EXPECT_EQ(a.got, (List{"4"}));
  EXPECT_EQ(a.kk1s + b.kk1s, 1u);
}

TEST_F(PeerSessionTest, WireFormOfTheHandshake) {
  send(b, "x");
  ASSERT_EQ(b.outbox.size(), 1u);
  const Buffer kk1 = b.outbox[0];
  EXPECT_EQ(kk1.size(), wire::kKk1Size);
  deliver(b, a);
  ASSERT_EQ(a.outbox.size(), 1u);
  EXPECT_EQ(a.outbox[0].size(), wire::kKk2Size);
  EXPECT_TRUE(std::equal(kk1.begin() + 4, kk1.begin() + 8, a.outbox[0].begin() + 4));
  // The responder sends nothing on the new keys before it has heard on them.
  EXPECT_EQ(send(a, "early"), Sent::kQueued);
  deliver(a, b);
  settle();
  EXPECT_EQ(b.got, (List{"early"}));
  EXPECT_EQ(a.got, (List{"x"}));
}

TEST_F(PeerSessionTest, PrologueAndKeysBindBothIdentities) {
  Party stranger;
  reset(stranger, b);
  send(stranger, "let me in");
  for (Buffer& m : stranger.outbox) b.session->receive({}, m, now);
  EXPECT_TRUE(b.outbox.empty());
  EXPECT_EQ(b.session->counters().dropped_handshake, 1u);

  // The right static keys under another identity fail too.
  Party other;
  other.session.emplace(
      PeerSessionConfig{.own_key = &a.key,
                        .own_identity = stranger.identity.public_key(),
                        .peer_identity = b.identity.public_key(),
                        .peer_key = b.key.public_key,
                        .peer_name = "b"},
      PeerSessionHooks{[&](const Carrier&, Bytes m) { other.outbox.push_back(to_buffer(m)); },
                       [](Bytes) {}, [](uint64_t) {}, [](const Carrier*) { return Carrier{}; },
                       [](const Carrier&, MessageKind, Bytes) {}, [](Level, std::string) {}});
  send(other, "x");
  run(30);
  for (Buffer& m : other.outbox) b.session->receive({}, m, now);
  EXPECT_TRUE(b.outbox.empty());
  EXPECT_EQ(b.session->counters().dropped_handshake, 2u);
}

TEST_F(PeerSessionTest, BothAtOnceTheLowerIdentityIsInitiator) {
  send(a, "from a");
  send(b, "from b");
  settle();
  EXPECT_EQ(b.got, (List{"from a"}));
  EXPECT_EQ(a.got, (List{"from b"}));
  EXPECT_EQ(a.kk2s, 0u);
  EXPECT_EQ(b.kk2s, 1u);
  EXPECT_TRUE(a.session->newest()->initiator());
  EXPECT_FALSE(b.session->newest()->initiator());
  EXPECT_EQ(a.session->key_count(), 1u);
  run(30'000);
  EXPECT_EQ(a.kk1s + b.kk1s, 2u);
}

TEST_F(PeerSessionTest, LostKk1IsRepeatedAsItWas) {
  std::vector<Buffer> kk1s;
  lose = [&](const Party&, const Buffer& m) {
    if (is(m, E2eType::kKk1)) kk1s.push_back(m);
    return is(m, E2eType::kKk1) && kk1s.size() < 4;
  };
  send(a, "x");
  run(3'000);
  ASSERT_EQ(kk1s.size(), 4u);
  EXPECT_EQ(kk1s[0], kk1s[3]);
  EXPECT_EQ(b.got, (List{"x"}));
}

TEST_F(PeerSessionTest, LostKk2ComesAgainForTheSameKk1) {
  unsigned lost = 2;
  lose = [&](const Party&, const Buffer& m) {
    return is(m, E2eType::kKk2) && lost > 0 && lost-- > 0;
  };
  send(a, "x");
  run(3'000);
  EXPECT_EQ(b.got, (List{"x"}));
  EXPECT_EQ(b.kk2s, 3u);
  EXPECT_EQ(b.session->counters().handshakes, 1u);  // no second one for the repetition
}

TEST_F(PeerSessionTest, LostConfirmationIsRepeated) {
  connect(a);
  // b has much to say and a nothing: a's confirmation is what lets b go on.
  reset(a, b);
  reset(b, a);
  unsigned lost = 2;
  lose = [&](const Party&, const Buffer& m) {
    return is(m, E2eType::kTransport) && lost > 0 && lost-- > 0;
  };
  a.session->send(MessageKind::kPong, Buffer(8, 0), now);
  settle();
  send(b, "waits");
  run(900);
  EXPECT_EQ(a.got, (List{"waits"}));
}

TEST_F(PeerSessionTest, ReplayedKk1IsRefused) {
  Buffer kk1;
  lose = [&](const Party&, const Buffer& m) {
    if (is(m, E2eType::kKk1) && kk1.empty()) kk1 = m;
    return false;
  };
  connect(a);
  const auto handshakes = b.session->counters().handshakes;
  Buffer copy = kk1;
  b.session->receive({}, copy, now);  // confirmed: even the last one gets nothing
  EXPECT_TRUE(b.outbox.empty());

  // After a newer handshake the old one is told by its time.
  run(100'000);
  send(a, "keep it used");
  run(25'000);
  ASSERT_EQ(b.session->counters().handshakes, handshakes + 1);
  copy = kk1;
  b.session->receive({}, copy, now);
  EXPECT_TRUE(b.outbox.empty());
  EXPECT_EQ(b.session->counters().dropped_replay, 1u);
  EXPECT_EQ(b.session->counters().handshakes, handshakes + 1);
}

TEST_F(PeerSessionTest, TransportReplayAndReorderingAndWindow) {
  connect(a);
  for (int i = 0; i < 100; ++i) send(a, std::to_string(i));
  std::vector<Buffer> messages = std::exchange(a.outbox, {});
  ASSERT_EQ(messages.size(), 100u);
  std::reverse(messages.begin(), messages.end());
  for (int round = 0; round < 2; ++round) {
    for (const Buffer& m : messages) {
      Buffer copy = m;
      b.session->receive({}, copy, now);
    }
  }
  EXPECT_EQ(b.got.size(), 100u);
  EXPECT_EQ(b.got.front(), "99");
  EXPECT_EQ(b.session->counters().dropped_replay, 100u);

  send(a, "very late");
  const Buffer late = std::exchange(a.outbox, {}).at(0);
  for (int i = 0; i < 2'049; ++i) send(a, "x");
  settle();
  Buffer copy = late;
  b.session->receive({}, copy, now);
  EXPECT_EQ(std::count(b.got.begin(), b.got.end(), "very late"), 0);
}

TEST_F(PeerSessionTest, EveryBitOfATransportMessageCounts) {
  connect(a);
  send(a, "payload");
  const Buffer m = std::exchange(a.outbox, {}).at(0);
  for (size_t i = 0; i < m.size(); ++i) {
    Buffer forged = m;
    forged[i] ^= 1;
    b.session->receive({}, forged, now);
  }
  EXPECT_TRUE(b.got.empty());
  Buffer copy = m;
  b.session->receive({}, copy, now);
  EXPECT_EQ(b.got, (List{"payload"}));
}

TEST_F(PeerSessionTest, RekeyLosesNothingEitherWay) {
  connect(a);
  List up, down;
  unsigned kk2_lost = 1;
  lose = [&](const Party&, const Buffer& m) {
    return is(m, E2eType::kKk2) && kk2_lost > 0 && kk2_lost-- > 0;
  };
  for (int i = 0; i < 2'500; ++i) {  // 250 s
    send(a, up.emplace_back(std::to_string(i)));
    send(b, down.emplace_back(std::to_string(i)));
    settle();
    run(100);
  }
  EXPECT_EQ(b.got, up);
  EXPECT_EQ(a.got, down);
  EXPECT_EQ(a.session->counters().handshakes, 3u);
  EXPECT_EQ(b.kk1s, 0u);  // the responder leaves it to the initiator
}

TEST_F(PeerSessionTest, OldKeysReceiveWhatWasUnderWay) {
  connect(a);
  run(100'000);
  send(a, "used");
  settle();
  send(b, "old keys");
  const Buffer old = std::exchange(b.outbox, {}).at(0);
  run(25'000);
  ASSERT_EQ(a.session->counters().handshakes, 2u);
  Buffer copy = old;
  a.session->receive({}, copy, now);
  EXPECT_EQ(a.got, (List{"old keys"}));
}

TEST_F(PeerSessionTest, RekeysByPacketCountAndEndsByIt) {
  connect(a);
  run(1'000);
  a.session->newest()->skip_packets(kRekeyPackets);
  send(a, "x");
  settle();
  EXPECT_EQ(a.session->counters().handshakes, 2u);
  a.session->newest()->skip_packets(kMaxPackets);
  EXPECT_FALSE(a.session->ready(now));
}

TEST_F(PeerSessionTest, UnusedSessionsExpireQuietly) {
  connect(a);
  run(181'000);
  EXPECT_EQ(a.kk1s + b.kk1s, 1u);
  EXPECT_FALSE(a.session->ready(now));
  EXPECT_EQ(send(b, "again"), Sent::kQueued);
  settle();
  EXPECT_EQ(a.got, (List{"again"}));
}

TEST_F(PeerSessionTest, PeerThatLostItsKeysAsksForNewOnes) {
  connect(a);
  reset(b, a);  // b's daemon was restarted
  run(2'000);
  send(a, "lost with the old keys");
  settle();
  run(100);
  send(a, "heard");
  send(b, "answer");
  settle();
  EXPECT_EQ(b.got, (List{"heard"}));
  EXPECT_EQ(a.got, (List{"answer"}));
}

TEST_F(PeerSessionTest, NoAnswerEndsWithAClearError) {
  lose = [](const Party&, const Buffer&) { return true; };
  send(a, "x");
  run(9'900);
  EXPECT_TRUE(a.reports.empty());
  EXPECT_GE(a.kk1s, 5u);
  EXPECT_LE(a.kk1s, 20u);
  run(2'500);
  ASSERT_EQ(a.reports.size(), 1u);
  EXPECT_NE(a.reports[0].find("did not answer the end-to-end handshake"), std::string::npos);
  EXPECT_EQ(a.session->counters().failures, 1u);
  EXPECT_EQ(a.session->counters().dropped_queue, 1u);
  EXPECT_EQ(a.session->queued(), 0u);
  lose = nullptr;
  run(2'000);
  EXPECT_TRUE(b.got.empty());
  send(a, "y");
  settle();
  EXPECT_EQ(b.got, (List{"y"}));
  EXPECT_TRUE(a.session->last_error().empty());
}

TEST_F(PeerSessionTest, QueueIsBounded) {
  for (size_t i = 0; i < PeerSession::kQueueLimit; ++i) EXPECT_EQ(send(a, "x"), Sent::kQueued);
  EXPECT_EQ(send(a, "x"), Sent::kFull);
  settle();
  EXPECT_EQ(b.got.size(), PeerSession::kQueueLimit);
}

TEST_F(PeerSessionTest, PingIsAnsweredEndToEnd) {
  connect(b);
  Buffer body(56, 0);
  store_le(body.data(), uint64_t{4711});
  a.session->send(MessageKind::kPing, body, now);
  settle();
  EXPECT_EQ(a.pongs, std::vector<uint64_t>{4711});
  EXPECT_TRUE(a.got.empty());
  EXPECT_TRUE(b.got.empty());
  a.session->send(static_cast<MessageKind>(200), body, now);
  settle();
  EXPECT_TRUE(b.got.empty());
}

TEST_F(PeerSessionTest, DropForgetsKeysButNotTimes) {
  Buffer kk1;
  lose = [&](const Party&, const Buffer& m) {
    if (is(m, E2eType::kKk1)) kk1 = m;
    return false;
  };
  connect(a);
  b.session->drop();
  EXPECT_FALSE(b.session->ready(now));
  run(100);
  b.outbox.clear();
  Buffer copy = kk1;
  b.session->receive({}, copy, now);
  EXPECT_TRUE(b.outbox.empty());
  EXPECT_EQ(b.session->counters().dropped_replay, 1u);
}

TEST_F(PeerSessionTest, JunkIsCountedAndHarmless) {
  connect(a);
  for (size_t n : {0u, 15u, 32u, 68u, 72u, 100u}) {
    for (uint8_t type = 0; type < 5; ++type) {
      Buffer junk(n, 0);
      if (n > 0) junk[0] = type;
      b.session->receive({}, junk, now);
    }
  }
  settle();
  send(a, "still here");
  settle();
  EXPECT_EQ(b.got, (List{"still here"}));
}

}  // namespace
}  // namespace sluice::agent
