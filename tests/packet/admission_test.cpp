// Agents that are admitted for a time: WELCOME says for how long, no session outlives it, and
// afterwards they are strangers whose pairs rest.
#include "packet/ceremony_fixture.h"
#include "packet/expect.h"

namespace rig {
namespace {

constexpr uint64_t kLifeMs = 100'000;

class Admission : public Ceremony {
 protected:
  Admission() : made(r.make_agent(21, "guest", 1)), guest(*made) {}

  sluice::Result<uint32_t> add(uint64_t life_ms, const Agent* other = nullptr) {
    std::optional<sluice::Result<uint32_t>> out;
    r.control->enrolment().add_agent((other == nullptr ? guest : *other).peer.identity(), 7,
                                     "guest", life_ms, "operator",
                                     [&](sluice::Result<uint32_t> a) { out = std::move(a); });
    EXPECT_TRUE(r.poll_until([&] { return out.has_value(); }));
    return *out;
  }
  // Guest asks alpha, who grants.
  void befriend() {
    const pb::Signed asked = sign(guest, request(guest, alpha));
    ASSERT_EQ(submit(guest, asked), "ok");
    ASSERT_EQ(submit(alpha, sign(alpha, grant(asked, alpha))), "ok");
    ASSERT_TRUE(reaches(guest, alpha));
    ASSERT_TRUE(reaches(alpha, guest));
  }
  const control::AgentEntry& entry() { return *r.control->trust().by_identity(identity()); }
  sluice::crypto::PublicKey identity() const {
    sluice::crypto::PublicKey out;
    std::copy(guest.peer.identity().begin(), guest.peer.identity().end(), out.begin());
    return out;
  }
  uint64_t left_ms() const { return entry_end - std::min(entry_end, r.clock.unix_ms()); }

  std::unique_ptr<Agent> made;
  Agent& guest;
  uint64_t entry_end = 0;
};

TEST_F(Admission, WelcomeSaysHowLongItLasts) {
  ASSERT_TRUE(add(kLifeMs));
  ASSERT_TRUE(r.connect(guest));
  EXPECT_GE(guest.welcome.trust_life_s, kLifeMs / 1000 - 2);
  EXPECT_LE(guest.welcome.trust_life_s, kLifeMs / 1000);
  r.clock.advance_ms(60'000);
  ASSERT_TRUE(r.connect(guest));
  EXPECT_GE(guest.welcome.trust_life_s, 38u);
  EXPECT_LE(guest.welcome.trust_life_s, 40u);
  EXPECT_EQ(alpha.welcome.trust_life_s, 0u) << "of the configuration: no end";
  ASSERT_TRUE(add(0));
  r.clock.advance_ms(1000);
  ASSERT_TRUE(r.connect(guest));
  EXPECT_EQ(guest.welcome.trust_life_s, 0u);
}

// Workers see to it alone: control may stand still.
TEST_F(Admission, NoSessionOutlivesIt) {
  ASSERT_TRUE(add(kLifeMs));
  ASSERT_TRUE(r.connect(guest));
  befriend();
  entry_end = entry().ends_ms();
  ASSERT_GT(left_ms(), 2000u);
  r.clock.advance_ms(left_ms() - 1000);
  r.send(guest, r.datagram(guest, "alpha", Buf(30, 1)));
  r.poll_workers();
  EXPECT_EQ(r.receive(alpha).size(), 1u) << "until then";
  r.clock.advance_ms(1500);
  expect_drop(r, guest.port, oracle::udp_frame(guest.flow, r.datagram(guest, "alpha", Buf(30, 1))),
              "session_expired");
  expect_drop(r, alpha.port, oracle::udp_frame(alpha.flow, r.datagram(alpha, "guest", Buf(30, 1))),
              "peer_offline");
}

TEST_F(Admission, AfterwardsItIsAStrangerWhosePairsRest) {
  ASSERT_TRUE(add(kLifeMs));
  ASSERT_TRUE(r.connect(guest));
  befriend();
  const uint32_t index = entry().index;
  entry_end = entry().ends_ms();
  r.clock.advance_ms(left_ms() + 1);
  r.poll(4);
  EXPECT_TRUE(entry().over);
  // One event says so; records of the session's end may come before or after it.
  const auto& events = r.control->events();
  unsigned said = 0;
  for (uint64_t number = events.first(); number != events.next(); ++number) {
    const auto& event = events.at(number);
    said += !event.record && event.kind == control::EventKind::kAdmissionOver &&
            event.subject == to_string(entry().address);
  }
  EXPECT_EQ(said, 1u);
  EXPECT_FALSE(r.control->sessions().has_session(index));
  EXPECT_TRUE(r.control->trust().edges_of(index).empty());
  EXPECT_EQ(pairs(), 1u) << "what they agreed on is kept";
  EXPECT_NE(r.arena->agents()[index].state.load(), uint32_t(sluice::fabric::AgentState::kActive));
  ASSERT_TRUE(r.poll_until([&] {
    r.clock.advance_ms(50);
    (void)r.receive(alpha);
    return !alpha.labels.contains("guest");
  }));
  // Silence, as for anybody whom nobody knows.
  r.poll(4);
  r.drain_all();
  const auto unknown = [&] {
    return r.control->handshakes().counts()[size_t(control::HandshakeOutcome::kUnknownIdentity)];
  };
  const auto before = unknown();
  r.inject(guest.port, r.hello_frame(guest));
  for (int i = 0; i < 10; ++i) {
    r.clock.advance_ms(5);
    r.poll(1);
  }
  EXPECT_TRUE(r.drain(guest.port).empty());
  EXPECT_EQ(unknown(), before + 1);
  // Nobody else is called so meanwhile.
  const auto other = r.make_agent(22, "guest", 1);
  const auto taken = add(0, other.get());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, sluice::ErrorCode::kConflict);
  // Admitted again, it has what it had.
  ASSERT_TRUE(add(0));
  ASSERT_TRUE(r.connect(guest));
  EXPECT_TRUE(reaches(guest, alpha));
  EXPECT_TRUE(reaches(alpha, guest));
}

TEST_F(Admission, AShorterOneEndsTheSessionThatRuns) {
  ASSERT_TRUE(add(0));
  ASSERT_TRUE(r.connect(guest));
  befriend();
  ASSERT_TRUE(add(2000));
  EXPECT_TRUE(reaches(guest, alpha));
  r.clock.advance_ms(2000);
  r.poll(4);
  EXPECT_FALSE(r.control->sessions().has_session(entry().index));
  expect_drop(r, guest.port, oracle::udp_frame(guest.flow, r.datagram(guest, "alpha", Buf(30, 1))),
              "unknown_receiver");
}

TEST_F(Admission, IsOverAfterARestartToo) {
  ASSERT_TRUE(add(kLifeMs));
  ASSERT_TRUE(add(kLifeMs, &guest));
  r.control.reset();
  r.clock.advance_ms(kLifeMs + 1);
  r.start();
  EXPECT_TRUE(entry().over);
  r.drain_all();
  r.inject(guest.port, r.hello_frame(guest));
  for (int i = 0; i < 10; ++i) {
    r.clock.advance_ms(5);
    r.poll(1);
  }
  EXPECT_TRUE(r.drain(guest.port).empty());
}

}  // namespace
}  // namespace rig
