// What calls of an edge are held to: how many, when, who approves them, and what happens when they
// fail one after the other.
#include "packet/call_fixture.h"

namespace rig {
namespace {

using sluice::control::CallTerms;
using sluice::control::CallVerdict;
using sluice::control::TimeWindow;

class Limits : public Calls {
 protected:
  explicit Limits(const rig::Setup& setup = {}) : Calls(setup) {}
  CallTerms& terms() { return r.config.trust.pairs.back().forward_calls; }

  // A CALL_OPEN of alpha's, and what came of it: the frame that arrived at beta, or a denial.
  struct Answer {
    int reason = -1;  // of CALL_DENY; 0: it was forwarded; -1: nothing
    uint32_t retry_ms = 0;
  };
  Answer try_open(const Envelope& e) {
    last_ = e.counter;
    last_bytes_ = e.signed_by(alpha->peer);
    open(last_bytes_, e.counter);
    settle();
    Answer out;
    for (const oracle::Frame& f : r.receive(*beta)) {
      EXPECT_EQ(f.frame, 2);
      out.reason = 0;
    }
    for (const oracle::Frame& f : r.receive(*alpha)) read_denial(f, out);
    return out;
  }
  Answer try_open() { return try_open(envelope()); }
  static void read_denial(const oracle::Frame& f, Answer& out) {
    EXPECT_EQ(f.frame, 6);
    EXPECT_EQ(out.reason, -1) << "forwarded and denied";
    out.reason = oracle::get_le<uint16_t>(f.extension, 16);
    out.retry_ms = oracle::get_le<uint32_t>(f.extension, 20);
  }
  void accept(uint16_t status = 0) {
    send(*beta, 5, 1, to_alpha(), last_,
         accept_of(beta->peer, last_bytes_, status, r.clock.unix_ms()));
    EXPECT_EQ(arrived(*alpha).size(), 1u);
  }
  void close_both(uint16_t by_callee = 0) {
    const uint64_t before = r.counters().at("calls_closed");
    send(*alpha, 4, 0, to_beta(), last_, close_of(0, 0));
    send(*beta, 4, 1, to_alpha(), last_, close_of(by_callee, 0));
    settle();
    ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == before + 1; }));
    r.receive(*alpha);
    r.receive(*beta);
  }
  void good_call() {
    ASSERT_EQ(try_open().reason, 0);
    accept();
    close_both();
  }
  void failing_call() {
    ASSERT_EQ(try_open().reason, 0);
    accept(5);
    close_both();
  }
  uint64_t counted(const std::string& reason) { return r.counters().at("call." + reason); }

  Buf last_bytes_;
};

constexpr int kOutsideWindow = 14, kCircuitOpen = 16, kRateLimited = 17, kQuotaExhausted = 18,
              kApprovalRequired = 23, kApprovalDenied = 24, kRevoked = 3, kExpired = 8;

// --- How many -----------------------------------------------------------------------------------

struct Rated : Limits {
  Rated() { r.config.trust.pairs.back().forward_rate.calls_per_s = 4; }
};
TEST_F(Rated, OfAnEdgeASecondsWorthAtOnceAndThenOneAfterTheOther) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(try_open().reason, 0) << i;
  const Answer fifth = try_open();
  EXPECT_EQ(fifth.reason, kRateLimited);
  EXPECT_GT(fifth.retry_ms, 0u);
  EXPECT_LE(fifth.retry_ms, 251u);
  r.clock.advance_ms(fifth.retry_ms);
  r.poll_control();
  EXPECT_EQ(try_open().reason, 0);
  EXPECT_EQ(try_open().reason, kRateLimited);
  EXPECT_EQ(counted("rate_limited"), 2u);
  // No signature was verified for what was refused.
  EXPECT_EQ(r.counters().at("verified"), 5u);
}

struct RatedAgent : Limits {
  RatedAgent() {
    for (auto& a : r.config.trust.agents) {
      if (a.name == "alpha") a.rate.calls_per_s = 1;
    }
  }
};
TEST_F(RatedAgent, OfAnAgent) {
  EXPECT_EQ(try_open().reason, 0);
  EXPECT_EQ(try_open().reason, kRateLimited);
  r.clock.advance_ms(1001);
  r.poll_control();
  EXPECT_EQ(try_open().reason, 0);
}

struct RatedTenant : Limits {
  RatedTenant() {
    r.config.trust.tenants.push_back({.line = 0, .id = 7, .rate = {.calls_per_s = 8}});
  }
};
TEST_F(RatedTenant, OfATenantDividedAmongWorkersNeverMoreThanTheWhole) {
  int passed = 0;
  for (int i = 0; i < 20; ++i) passed += try_open().reason == 0 ? 1 : 0;
  EXPECT_GT(passed, 0);
  EXPECT_LE(passed, 8);
}

struct AtOnce : Limits {
  AtOnce() { terms().at_once = 2; }
};
TEST_F(AtOnce, OneMoreWhenOneHasEnded) {
  EXPECT_EQ(try_open().reason, 0);
  EXPECT_EQ(try_open().reason, 0);
  EXPECT_EQ(try_open().reason, kRateLimited);
  EXPECT_EQ(try_open().reason, kRateLimited);
  last_ -= 2;  // the second
  send(*alpha, 4, 0, to_beta(), last_, close_of(0, 0));
  send(*beta, 4, 1, to_alpha(), last_, close_of(0, 0));
  settle();
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }));
  r.receive(*alpha);
  r.receive(*beta);
  EXPECT_EQ(try_open().reason, 0);
}

// Nine that arrive together are judged one after the other.
TEST_F(AtOnce, NotOneMoreInOneBurst) {
  std::vector<Buf> packets;
  for (int i = 0; i < 8; ++i) {
    const Envelope e = envelope();
    packets.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {}));
  }
  arrive_at_once(*alpha, packets);
  settle();
  EXPECT_EQ(r.receive(*beta).size(), 2u);
  EXPECT_EQ(r.receive(*alpha).size(), 6u);
  EXPECT_EQ(counted("rate_limited"), 6u);
}

struct Quota : Limits {
  Quota() { terms().quota = {5, 3600}; }
};
TEST_F(Quota, FiveInAnHourFromTheFirstOn) {
  for (int i = 0; i < 5; ++i) good_call();
  const Answer sixth = try_open();
  EXPECT_EQ(sixth.reason, kQuotaExhausted);
  EXPECT_GT(sixth.retry_ms, 3'590'000u);
  EXPECT_LE(sixth.retry_ms, 3'600'001u);
  EXPECT_EQ(counted("quota_exhausted"), 1u);
}

TEST_F(Quota, ABadSignatureUsesNoneOfIt) {
  for (int i = 0; i < 8; ++i) {
    const Envelope e = envelope();
    Buf bytes = e.signed_by(alpha->peer);
    bytes[150] ^= 1;
    open(bytes, e.counter);
    settle();
  }
  r.receive(*alpha);
  for (int i = 0; i < 5; ++i) good_call();
  EXPECT_EQ(try_open().reason, kQuotaExhausted);
}

TEST_F(Quota, IsThePairsWhateverBecomesOfItsEdges) {
  for (int i = 0; i < 4; ++i) good_call();
  // Other terms make another edge.
  auto trust = r.config.trust;
  trust.pairs.back().seal = sluice::fabric::SealPolicy::kAny;
  ASSERT_TRUE(r.control->reload(trust));
  r.poll(20);
  r.receive(*alpha);
  r.receive(*beta);
  good_call();
  EXPECT_EQ(try_open().reason, kQuotaExhausted);
}

TEST_F(Quota, IsAnewWhenItsTimeIsOver) {
  for (int i = 0; i < 5; ++i) good_call();
  r.clock.advance_ms(3'600'001);
  ASSERT_TRUE(r.connect(*alpha));
  ASSERT_TRUE(r.connect(*beta));
  r.poll_control();
  EXPECT_EQ(try_open().reason, 0);
}

// --- When ---------------------------------------------------------------------------------------

// From an hour ago to ten minutes from now, by the clock of UTC.
struct Windowed : Limits {
  Windowed() {
    const auto now_s = static_cast<int64_t>(r.clock.unix_ms() / 1000);
    const TimeWindow w{.name = "once", .hours = {}, .from_s = now_s - 3600, .to_s = now_s + 600};
    terms().windows = {{w}};
  }
  void wait_ms(uint64_t ms) {
    r.clock.advance_ms(ms);
    r.poll_control();
  }
};
TEST_F(Windowed, ClosesByItselfWithoutControl) {
  EXPECT_EQ(try_open().reason, 0);
  accept();
  r.clock.advance_ms(601'000);
  ASSERT_TRUE(r.connect(*alpha));
  ASSERT_TRUE(r.connect(*beta));
  const Answer late = try_open();
  EXPECT_EQ(late.reason, kOutsideWindow);
  EXPECT_EQ(late.retry_ms, 0u) << "it does not open again";
  EXPECT_EQ(counted("outside_window"), 1u);
}

TEST_F(Windowed, NothingOfAnOpenCallOutsideIt) {
  EXPECT_EQ(try_open().reason, 0);
  accept();
  const uint64_t call = last_;
  const uint32_t slot = to_beta() & 0xffffff;
  r.arena->edges()[slot].window_until.store(r.clock.ticks());
  dies(*alpha, alpha->peer.seal(3, 0, to_beta(), call, {}, Buf(64)), "outside_window");
  dies(*alpha, alpha->peer.seal(1, 0, to_beta(), 0, {}, Buf(64)), "outside_window");
  // Nor the callee's, whose own edge is open.
  r.arena->edges()[to_alpha() & 0xffffff].window_until.store(~uint64_t{0});
  dies(*beta, beta->peer.seal(3, 1, to_alpha(), call, {}, Buf(64)), "outside_window");
  dies(*beta,
       beta->peer.seal(5, 1, to_alpha(), call,
                       accept_of(beta->peer, last_bytes_, 0, r.clock.unix_ms()), {}),
       "outside_window");
  dies(*beta, beta->peer.seal(4, 1, to_alpha(), call, close_of(0, 0), {}), "outside_window");
  // Nor the envelope once more.
  const uint64_t denied = counted("outside_window");
  open(last_bytes_, call);
  EXPECT_TRUE(arrived(*beta).empty());
  Answer again;
  for (const auto& f : r.receive(*alpha)) read_denial(f, again);
  EXPECT_EQ(again.reason, kOutsideWindow);
  EXPECT_EQ(counted("outside_window"), denied + 1);
}

// What is said again is passed on a few times, and keeps no call.
TEST_F(Limits, ClosingEndsHoweverOftenItIsSaid) {
  ASSERT_EQ(try_open().reason, 0);
  accept();
  for (int i = 0; i < 9; ++i) {
    send(*alpha, 4, 0, to_beta(), last_, close_of(0, 0));
    EXPECT_EQ(arrived(*beta).size(), 1u) << i;
    r.clock.advance_ms(1000);
  }
  dies(*alpha, alpha->peer.seal(4, 0, to_beta(), last_, close_of(0, 0), {}), "call_repeated");
  r.clock.advance_ms(1'100);
  EXPECT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }))
      << "ten seconds after it was said first";
}

// What is wrong with an envelope comes before the hour.
TEST_F(Windowed, AReasonBeforeItInTheOrderIsTheReason) {
  r.arena->edges()[to_beta() & 0xffffff].window_until.store(0);
  Envelope e = envelope();
  e.audience ^= 1;
  EXPECT_EQ(try_open(e).reason, 6);
  EXPECT_EQ(try_open().reason, kOutsideWindow);
}

TEST_F(Windowed, AStepOfTheClockMovesIt) {
  EXPECT_EQ(try_open().reason, 0);
  const auto set_forward = [&](int64_t ms) {
    const int64_t before = r.arena->relay().unix_at_tick0_ms.load();
    r.clock.set_wall_forward_ms(ms);
    ASSERT_TRUE(r.poll_until(
        [&] { return std::abs(r.arena->relay().unix_at_tick0_ms.load() - before - ms) < 100; }));
  };
  set_forward(700'000);
  EXPECT_EQ(try_open().reason, kOutsideWindow);
  set_forward(-700'000);
  EXPECT_EQ(try_open().reason, 0);
}

struct Opening : Limits {
  Opening() {
    const auto now_s = static_cast<int64_t>(r.clock.unix_ms() / 1000);
    const TimeWindow w{.name = "soon", .hours = {}, .from_s = now_s + 20, .to_s = now_s + 90};
    terms().windows = {{w}};
  }
};
TEST_F(Opening, OpensWhenControlSaysSo) {
  const Answer early = try_open();
  EXPECT_EQ(early.reason, kOutsideWindow);
  EXPECT_GT(early.retry_ms, 15'000u);
  EXPECT_LE(early.retry_ms, 21'000u);
  r.clock.advance_ms(early.retry_ms + 1);
  EXPECT_EQ(try_open().reason, kOutsideWindow) << "control has not run";
  r.poll_control();
  r.poll_control();
  EXPECT_EQ(try_open().reason, 0);
  produced_reasons().insert("outside_window");
}

// --- Who approves -------------------------------------------------------------------------------

struct Approval : Limits {
  explicit Approval(const rig::Setup& setup = {}) : Limits(setup) {
    terms().approve_capabilities = sluice::wire::capability_bit("tool_call");
  }
  auto& approvals() { return r.control->approvals(); }
  uint32_t only_one() {
    EXPECT_EQ(approvals().waiting().size(), 1u);
    return approvals().waiting().empty() ? 0 : approvals().waiting().begin()->first;
  }
  // What arrives for either, once control has told the worker.
  std::vector<oracle::Frame> told(Agent& at) {
    std::vector<oracle::Frame> out;
    r.poll_until([&] {
      for (auto& f : r.receive(at)) out.push_back(std::move(f));
      return !out.empty();
    });
    return out;
  }
};
TEST_F(Approval, ParksTheCallAndForwardsItOnceApproved) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  const uint32_t id = only_one();
  EXPECT_TRUE(r.receive(*beta).empty());
  // Nothing goes over it before.
  dies(*alpha, alpha->peer.seal(3, 0, to_beta(), last_, {}, Buf(64)), "no_call");
  ASSERT_TRUE(approvals().decide(id, CallVerdict::kApproved));
  const auto at_beta = told(*beta);
  ASSERT_EQ(at_beta.size(), 1u);
  EXPECT_EQ(at_beta[0].frame, 2);
  EXPECT_EQ(at_beta[0].label, to_alpha());
  EXPECT_EQ(at_beta[0].extension, last_bytes_);
  EXPECT_TRUE(r.receive(*alpha).empty());
  accept();
  send(*alpha, 3, 0, to_beta(), last_, {}, Buf(64, 1));
  EXPECT_EQ(arrived(*beta).size(), 1u);
  EXPECT_EQ(counted("approval_required"), 1u);
  EXPECT_EQ(counted("authorized"), 1u);
  EXPECT_EQ(r.counters().at("verified"), 2u);
  EXPECT_EQ(r.counters().at("calls_parked"), 1u);
  EXPECT_FALSE(approvals().decide(id, CallVerdict::kDenied)) << "decided twice";
  r.poll(20);
  EXPECT_TRUE(r.receive(*beta).empty()) << "told once";
}

TEST_F(Approval, DeniedIsSaidToTheCallerAlone) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  ASSERT_TRUE(approvals().decide(only_one(), CallVerdict::kDenied));
  Answer answer;
  for (const auto& f : told(*alpha)) read_denial(f, answer);
  EXPECT_EQ(answer.reason, kApprovalDenied);
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(counted("approval_denied"), 1u);
  EXPECT_EQ(counted("authorized"), 0u);
  // Its message id is used up.
  open(last_bytes_, last_);
  Answer again;
  for (const auto& f : arrived(*alpha)) read_denial(f, again);
  EXPECT_EQ(again.reason, 9);
}

TEST_F(Approval, WhatNobodySaysInTimeIsNo) {
  Envelope e = envelope();
  e.expires = e.issued + 60'000;
  EXPECT_EQ(try_open(e).reason, kApprovalRequired);
  r.poll();
  only_one();
  r.clock.advance_ms(59'000);
  r.poll(5);
  only_one();
  r.clock.advance_ms(1'100);
  Answer answer;
  for (const auto& f : told(*alpha)) read_denial(f, answer);
  EXPECT_EQ(answer.reason, kExpired) << "its envelope ended first";
  EXPECT_TRUE(approvals().waiting().empty());
}

struct ShortApproval : Approval {
  ShortApproval() : Approval({.calls = {.approval_s = 5}}) {}
};
TEST_F(ShortApproval, TimesOutWithinTheEnvelopesLife) {
  Envelope e = envelope();
  e.expires = e.issued + 60'000;
  EXPECT_EQ(try_open(e).reason, kApprovalRequired);
  r.poll();
  r.clock.advance_ms(5'001);
  Answer answer;
  for (const auto& f : told(*alpha)) read_denial(f, answer);
  EXPECT_EQ(answer.reason, kApprovalDenied);
}

TEST_F(Approval, TheSameEnvelopeAgainHearsThatItWaits) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  for (int i = 0; i < 8; ++i) {
    open(last_bytes_, last_);
    Answer again;
    for (const auto& f : arrived(*alpha)) read_denial(f, again);
    EXPECT_EQ(again.reason, kApprovalRequired) << i;
  }
  dies(*alpha, alpha->peer.seal(2, 0, to_beta(), last_, last_bytes_, {}), "call_repeated");
  EXPECT_EQ(counted("approval_required"), 1u) << "one decision";
  only_one();
}

// The frame that approval sends may be lost like any other.
TEST_F(Approval, RepetitionsBeginAnewOnceItIsApproved) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  for (int i = 0; i < 8; ++i) {
    open(last_bytes_, last_);
    EXPECT_EQ(arrived(*alpha).size(), 1u);
  }
  ASSERT_TRUE(approvals().decide(only_one(), CallVerdict::kApproved));
  EXPECT_EQ(told(*beta).size(), 1u);
  open(last_bytes_, last_);
  EXPECT_EQ(arrived(*beta).size(), 1u);
}

TEST_F(Approval, IsAuthorisedAgainWhenItIsTakenOut) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  const uint32_t id = only_one();
  r.control->trust().mark_revoked(*r.control->trust().resolve("beta"), "test", 1);
  ASSERT_TRUE(approvals().decide(id, CallVerdict::kApproved));
  Answer answer;
  for (const auto& f : told(*alpha)) read_denial(f, answer);
  EXPECT_EQ(answer.reason, kRevoked);
  EXPECT_EQ(counted("authorized"), 0u);
  EXPECT_TRUE(r.receive(*beta).empty());
}

TEST_F(Approval, EndsWithItsEdge) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  const uint32_t id = only_one();
  r.control->trust().mark_revoked(*r.control->trust().resolve("alpha"), "test", 1);
  r.control->trust().close_edges(*r.control->trust().resolve("alpha"));
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }));
  r.poll(2);
  EXPECT_TRUE(approvals().waiting().empty());
  EXPECT_FALSE(approvals().decide(id, CallVerdict::kApproved));
}

TEST_F(Approval, FollowsAnAgentToItsNewOwner) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  const uint32_t id = only_one();
  auto& agent = r.arena->agents()[r.control->trust().resolve("alpha")->index];
  const uint32_t other = 1 - agent.owner.load();
  ASSERT_TRUE(r.plane->mailboxes().ask_to_move(
      agent.owner.load(), {r.control->trust().resolve("alpha")->index, other}));
  r.poll();
  ASSERT_EQ(agent.owner.load(), other);
  ASSERT_TRUE(approvals().decide(id, CallVerdict::kApproved));
  EXPECT_EQ(told(*beta).size(), 1u);
}

TEST_F(Approval, WaitsForACalleeThatIsAway) {
  Envelope e = envelope();
  e.expires = e.issued + 250'000;
  EXPECT_EQ(try_open(e).reason, kApprovalRequired);
  r.poll();
  const uint32_t id = only_one();
  auto& session = r.arena->agents()[r.control->trust().resolve("beta")->index].session;
  const uint32_t was = session.exchange(~uint32_t{0});
  ASSERT_TRUE(approvals().decide(id, CallVerdict::kApproved));
  r.poll(3);
  EXPECT_EQ(counted("authorized"), 0u);
  session.store(was);
  r.clock.advance_ms(101);
  EXPECT_EQ(told(*beta).size(), 1u);
}

struct FewApprovals : Approval {
  FewApprovals() : Approval({.calls = {.parked = 1}}) {}
};
TEST_F(FewApprovals, OneMoreThanMayWaitIsDenied) {
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  r.poll();
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  Answer answer;
  for (const auto& f : told(*alpha)) read_denial(f, answer);
  EXPECT_EQ(answer.reason, kApprovalDenied);
  only_one();
}

// A quarter of what may wait for calls to one tenant's agents: others' calls find room.
struct ApprovalShares : Approval {
  ApprovalShares()
      : Approval({.calls = {.parked = 8}}), delta(r.add_agent(14, "delta", 1, false, 9)) {
    r.trust("alpha", "delta");
    terms().approve_capabilities = sluice::wire::capability_bit("tool_call");
  }
  void SetUp() override {
    Approval::SetUp();
    ASSERT_TRUE(r.connect(delta));
    r.receive(*alpha);
    r.drain_all();
  }
  Agent& delta;
};
TEST_F(ApprovalShares, OneTenantLeavesRoomForOthers) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(try_open().reason, kApprovalRequired);
    r.poll();
  }
  EXPECT_EQ(approvals().waiting().size(), 2u);
  EXPECT_EQ(try_open().reason, kApprovalRequired);
  Answer third;
  for (const auto& f : told(*alpha)) read_denial(f, third);
  EXPECT_EQ(third.reason, kApprovalDenied);
  Envelope e = envelope();
  e.audience = delta.welcome.address;
  send(*alpha, 2, 0, alpha->labels["delta"], e.counter, e.signed_by(alpha->peer));
  settle();
  Answer across;
  for (const auto& f : r.receive(*alpha)) read_denial(f, across);
  EXPECT_EQ(across.reason, kApprovalRequired);
  r.poll(4);
  EXPECT_EQ(approvals().waiting().size(), 3u);
  EXPECT_TRUE(r.receive(*alpha).empty()) << "it waits";
}

struct ScopeApproval : Limits {
  ScopeApproval() { terms().approve_scopes = {"payments"}; }
};
TEST_F(ScopeApproval, OfAScope) {
  EXPECT_EQ(try_open().reason, 0);
  Envelope e = envelope();
  e.scope_count = 1;
  e.scopes[0] = sluice::control::scope_hash("payments");
  EXPECT_EQ(try_open(e).reason, kApprovalRequired);
  Envelope other = envelope();
  other.scope_count = 1;
  other.scopes[0] = sluice::control::scope_hash("reading");
  EXPECT_EQ(try_open(other).reason, 0);
}

// --- When calls fail ----------------------------------------------------------------------------

struct Circuit : Limits {
  Circuit()
      : Limits({.calls = {.circuit_percent = 50,
                          .circuit_calls = 4,
                          .circuit_within_s = 60,
                          .circuit_open_s = 10}}) {}
};
TEST_F(Circuit, OpensAfterItsShareTriesOneAndCloses) {
  good_call();
  good_call();
  failing_call();
  EXPECT_EQ(r.counters().at("circuits_opened"), 0u);
  failing_call();
  EXPECT_EQ(r.counters().at("circuits_opened"), 1u);
  const Answer refused = try_open();
  EXPECT_EQ(refused.reason, kCircuitOpen);
  EXPECT_GT(refused.retry_ms, 9'000u);
  EXPECT_LE(refused.retry_ms, 10'001u);
  r.clock.advance_ms(10'100);
  r.poll_control();
  ASSERT_EQ(try_open().reason, 0) << "one to try";
  const Buf probe = last_bytes_;
  const uint64_t call = last_;
  EXPECT_EQ(try_open().reason, kCircuitOpen) << "and one alone";
  last_bytes_ = probe;
  last_ = call;
  accept();
  const uint32_t slot = to_beta() & 0xffffff;
  ASSERT_TRUE(r.poll_until([&] { return r.arena->edges()[slot].circuit.state.load() == 0; }));
  close_both();
  EXPECT_EQ(try_open().reason, 0);
}

TEST_F(Circuit, OpensAgainWhereTheOneFails) {
  for (int i = 0; i < 4; ++i) failing_call();
  r.clock.advance_ms(10'100);
  r.poll_control();
  failing_call();
  EXPECT_EQ(try_open().reason, kCircuitOpen);
  EXPECT_EQ(r.counters().at("circuits_opened"), 2u);
}

TEST_F(Circuit, FailuresOfLongAgoDoNotCount) {
  for (int i = 0; i < 3; ++i) failing_call();
  r.clock.advance_ms(61'000);
  ASSERT_TRUE(r.connect(*alpha));
  ASSERT_TRUE(r.connect(*beta));
  r.poll_control();
  failing_call();
  EXPECT_EQ(r.counters().at("circuits_opened"), 0u);
}

TEST_F(Circuit, CallsThatNobodyAnsweredFailed) {
  for (int i = 0; i < 4; ++i) ASSERT_EQ(try_open().reason, 0);
  r.clock.advance_ms(61'000);
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 4; }));
  EXPECT_EQ(r.counters().at("circuits_opened"), 1u);
}

TEST_F(Circuit, IsTheEdgesAlone) {
  for (int i = 0; i < 4; ++i) failing_call();
  EXPECT_EQ(try_open().reason, kCircuitOpen);
  // The way back.
  Envelope e = envelope();
  e.audience = alpha->welcome.address;
  e.issuer = beta->welcome.address;
  e.counter = 77;
  send(*beta, 2, 0, to_alpha(), 77, e.signed_by(beta->peer));
  EXPECT_EQ(arrived(*alpha).size(), 1u);
}

}  // namespace
}  // namespace rig
