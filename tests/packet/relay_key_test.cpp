// The relay's own key, replaced while agents are connected: who may still greet with which, what
// agents are told, and what a stop or a full disk in between leaves.
#include "control/relay_keyring.h"

#include <unistd.h>

#include <optional>

#include "control/store_files.h"
#include "crypto/text.h"
#include "packet/expect.h"
#include "support/full_disk.h"
#include "wire/statement.h"

namespace rig {
namespace {

namespace pb = sluice::pb;
using sluice::ErrorCode;
using sluice::Result;
using sluice::control::HandshakeOutcome;
using sluice::control::RelayKeys;

constexpr uint64_t kHourMs = 3'600'000;

class RelayKeyTest : public testing::Test {
 protected:
  RelayKeyTest() : alpha(r.add_agent(11, "alpha", 0)), beta(r.add_agent(12, "beta", 1)) {
    r.trust("alpha", "beta");
    r.start();
    first = r.relay_key;
  }

  Result<void> replace(uint64_t overlap_ms = kHourMs) {
    std::optional<Result<void>> answer;
    r.control->keyring().replace(overlap_ms, "test", [&](const Result<void>& a) { answer = a; });
    EXPECT_TRUE(r.poll_until([&] { return answer.has_value(); }));
    return *answer;
  }
  Result<void> retire() {
    std::optional<Result<void>> answer;
    r.control->keyring().retire("test", [&](const Result<void>& a) { answer = a; });
    EXPECT_TRUE(r.poll_until([&] { return answer.has_value(); }));
    return *answer;
  }
  const oracle::Key& current() const { return r.control->keys().tunnel.public_key; }
  uint64_t welcomed() {
    return r.control->handshakes().counts()[size_t(HandshakeOutcome::kWelcomed)];
  }
  // Whether a HELLO to that key is answered with a WELCOME that only its holder can write.
  bool welcomes(Agent& a, const oracle::Key& key) {
    r.relay_key = key;
    r.drain_all();
    const uint64_t before = welcomed();
    r.inject(a.port, r.hello_frame(a));
    r.poll_until([&] { return welcomed() > before; }, std::chrono::seconds(1));
    r.poll(3);
    bool read = false;
    for (const Buf& f : r.drain(a.port)) {
      const auto parsed = oracle::parse_udp_frame(f);
      read = read || (parsed && parsed->payload.at(0) == 2 && a.peer.read_welcome(parsed->payload));
    }
    return read;
  }
  // The last that this agent was told, held against the operator's key.
  std::optional<pb::RelayKey> told(Agent& a) {
    for (int i = 0; i < 20; ++i) {
      r.clock.advance_ms(5);
      r.poll(2);
      (void)r.receive(a);
    }
    if (a.relay_keys.empty()) return std::nullopt;
    const pb::Signed& s = a.relay_keys.back();
    const auto& by = r.keys.operator_key.public_key();
    EXPECT_EQ(s.signer(), sluice::as_text(by));
    EXPECT_TRUE(sluice::crypto::verify(by, sluice::crypto::kLabelStatement,
                                       {sluice::as_bytes(s.statement())},
                                       sluice::take<64>(sluice::as_bytes(s.signature()).data())));
    pb::Statement statement;
    EXPECT_TRUE(sluice::wire::parse_statement(sluice::as_bytes(s.statement()), statement));
    EXPECT_EQ(statement.relay_key(), sluice::as_text(first)) << "its name does not change";
    return statement.relay_key_change();
  }
  std::string file_of(const oracle::Key& key) {
    return sluice::control::later_key_path(r.config.relay.state_dir, key);
  }
  std::vector<std::string> feed() {
    std::optional<std::vector<std::string>> kinds;
    r.control->store().read_feed(0, 100, [&](const auto& entries) {
      kinds.emplace();
      for (const auto& e : *entries) kinds->push_back(e.kind);
    });
    EXPECT_TRUE(r.poll_until([&] { return kinds.has_value(); }));
    return *kinds;
  }

  Rig r;
  Agent& alpha;
  Agent& beta;
  oracle::Key first{};
};

TEST_F(RelayKeyTest, BothAreAnsweredUntilTheFirstOnesTimeIsOver) {
  ASSERT_TRUE(r.connect(alpha));
  EXPECT_TRUE(alpha.relay_keys.empty()) << "there is nothing to tell of the first";
  ASSERT_TRUE(replace());
  const oracle::Key second = current();
  ASSERT_NE(second, first);
  const auto heard = told(alpha);
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->key(), sluice::as_text(second));
  EXPECT_EQ(heard->replaced(), sluice::as_text(first));
  EXPECT_NEAR(double(heard->replaced_until_ms()), double(r.clock.unix_ms() + kHourMs), 5000);

  EXPECT_TRUE(welcomes(alpha, first));
  EXPECT_TRUE(welcomes(alpha, second));
  EXPECT_TRUE(welcomes(beta, second));
  oracle::Key third = second;
  third[5] ^= 1;
  r.relay_key = third;
  expect_drop(r, 0, r.hello_frame(alpha), "bad_mac1");

  r.clock.advance_ms(kHourMs - 60'000);
  r.poll(2);
  EXPECT_TRUE(welcomes(alpha, first));
  EXPECT_EQ(access(file_of(second).c_str(), R_OK), 0);
  r.clock.advance_ms(120'000);
  r.poll(2);
  r.relay_key = first;
  expect_drop(r, 0, r.hello_frame(alpha), "bad_mac1");
  EXPECT_TRUE(welcomes(alpha, second));
  EXPECT_FALSE(r.control->keys().previous);
}

TEST_F(RelayKeyTest, WhoConnectsLaterIsToldAsWell) {
  ASSERT_TRUE(replace());
  ASSERT_TRUE(r.connect(beta)) << "greets with the first";
  const auto heard = told(beta);
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->key(), sluice::as_text(current()));
}

TEST_F(RelayKeyTest, PairsAndSessionsStand) {
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  ASSERT_TRUE(replace(0)) << "the first key's time ends at once";
  ASSERT_TRUE(r.poll_until([&] { return !r.control->keys().previous; }));
  r.drain_all();
  r.inject(0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", Buf(40, 7))));
  r.poll(3);
  const auto got = r.receive(beta);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].rest, Buf(40, 7));
}

TEST_F(RelayKeyTest, AThirdOneWaitsForTheFirstOnesEnd) {
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(replace());
  const oracle::Key second = current();
  const auto refused = replace();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_EQ(current(), second);

  ASSERT_TRUE(retire());
  const auto heard = told(alpha);  // and acknowledged: it is not repeated into what follows
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->replaced_until_ms(), 0u);
  r.relay_key = first;
  expect_drop(r, 0, r.hello_frame(alpha), "bad_mac1");
  EXPECT_EQ(retire().error().code, ErrorCode::kNotFound);

  ASSERT_TRUE(replace());
  const oracle::Key third = current();
  EXPECT_TRUE(welcomes(alpha, second));
  EXPECT_TRUE(welcomes(alpha, third));
  ASSERT_TRUE(retire());
  EXPECT_TRUE(r.poll_until([&] { return access(file_of(second).c_str(), F_OK) != 0; }))
      << "a secret that nobody needs any more is not kept";
  EXPECT_EQ(feed(), (std::vector<std::string>{"agent_enrolled", "agent_enrolled",
                                              "relay_key_replaced", "relay_key_retired",
                                              "relay_key_replaced", "relay_key_retired"}));
}

TEST_F(RelayKeyTest, ARestartKnowsBothAndTheEndOfTheFirst) {
  ASSERT_TRUE(replace());
  const oracle::Key second = current();
  r.control.reset();
  r.start();
  EXPECT_EQ(current(), second);
  EXPECT_EQ(r.control->keys().id, first);
  EXPECT_TRUE(welcomes(alpha, first));
  EXPECT_TRUE(welcomes(beta, second));

  r.clock.advance_ms(kHourMs + 1000);
  r.control.reset();
  r.start();
  r.relay_key = first;
  expect_drop(r, 0, r.hello_frame(alpha), "bad_mac1");
  EXPECT_TRUE(welcomes(alpha, second));
}

TEST_F(RelayKeyTest, AKeyWithoutItsFileIsSaidAtTheStart) {
  ASSERT_TRUE(replace());
  const std::string path = file_of(current());
  r.control.reset();
  ASSERT_EQ(unlink(path.c_str()), 0);
  try {
    r.start();
    FAIL() << "started without the key that agents greet";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
  }
}

TEST_F(RelayKeyTest, AFullDiskLeavesTheOldOneInForce) {
  ASSERT_TRUE(r.connect(alpha));
  {
    const FullDisk full;
    EXPECT_FALSE(replace());
  }
  EXPECT_EQ(current(), first);
  EXPECT_FALSE(told(alpha));
  EXPECT_TRUE(welcomes(alpha, first));
  ASSERT_TRUE(replace()) << "and it can be done again";
  EXPECT_TRUE(welcomes(alpha, current()));
}

// A stolen key must not come back because a disk was full for a moment.
TEST_F(RelayKeyTest, ARetirementThatWasNotStoredIsRepeated) {
  ASSERT_TRUE(replace());
  const oracle::Key second = current();
  {
    const FullDisk full;
    const auto answer = retire();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kNotDurable);
  }
  r.relay_key = first;
  expect_drop(r, 0, r.hello_frame(alpha), "bad_mac1");
  ASSERT_TRUE(retire());
  EXPECT_EQ(retire().error().code, ErrorCode::kNotFound);
  r.control.reset();
  r.start();
  expect_drop(r, 0, r.hello_frame(alpha), "bad_mac1");
  EXPECT_TRUE(welcomes(alpha, second));
}

// Agents believe the later issued; several changes may fall into one moment of the clock.
TEST_F(RelayKeyTest, EachStatementIsIssuedAfterTheOneBefore) {
  uint64_t last = 0;
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(i % 2 == 0 ? replace() : retire());
    EXPECT_GT(r.control->keys().change->told_ms, last);
    last = r.control->keys().change->told_ms;
  }
}

TEST_F(RelayKeyTest, CookiesComeSealedUnderTheKeyThatWasGreeted) {
  ASSERT_TRUE(replace());
  // Each without a cookie yet.
  for (const auto& [agent, key] :
       {std::pair(&alpha, first), std::pair(&beta, oracle::Key(current()))}) {
    Agent& a = *agent;
    r.relay_key = key;
    // Under load from here on.
    for (int i = 0; i < 12; ++i) {
      if (i == 6) r.poll_workers();  // the older key is found at the second look
      const auto bad = a.peer.hello(key, {.time_ms = 1, .corrupt_noise = true});
      r.inject(a.port, oracle::udp_frame(a.flow, bad));
    }
    r.poll(5);
    ASSERT_TRUE(r.control->handshakes().under_load());
    r.drain_all();
    r.inject(a.port, r.hello_frame(a));
    bool retried = false;
    r.poll_until(
        [&] {
          for (const Buf& f : r.drain(a.port)) {
            const auto parsed = oracle::parse_udp_frame(f);
            retried = retried || (parsed && a.peer.read_retry(parsed->payload));
          }
          return retried;
        },
        std::chrono::seconds(5));
    ASSERT_TRUE(retried);
    const uint64_t before = welcomed();
    r.inject(a.port, oracle::udp_frame(a.flow, a.peer.resend_with_cookie()));
    EXPECT_TRUE(r.poll_until([&] { return welcomed() > before; }, std::chrono::seconds(5)));
  }
}

TEST_F(RelayKeyTest, TheJoinStringNamesBoth) {
  using sluice::control::public_text;
  const std::string id = sluice::crypto::to_base64url(first);
  const std::string& folder = r.config.relay.state_dir;
  EXPECT_EQ(sluice::control::join_string("::1", 7600, public_text(first, first)),
            "sluice://[::1]:7600/#" + id);
  ASSERT_TRUE(replace());
  const std::string both = sluice::crypto::to_base64url(current()) + "~" + id;
  EXPECT_EQ(public_text(current(), first), both);
  // A program beside the relay finds it, and a start brings it back.
  const auto left = [&] {
    const auto text = sluice::control::read_public_text("/nowhere", folder);
    return text && *text == both;
  };
  EXPECT_TRUE(r.poll_until(left));
  r.control.reset();
  ASSERT_EQ(unlink(sluice::control::public_text_path(folder).c_str()), 0);
  r.start();
  EXPECT_TRUE(r.poll_until(left));
}

}  // namespace
}  // namespace rig
