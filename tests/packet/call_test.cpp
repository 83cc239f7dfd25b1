// A call from its envelope to its end, and every way in which it is not let through.
#include <nlohmann/json.hpp>

#include "audit/record_json.h"
#include "packet/audit_reader.h"
#include "packet/call_fixture.h"

namespace rig {
namespace {

TEST_F(Calls, OpenAcceptDataClose) {
  const auto before = r.counters();
  const Buf envelope = open_good();
  auto at_beta = arrived(*beta);
  ASSERT_EQ(at_beta.size(), 1u);
  EXPECT_EQ(at_beta[0].frame, 2);
  EXPECT_EQ(at_beta[0].flags, 0);
  EXPECT_EQ(at_beta[0].label, to_alpha());
  EXPECT_EQ(at_beta[0].call_id, last_);
  EXPECT_EQ(at_beta[0].extension, envelope);
  EXPECT_TRUE(r.receive(*alpha).empty());

  const Buf accept = accept_of(beta->peer, envelope, 0, r.clock.unix_ms());
  send(*beta, 5, 1, to_alpha(), last_, accept);
  auto at_alpha = arrived(*alpha);
  ASSERT_EQ(at_alpha.size(), 1u);
  EXPECT_EQ(at_alpha[0].frame, 5);
  EXPECT_EQ(at_alpha[0].flags, 1);
  EXPECT_EQ(at_alpha[0].label, to_beta());
  EXPECT_EQ(at_alpha[0].extension, accept);

  send(*alpha, 3, 0, to_beta(), last_, {}, Buf(100, 0xaa));
  send(*beta, 3, 1, to_alpha(), last_, {}, Buf(50, 0xbb));
  settle();
  at_beta = r.receive(*beta);
  at_alpha = r.receive(*alpha);
  ASSERT_EQ(at_beta.size(), 1u);
  ASSERT_EQ(at_alpha.size(), 1u);
  EXPECT_EQ(at_beta[0].rest, Buf(100, 0xaa));
  EXPECT_EQ(at_beta[0].flags, 0);
  EXPECT_EQ(at_alpha[0].rest, Buf(50, 0xbb));
  EXPECT_EQ(at_alpha[0].flags, 1);

  send(*alpha, 4, 0, to_beta(), last_, close_of(0, 100));
  send(*beta, 4, 1, to_alpha(), last_, close_of(3, 50));
  settle();
  EXPECT_EQ(r.receive(*beta).size(), 1u);
  EXPECT_EQ(r.receive(*alpha).size(), 1u);
  // Its record is free once every worker has passed a quiescent point.
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }));
  const auto after = moved(before, r.counters());
  EXPECT_EQ(after.at("call.authorized"), 1u);
  EXPECT_EQ(after.at("accepted"), 1u);
  EXPECT_EQ(after.at("verified"), 2u);
  EXPECT_EQ(after.at("parked"), 2u);
  EXPECT_EQ(after.at("resumed"), 2u);
  dies(*alpha, alpha->peer.seal(3, 0, to_beta(), last_, {}, Buf(64)), "no_call");
}

TEST_F(Calls, NothingPassesWithoutACall) {
  for (const uint8_t flags : {0, 1}) {
    dies(*alpha, alpha->peer.seal(3, flags, to_beta(), 5, {}, Buf(64)), "no_call");
    dies(*alpha, alpha->peer.seal(4, flags, to_beta(), 5, close_of(0, 0), {}), "no_call");
  }
  dies(*alpha, alpha->peer.seal(5, 1, to_beta(), 5, Buf(96), {}), "no_call");
}

// Not even the callee's data, before it has said that it takes the call.
TEST_F(Calls, TheCalleeAcceptsBeforeItAnswers) {
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  dies(*beta, beta->peer.seal(3, 1, to_alpha(), last_, {}, Buf(64)), "no_call");
  // Refused it stays refused.
  send(*beta, 5, 1, to_alpha(), last_, accept_of(beta->peer, envelope, 4, 1));
  ASSERT_EQ(arrived(*alpha).size(), 1u);
  dies(*beta, beta->peer.seal(3, 1, to_alpha(), last_, {}, Buf(64)), "no_call");
  dies(*beta, beta->peer.seal(5, 1, to_alpha(), last_, accept_of(beta->peer, envelope, 0, 1), {}),
       "accept_bad");
}

TEST_F(Calls, DataThatCameWithItsCallFollowsIt) {
  const Envelope e = envelope();
  std::vector<Buf> packets{
      alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {})};
  for (uint8_t i = 0; i < 9; ++i) {
    packets.push_back(alpha->peer.seal(3, 0, to_beta(), e.counter, {}, Buf(32, i)));
  }
  const auto before = r.counters();
  for (const Buf& p : packets) arrive_at_once(*alpha, {p});
  settle();
  const auto at_beta = r.receive(*beta);
  ASSERT_EQ(at_beta.size(), 9u);
  EXPECT_EQ(at_beta[0].frame, 2);
  for (uint8_t i = 0; i < 8; ++i) EXPECT_EQ(at_beta[i + 1].rest, Buf(32, i));
  // Eight wait for a call, and no more.
  EXPECT_EQ(moved(before, r.counters()).at("drop.call_queue_full"), 1u);
  produced_reasons().insert("call_queue_full");
}

// Nine signatures take two rounds; a host that stood still between them brings old data.
TEST_F(Calls, DataDoesNotWaitForLong) {
  std::vector<Buf> packets;
  Envelope e;
  for (int i = 0; i < 9; ++i) {
    e = envelope();
    packets.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {}));
  }
  packets.push_back(alpha->peer.seal(3, 0, to_beta(), e.counter, {}, Buf(32)));
  packets.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {}));
  arrive_at_once(*alpha, packets);
  const auto before = r.counters();
  r.poll_workers();
  EXPECT_EQ(r.receive(*beta).size(), 8u);
  r.clock.advance_ms(11);
  r.poll_workers();
  EXPECT_EQ(r.receive(*beta).size(), 1u);
  const auto after = moved(before, r.counters());
  EXPECT_EQ(after.at("drop.call_wait"), 1u);
  EXPECT_EQ(after.at("drop.call_repeated"), 1u) << "the ninth envelope again, while it waited";
  produced_reasons().insert("call_wait");
}

TEST_F(Calls, DataBehindABadSignatureIsNotForwarded) {
  const Envelope e = envelope();
  Buf bytes = e.signed_by(alpha->peer);
  bytes[150] ^= 1;
  arrive_at_once(*alpha, {alpha->peer.seal(2, 0, to_beta(), e.counter, bytes, {})});
  arrive_at_once(*alpha, {alpha->peer.seal(3, 0, to_beta(), e.counter, {}, Buf(32))});
  settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(r.counters().at("drop.no_call"), 1u);
  EXPECT_EQ(r.counters().at("call.bad_signature"), 1u);
}

TEST_F(Calls, ARepetitionIsForwardedEightTimesWithoutADecision) {
  const Envelope e = envelope();
  const Buf bytes = e.signed_by(alpha->peer);
  open(bytes, e.counter);
  ASSERT_EQ(arrived(*beta).size(), 1u);
  for (int i = 0; i < 8; ++i) {
    open(bytes, e.counter);
    const auto again = arrived(*beta);
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(again[0].extension, bytes);
  }
  dies(*alpha, alpha->peer.seal(2, 0, to_beta(), e.counter, bytes, {}), "call_repeated");
  EXPECT_EQ(r.counters().at("call.authorized"), 1u);
  EXPECT_EQ(r.counters().at("verified"), 1u);
}

TEST_F(Calls, APeerThatIsAwayCostsNoMessageId) {
  r.clock.advance_ms(181'000);  // sessions end
  ASSERT_TRUE(r.connect(*alpha));
  r.poll_control();
  const Envelope e = envelope();
  const Buf bytes = e.signed_by(alpha->peer);
  open(bytes, e.counter);
  settle();
  EXPECT_EQ(r.counters().at("drop.peer_offline"), 1u);
  EXPECT_EQ(r.counters().at("call.authorized"), 0u);
  ASSERT_TRUE(r.connect(*beta));
  open(bytes, e.counter);
  EXPECT_EQ(arrived(*beta).size(), 1u);
}

// However much the callee goes on: a caller's records are its own.
TEST_F(Calls, ACalleeCannotHoldACallThatItsCallerClosed) {
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  send(*beta, 5, 1, to_alpha(), last_, accept_of(beta->peer, envelope, 0, 1));
  ASSERT_EQ(arrived(*alpha).size(), 1u);
  send(*alpha, 4, 0, to_beta(), last_, close_of(0, 0));
  settle();
  for (int i = 0; i < 12; ++i) {
    r.clock.advance_ms(1000);
    send(*beta, 3, 1, to_alpha(), last_, {}, Buf(32));
    for (int n = 0; n < 400; ++n) r.poll_workers();
  }
  EXPECT_EQ(r.counters().at("calls_closed"), 1u);
}

// What was let through before is not sent again while nobody knows whether it still may be.
TEST_F(Calls, NoRepetitionWhileControlStandsStill) {
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  r.arena->relay().stale_at.store(r.clock.ticks());
  dies(*alpha, alpha->peer.seal(2, 0, to_beta(), last_, envelope, {}), "control_stale");
}

// Not even when its thirty seconds are over: the caller hears nothing else of a call that is open.
TEST_F(Calls, ARepetitionIsOneHoweverLate) {
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  r.clock.advance_ms(40'000);
  r.poll_control();
  open(envelope, last_);
  EXPECT_EQ(arrived(*beta).size(), 1u);
}

TEST_F(Calls, AnAcceptanceIsVerifiedNineTimesAtMost) {
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  const Buf accept = accept_of(beta->peer, envelope, 0, 1);
  for (int i = 0; i < 9; ++i) {
    send(*beta, 5, 1, to_alpha(), last_, accept);
    EXPECT_EQ(arrived(*alpha).size(), 1u) << i;
  }
  dies(*beta, beta->peer.seal(5, 1, to_alpha(), last_, accept, {}), "call_repeated");
  EXPECT_EQ(r.counters().at("accepted"), 1u);
}

TEST_F(Calls, TheCalleesDataFollowsItsAcceptance) {
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  const Buf accept = accept_of(beta->peer, envelope, 0, 1);
  arrive_at_once(*beta, {beta->peer.seal(5, 1, to_alpha(), last_, accept, {}),
                         beta->peer.seal(3, 1, to_alpha(), last_, {}, Buf(32, 1)),
                         beta->peer.seal(3, 1, to_alpha(), last_, {}, Buf(32, 2)),
                         beta->peer.seal(4, 1, to_alpha(), last_, close_of(0, 64), {}),
                         beta->peer.seal(3, 1, to_alpha(), last_, {}, Buf(32, 3))});
  const auto at_alpha = arrived(*alpha);
  ASSERT_EQ(at_alpha.size(), 4u);
  EXPECT_EQ(at_alpha[0].frame, 5);
  EXPECT_EQ(at_alpha[1].rest, Buf(32, 1));
  EXPECT_EQ(at_alpha[2].rest, Buf(32, 2));
  EXPECT_EQ(at_alpha[3].frame, 4);
  EXPECT_EQ(r.counters().at("drop.no_call"), 1u) << "what comes after the close";
}

TEST_F(Calls, ACallerThatClosedSendsNothingMore) {
  open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  send(*alpha, 4, 0, to_beta(), last_, close_of(0, 0));
  ASSERT_EQ(arrived(*beta).size(), 1u);
  dies(*alpha, alpha->peer.seal(3, 0, to_beta(), last_, {}, Buf(64)), "no_call");
}

// Whatever is taken up in one round and left for the next.
TEST_F(Calls, NothingOvertakes) {
  std::vector<Buf> first, second;
  Envelope e;
  std::vector<uint64_t> ids;
  for (int i = 0; i < 16; ++i) {
    e = envelope();
    ids.push_back(e.counter);
    first.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {}));
  }
  const auto data = [&](size_t call, uint8_t n) {
    return alpha->peer.seal(3, 0, to_beta(), ids[call], {}, Buf(32, n));
  };
  for (uint8_t n = 0; n < 4; ++n) {
    for (size_t call = 12; call < 16; ++call) first.push_back(data(call, n));
  }
  for (uint8_t n = 4; n < 8; ++n) {
    for (size_t call = 12; call < 16; ++call) second.push_back(data(call, n));
  }
  const Buf close = alpha->peer.seal(4, 0, to_beta(), ids[15], close_of(0, 256), {});
  arrive_at_once(*alpha, first);
  r.poll_workers();
  r.clock.advance_ms(1);  // signatures have their turn again
  arrive_at_once(*alpha, second);
  r.poll_workers();
  arrive_at_once(*alpha, {close});
  r.poll_workers();
  for (int i = 0; i < 4; ++i) settle();
  Buf of_last;
  for (const auto& f : r.receive(*beta)) {
    if (f.call_id == ids[15]) of_last.push_back(f.frame == 3 ? f.rest[0] : 100 + f.frame);
  }
  EXPECT_EQ(of_last, (Buf{102, 0, 1, 2, 3, 4, 5, 6, 7, 104}));
}

// Nine signatures: the last one waits for the second round, and meets what happened meanwhile.
class Waiting : public Calls {
 protected:
  void SetUp() override {
    Calls::SetUp();
    std::vector<Buf> packets;
    for (int i = 0; i < 9; ++i) {
      const Envelope e = envelope();
      packets.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {}));
    }
    arrive_at_once(*alpha, packets);
    r.poll_workers();
    ASSERT_EQ(r.receive(*beta).size(), 8u);
    before_ = r.counters();
  }
  std::map<std::string, uint64_t> before_;
};

TEST_F(Waiting, AnAgentRevokedMeanwhile) {
  r.control->trust().mark_revoked(*r.control->trust().by_identity(alpha->peer.identity()), "", 1);
  settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_TRUE(r.receive(*alpha).empty());
  EXPECT_EQ(moved(before_, r.counters()).at("drop.revoked"), 1u);
}

TEST_F(Waiting, ItsPeerRevokedMeanwhile) {
  r.control->trust().mark_revoked(*r.control->trust().by_identity(beta->peer.identity()), "", 1);
  settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(moved(before_, r.counters()).at("call.revoked"), 1u);
}

TEST_F(Waiting, ThePairEndedMeanwhile) {
  (void)r.control->trust().close_edges(*r.control->trust().by_identity(beta->peer.identity()));
  settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(moved(before_, r.counters()).at("call.revoked"), 1u);
}

TEST_F(Waiting, ItsSessionEndedMeanwhile) {
  r.clock.advance_ms(181'000);
  settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(moved(before_, r.counters()).at("drop.session_expired"), 1u);
}

TEST_F(Waiting, AnotherKeyMeanwhile) {
  auto identity = beta->peer.identity();
  r.arena->agents()[r.control->trust().by_identity(alpha->peer.identity())->index].identity.set(
      identity);
  settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(moved(before_, r.counters()).at("call.bad_signature"), 1u);
}

TEST_F(Waiting, ItsAgentIsNotGivenAway) {
  const uint32_t index = r.control->trust().by_identity(alpha->peer.identity())->index;
  const uint32_t owner = r.arena->agents()[index].owner.load();
  ASSERT_TRUE(r.plane->mailboxes().ask_to_move(owner, {index, 1 - owner}));
  r.poll_workers();
  EXPECT_EQ(r.arena->agents()[index].owner.load(), owner);
  EXPECT_EQ(r.receive(*beta).size(), 1u);
  ASSERT_TRUE(r.plane->mailboxes().ask_to_move(owner, {index, 1 - owner}));
  r.poll_workers();
  EXPECT_EQ(r.arena->agents()[index].owner.load(), 1 - owner) << "when nothing waits any more";
}

TEST_F(Calls, APageComesHomeWhenItsAgentHasCalledNobodyForLong) {
  const auto free_pages = [&] {
    size_t n = 0;
    for (unsigned w = 0; w < 2; ++w) n += r.plane->worker(w).context().calls->free_pages.size();
    return n;
  };
  const size_t all = free_pages();
  open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  EXPECT_EQ(free_pages(), all - 1);
  r.clock.advance_ms(61'000);
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }));
  EXPECT_EQ(free_pages(), all - 1);
  r.clock.advance_ms(340'000);
  ASSERT_TRUE(r.poll_until([&] { return free_pages() == all; }));
}

// Another worker may still be at the callee's half of it.
TEST_F(Calls, ARecordRestsUntilEveryWorkerHasPassed) {
  std::vector<uint64_t> ids;
  for (int i = 0; i < 16; ++i) {
    open_good();
    ids.push_back(last_);
    ASSERT_EQ(arrived(*beta).size(), 1u) << i;
  }
  send(*beta, 4, 1, to_alpha(), ids[0], close_of(0, 0));
  settle();
  const uint32_t index = r.control->trust().by_identity(alpha->peer.identity())->index;
  const unsigned owner = r.arena->agents()[index].owner.load();
  const auto alone = [&](const std::vector<Buf>& packets) {
    for (const Buf& p : packets) r.inject(0, framed(*alpha, p), owner);
    for (int i = 0; i < 200; ++i) r.poll_worker(owner);
  };
  alone({alpha->peer.seal(4, 0, to_beta(), ids[0], close_of(0, 0), {})});
  EXPECT_EQ(r.counters().at("calls_closed"), 1u);
  const Envelope e = envelope();
  alone({alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {})});
  EXPECT_EQ(r.counters().at("call.idempotency_table_full"), 1u);
  for (int i = 0; i < 200; ++i) r.poll_workers();
  (void)r.receive(*beta);
  open(e.signed_by(alpha->peer), e.counter);
  EXPECT_EQ(arrived(*beta).size(), 1u);
}

TEST_F(Calls, AnIdleCallIsClosed) {
  open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  r.clock.advance_ms(59'000);
  for (int i = 0; i < 10'000; ++i) settle();
  EXPECT_EQ(r.counters().at("calls_closed"), 0u);
  r.clock.advance_ms(2'000);
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }));
  dies(*alpha, alpha->peer.seal(3, 0, to_beta(), last_, {}, Buf(64)), "no_call");
}

TEST_F(Calls, ARevokedPairEndsItsCalls) {
  open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  r.control->trust().mark_revoked(*r.control->trust().by_identity(beta->peer.identity()), "", 1);
  (void)r.control->trust().close_edges(*r.control->trust().by_identity(beta->peer.identity()));
  // The look for calls that are over may be at it in the very same round.
  const auto before = r.counters();
  send(*alpha, 3, 0, to_beta(), last_, {}, Buf(64));
  settle();
  EXPECT_EQ(moved(before, r.counters()).at("drop.revoked"), 1u);
  EXPECT_TRUE(r.receive(*beta).empty());
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }));
}

// Metadata of both, and nothing of what was said.
TEST_F(Calls, ADecisionAndAnEndAreRecorded) {
  namespace audit = sluice::audit;
  Envelope denied = envelope();
  denied.tenant = 9;
  open(denied.signed_by(alpha->peer), denied.counter);
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  send(*beta, 5, 1, to_alpha(), last_, accept_of(beta->peer, envelope, 0, 1));
  ASSERT_EQ(arrived(*alpha).size(), 2u);  // the denial, too
  const std::string canary = "what-only-the-two-may-read";
  send(*alpha, 3, 0, to_beta(), last_, {}, Buf(canary.begin(), canary.end()));
  settle();
  r.clock.advance_ms(1500);
  send(*alpha, 4, 0, to_beta(), last_, close_of(7, 26));
  send(*beta, 4, 1, to_alpha(), last_, close_of(8, 0));
  std::vector<audit::Record> calls;
  ASSERT_TRUE(r.poll_until([&] {
    calls.clear();
    if (r.control->audit().writer().status().published.size == 0) return false;
    for (const auto& rec : published_records(r.control->audit().folder())) {
      const auto kind = audit::header_of(rec).kind;
      if (kind == audit::Kind::kCall || kind == audit::Kind::kCallClosed) calls.push_back(rec);
      EXPECT_EQ(std::string(rec.begin(), rec.end()).find("what-only"), std::string::npos);
    }
    return calls.size() == 3;
  }));
  const auto json = [&](size_t i) { return audit::to_json(i, calls[i]); };
  EXPECT_EQ(json(0)["decision"], "wrong_tenant");
  EXPECT_EQ(json(0)["call"], denied.counter);
  EXPECT_EQ(json(1)["decision"], "authorized");
  EXPECT_EQ(json(1)["capability"], "tool_call");
  EXPECT_EQ(json(1)["trace"], "71717171717171717171717171717171");
  EXPECT_EQ(json(2)["kind"], "call_closed");
  EXPECT_EQ(json(2)["why"], "closed");
  EXPECT_EQ(json(2)["call"], last_);
  EXPECT_EQ(json(2)["packets"], 1u);
  EXPECT_EQ(json(2)["packets_back"], 0u);
  EXPECT_EQ(json(2)["accepted"], true);
  EXPECT_EQ(json(2)["status"], 7u);
  EXPECT_EQ(json(2)["status_back"], 8u);
  EXPECT_GE(json(2)["duration_ms"], 1500u);
  for (size_t i = 0; i < 3; ++i) {
    const auto h = audit::header_of(calls[i]);
    EXPECT_EQ(h.subject.to_u64(), alpha->welcome.address);
    EXPECT_EQ(h.object.to_u64(), beta->welcome.address);
    EXPECT_LT(h.source, 2u);
  }
}

class OneWorker : public Calls {
 protected:
  OneWorker() : Calls({.workers = 1}) { r.trust("gamma", "beta"); }
};

// Few cannot fill the queue that all wait in.
TEST_F(OneWorker, OneAgentLeavesRoomForOthers) {
  // Signatures have no turn while packets arrive.
  r.plane->worker(0).context().calls->slice_took = uint64_t{1} << 60;
  r.plane->worker(0).context().calls->slice_ended = r.clock.ticks();
  const auto send_all = [&](Agent& from, unsigned opens, unsigned data) {
    std::vector<Buf> out;
    for (unsigned i = 0; i < opens; ++i) {
      Envelope e = envelope();
      e.issuer = from.welcome.address;
      const uint32_t label = from.labels["beta"];
      out.push_back(from.peer.seal(2, 0, label, e.counter, e.signed_by(from.peer), {}));
      for (unsigned n = 0; n < 8 && data > 0; ++n, --data) {
        out.push_back(from.peer.seal(3, 0, label, e.counter, {}, Buf(32)));
      }
    }
    arrive_at_once(from, out);
    for (size_t left = out.size(); left > 0; left -= std::min<size_t>(left, 32)) r.poll_workers();
  };
  const auto before = r.counters();
  send_all(*alpha, 66, 72);
  auto after = moved(before, r.counters());
  EXPECT_EQ(after.at("parked"), 64u + 64);
  EXPECT_EQ(after.at("drop.call_queue_full"), 2u + 8);
  send_all(*gamma, 20, 20);
  after = moved(before, r.counters());
  EXPECT_EQ(after.at("parked"), 64u + 64 + 8 + 8);
  for (int i = 0; i < 60; ++i) r.poll_workers();
  EXPECT_EQ(r.counters().at("parked"), r.counters().at("resumed"));
  r.drain_all();
}

class Denied : public Calls {
 protected:
  // The CALL_DENY for that envelope, and nothing at beta.
  void denied(const Buf& bytes, uint64_t call, uint16_t reason, const char* name,
              std::optional<uint32_t> label = {}) {
    SCOPED_TRACE(name);
    const auto before = r.counters();
    send(*alpha, 2, 0, label.value_or(to_beta()), call, bytes);
    const auto at_alpha = arrived(*alpha);
    EXPECT_TRUE(r.receive(*beta).empty());
    ASSERT_EQ(at_alpha.size(), 1u);
    EXPECT_EQ(at_alpha[0].frame, 6);
    EXPECT_EQ(at_alpha[0].flags, 0);
    EXPECT_EQ(at_alpha[0].label, label.value_or(to_beta()));
    EXPECT_EQ(at_alpha[0].call_id, call);
    ASSERT_EQ(at_alpha[0].extension.size(), 24u);
    EXPECT_EQ(Buf(at_alpha[0].extension.begin(), at_alpha[0].extension.begin() + 16),
              Buf(bytes.begin() + 16, bytes.begin() + 32));
    EXPECT_EQ(oracle::get_le<uint16_t>(at_alpha[0].extension, 16), reason);
    const auto after = moved(before, r.counters());
    EXPECT_EQ(after.at(std::string("call.") + name), 1u);
    EXPECT_EQ(after.at("denials"), 1u);
    EXPECT_FALSE(after.contains("call.authorized"));
    EXPECT_EQ(after.contains("verified"), reason == 22);
    r.check_balance();
  }
  template <typename Change>
  void denied_if(uint16_t reason, const char* name, Change&& change) {
    Envelope e = envelope();
    change(e);
    denied(e.signed_by(alpha->peer), e.counter, reason, name);
    // Nothing of it was used up.
    const Envelope good = [&] {
      Envelope g = envelope();
      g.counter = e.counter;
      g.key = Buf(16, 0x33);
      for (size_t i = 0; i < 8; ++i) g.key[i] = static_cast<uint8_t>(e.counter >> (8 * i));
      return g;
    }();
    if (reason == 9 || reason == 10) return;
    open(good.signed_by(alpha->peer), good.counter);
    EXPECT_EQ(arrived(*beta).size(), 1u) << name;
  }
};

TEST_F(Denied, ByTheEnvelopesOwnBytes) {
  denied_if(1, "malformed_envelope", [](Envelope& e) { e.zero = 1; });
  denied_if(1, "malformed_envelope", [](Envelope& e) { e.scope_count = 5; });
  denied_if(1, "malformed_envelope", [](Envelope& e) {
    e.scopes = {2, 1, 0, 0};
    e.scope_count = 2;
  });
  denied_if(1, "malformed_envelope", [](Envelope& e) {
    e.scopes = {1, 1, 0, 0};
    e.scope_count = 2;
  });
  denied_if(1, "malformed_envelope", [](Envelope& e) {
    e.scopes = {1, 2, 0, 0};
    e.scope_count = 1;
  });
  denied_if(1, "malformed_envelope", [](Envelope& e) { e.expires = e.issued; });
  denied_if(1, "malformed_envelope", [](Envelope& e) { e.expires = e.issued + 300'001; });
  denied_if(1, "malformed_envelope", [](Envelope& e) { e.issuer ^= 1; });
  Envelope last = envelope();
  last.counter = ~uint64_t{0};
  denied(last.signed_by(alpha->peer), last.counter, 1, "malformed_envelope");
  last = envelope();
  last.expires = ~uint64_t{0};
  last.issued = last.expires - 1;
  denied(last.signed_by(alpha->peer), last.counter, 1, "malformed_envelope");
  denied_if(4, "wrong_tenant", [](Envelope& e) { e.tenant = 8; });
  denied_if(5, "missing_trace_or_idempotency", [](Envelope& e) { e.trace = Buf(16); });
  denied_if(5, "missing_trace_or_idempotency", [](Envelope& e) { e.key = Buf(16); });
  denied_if(6, "wrong_audience", [&](Envelope& e) { e.audience = gamma->welcome.address; });
  denied_if(7, "not_yet_valid", [](Envelope& e) {
    e.issued += 30'100;
    e.expires += 30'100;
  });
  denied_if(8, "expired_message", [](Envelope& e) { e.issued -= 30'100; });
  denied_if(8, "expired_message", [](Envelope& e) {
    e.issued -= 5000;
    e.expires = e.issued + 4900;
  });
}

TEST_F(Denied, ByWhatTheEdgeAllows) {
  denied_if(9, "replayed", [](Envelope& e) { e.epoch ^= 1; });
  denied_if(12, "capability_not_allowed", [](Envelope& e) { e.capability = 0; });
  denied_if(12, "capability_not_allowed", [](Envelope& e) { e.capability = 5; });
  denied_if(13, "protocol_not_allowed", [](Envelope& e) { e.protocol = 6; });
  denied_if(13, "protocol_not_allowed", [](Envelope& e) { e.protocol = 255; });
  denied_if(3, "revoked", [](Envelope& e) { e.grant = 1; });
  const Envelope other = envelope();
  denied(other.signed_by(alpha->peer), other.counter + 1, 1, "malformed_envelope");
}

TEST_F(Denied, ByASignatureThatDoesNotHold) {
  const Envelope e = envelope();
  const Buf good = e.signed_by(alpha->peer);
  for (size_t at = 144; at < 208; ++at) {
    Buf bad = good;
    bad[at] ^= 0x40;
    denied(bad, e.counter, 22, "bad_signature");
    r.clock.advance_ms(2);
  }
  denied(e.signed_by(beta->peer), e.counter, 22, "bad_signature");
  // None of that used the message id up.
  open(good, e.counter);
  EXPECT_EQ(arrived(*beta).size(), 1u);
}

// Whatever is changed in an envelope, it is not forwarded.
TEST_F(Denied, WhateverByteIsChanged) {
  for (size_t at = 0; at < 208; ++at) {
    const Envelope e = envelope();
    Buf bytes = e.signed_by(alpha->peer);
    bytes[at] ^= 1;
    const auto before = r.counters();
    open(bytes, e.counter);
    settle();
    EXPECT_TRUE(r.receive(*beta).empty()) << at;
    EXPECT_FALSE(moved(before, r.counters()).contains("call.authorized")) << at;
    r.clock.advance_ms(2);
  }
}

TEST_F(Denied, AMessageIdOrAKeyTwice) {
  const Envelope first = envelope();
  open(first.signed_by(alpha->peer), first.counter);
  ASSERT_EQ(arrived(*beta).size(), 1u);
  Envelope again = first;
  again.service = 1;
  denied(again.signed_by(alpha->peer), again.counter, 9, "replayed");
  Envelope key = envelope();
  key.key = first.key;
  denied(key.signed_by(alpha->peer), key.counter, 10, "duplicate_idempotency_key");
  // Until the call's expiry and the clocks' difference have gone by.
  r.clock.advance_ms(41'000);
  r.poll_control();
  Envelope later = envelope();
  later.key = first.key;
  open(later.signed_by(alpha->peer), later.counter);
  EXPECT_EQ(arrived(*beta).size(), 1u);
}

TEST_F(Denied, TwoOfOneBatchAreDecidedInTheirOrder) {
  const Envelope first = envelope();
  Envelope second = envelope();
  second.key = first.key;
  for (const Envelope& e : {first, second}) {
    arrive_at_once(*alpha,
                   {alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {})});
  }
  settle();
  const auto at_beta = r.receive(*beta);
  ASSERT_EQ(at_beta.size(), 1u);
  EXPECT_EQ(at_beta[0].call_id, first.counter);
  EXPECT_EQ(r.counters().at("call.duplicate_idempotency_key"), 1u);
  EXPECT_EQ(r.counters().at("verified"), 2u);
}

TEST_F(Denied, ALabelThatIsNotTheCallersGetsNoAnswer) {
  const Envelope e = envelope();
  for (const uint32_t label : {to_beta() ^ 1u << 24, to_alpha(), 0u, 0xffffffu}) {
    const auto before = r.counters();
    send(*alpha, 2, 0, label, e.counter, e.signed_by(alpha->peer));
    settle();
    EXPECT_TRUE(r.drain_all().empty());
    const auto after = moved(before, r.counters());
    EXPECT_EQ(after.at("drop.no_edge"), 1u);
    EXPECT_EQ(after.at("call.no_edge"), 1u);
  }
}

TEST_F(Denied, ARevokedEdge) {
  r.control->trust().mark_revoked(*r.control->trust().by_identity(beta->peer.identity()), "", 1);
  const Envelope e = envelope();
  denied(e.signed_by(alpha->peer), e.counter, 3, "revoked");
}

TEST_F(Denied, MoreCallsThanThereIsRoomFor) {
  for (int i = 0; i < 16; ++i) {
    open_good();
    ASSERT_EQ(arrived(*beta).size(), 1u) << i;
    r.clock.advance_ms(1);
  }
  const Envelope e = envelope();
  denied(e.signed_by(alpha->peer), e.counter, 19, "idempotency_table_full");
}

TEST_F(Denied, WhileControlStandsStill) {
  // The rig lets hours go by otherwise: its configuration says one second.
  r.clock.advance_ms(5'000);
  const Envelope e = envelope();
  denied(e.signed_by(alpha->peer), e.counter, 15, "control_stale");
}

TEST_F(Denied, WhileTheLogCannotBeWritten) {
  r.arena->relay().audited.store(0);
  const Envelope e = envelope();
  denied(e.signed_by(alpha->peer), e.counter, 21, "audit_unavailable");
}

TEST_F(Denied, AnswersAreBounded) {
  const auto before = r.counters();
  Envelope e = envelope();
  e.tenant = 9;
  const Buf bytes = e.signed_by(alpha->peer);
  for (int i = 0; i < 80; ++i) {
    arrive_at_once(*alpha, {alpha->peer.seal(2, 0, to_beta(), e.counter, bytes, {})});
  }
  for (int i = 0; i < 4; ++i) settle();
  const auto after = moved(before, r.counters());
  EXPECT_EQ(after.at("call.wrong_tenant"), 80u);
  EXPECT_EQ(after.at("denials"), 64u);
  EXPECT_EQ(after.at("drop.call_denied"), 16u);
  produced_reasons().insert("call_denied");
  r.drain_all();
}

TEST_F(Denied, AnAcceptanceThatIsForged) {
  const Buf envelope = open_good();
  ASSERT_EQ(arrived(*beta).size(), 1u);
  const Buf good = accept_of(beta->peer, envelope, 0, r.clock.unix_ms());
  for (size_t at = 0; at < 96; ++at) {
    Buf bad = good;
    bad[at] ^= 1;
    const auto before = r.counters();
    send(*beta, 5, 1, to_alpha(), last_, bad);
    settle();
    EXPECT_TRUE(r.receive(*alpha).empty()) << at;
    EXPECT_EQ(moved(before, r.counters()).at("drop.accept_bad"), 1u) << at;
  }
  produced_reasons().insert("accept_bad");
  // By another identity; and of another call.
  send(*beta, 5, 1, to_alpha(), last_, accept_of(gamma->peer, envelope, 0, 1));
  EXPECT_TRUE(arrived(*alpha).empty());
  send(*beta, 5, 1, to_alpha(), last_, good);
  EXPECT_EQ(arrived(*alpha).size(), 1u);
}

}  // namespace
}  // namespace rig
