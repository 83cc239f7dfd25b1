// Calls of two agents: what they say, what they make of a path that loses and repeats, and of a
// relay that lies.
#include <sodium.h>

#include "agent_call_fixture.h"
#include "reference/peer.h"

namespace sluice::agent {
namespace {

using wire::CallReason;
using wire::FrameType;

TEST_F(CallPair, RequestAndResponseOverEdgesThatTakeCallsAlone) {
  const Buffer request = random_bytes_of(5'000);
  const uint64_t id = open(a, request);
  settle();
  ASSERT_EQ(b.requests.size(), 1u);
  EXPECT_EQ(b.requests[0], request);
  Call& call = *a.calls->mine(id);
  EXPECT_EQ(call.ended_as(), CallEnd::kDone);
  EXPECT_EQ(call.status(), 0);
  EXPECT_EQ(call.bytes_sent(), 5'000u);
  EXPECT_EQ(call.bytes_received(), 5'000u);
  EXPECT_EQ(call.take_result(), request);
  EXPECT_EQ(datagrams, 0u) << "the handshake went in CALL_DATA";
  EXPECT_EQ(count(a, FrameType::kCallOpen), 1u);
  EXPECT_EQ(count(b, FrameType::kCallAccept), 1u);
  EXPECT_EQ(count(a, FrameType::kCallClose), 1u);
  EXPECT_EQ(count(b, FrameType::kCallClose), 1u);
  for (const auto& [from, f] : seen) EXPECT_EQ(f.header.flags, from == &b ? 1 : 0);
  EXPECT_FALSE(b.calls->from(b.edge.identity, id)->live());
  EXPECT_TRUE(b.cancelled.empty());
}

TEST_F(CallPair, BothWaysAndManyAtOnce) {
  b.echo_status = 0;
  std::vector<uint64_t> to_b, to_a;
  for (int i = 0; i < 20; ++i) to_b.push_back(open(a, random_bytes_of(3'000)));
  for (int i = 0; i < 20; ++i) to_a.push_back(open(b, random_bytes_of(3'000)));
  run(3'000);
  for (const uint64_t id : to_b) EXPECT_EQ(end_of(a, id), CallEnd::kDone);
  for (const uint64_t id : to_a) EXPECT_EQ(end_of(b, id), CallEnd::kDone);
  EXPECT_EQ(a.calls->counters().dropped_frame + b.calls->counters().dropped_frame, 0u);
}

TEST_F(CallPair, AnEmptyRequestAndAStatus) {
  b.echo_status = 3;
  const uint64_t id = open(a, {});
  settle();
  EXPECT_EQ(end_of(a, id), CallEnd::kFailed);
  EXPECT_EQ(a.calls->mine(id)->status(), 3);
  ASSERT_EQ(b.requests.size(), 1u);
  EXPECT_TRUE(b.requests[0].empty());
  const auto close = load_le<wire::CallClose>(first(b, FrameType::kCallClose).bytes.data());
  EXPECT_EQ(close.status, 3);
}

// The envelope as docs/protocol.md has it, read and verified without the code that made it.
TEST_F(CallPair, WireFormOfTheEnvelope) {
  const auto id = a.calls->open(a.edge,
                                {.capability = wire::Capability::kRead,
                                 .protocol = wire::CallProtocol::kMcp,
                                 .service = 0x1234,
                                 .scopes = {"write", "read"},
                                 .trace = ByteArray<16>{1},
                                 .idempotency = ByteArray<16>{2},
                                 .timeout_ms = 1'000'000,
                                 .data = {0xaa}},
                                now);
  ASSERT_TRUE(id);
  const oracle::Buf e = a.outbox.at(0).bytes;
  ASSERT_EQ(e.size(), 208u);
  EXPECT_EQ(a.outbox[0].header.call_id, *id);
  EXPECT_EQ(e[0], 1);
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 16), epoch);
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 24), *id);
  EXPECT_EQ(*id, now.unix_ms << 20);
  EXPECT_EQ(e[32], 2);
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 48), now.unix_ms);
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 56), now.unix_ms + 300'000) << "never longer";
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 64), b.address.to_u64());
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 72), a.address.to_u64());
  EXPECT_EQ(oracle::get_le<uint16_t>(e, 80), 7);
  EXPECT_EQ(oracle::get_le<uint16_t>(e, 82), 0x1234);
  EXPECT_EQ(e[84], 1);
  EXPECT_EQ(e[85], 2);
  EXPECT_EQ(e[86], 2);
  std::vector<uint64_t> scopes;
  for (const char* name : {"write", "read"}) {
    uint8_t hash[32];
    crypto_hash_sha256(hash, reinterpret_cast<const uint8_t*>(name), std::strlen(name));
    scopes.push_back(oracle::get_le<uint64_t>(oracle::Buf(hash, hash + 32), 0));
  }
  std::sort(scopes.begin(), scopes.end());
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 88), scopes[0]);
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 96), scopes[1]);
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 104), 0u);
  EXPECT_EQ(oracle::get_le<uint64_t>(e, 120), 0x030201u);
  oracle::Buf text(32);
  std::memcpy(text.data(), "sluice-call/1", 13);
  text.insert(text.end(), e.begin(), e.begin() + 144);
  EXPECT_EQ(crypto_sign_verify_detached(e.data() + 144, text.data(), text.size(),
                                        a.identity.public_key().data()),
            0);
}

// The other side as the independent peer plays it: its acceptance is taken, and no other.
TEST_F(CallPair, TheIndependentPeerAccepts) {
  const oracle::Peer other(5);
  a.edge.identity = other.identity();
  const auto id = a.calls->open(a.edge, {.data = {1}}, now);
  ASSERT_TRUE(id);
  const oracle::Buf envelope = a.outbox.at(0).bytes;
  const auto accept = [&](uint16_t status, const char* label) {
    oracle::Buf signed_text = envelope;
    oracle::put_le(signed_text, status);
    oracle::put_le(signed_text, now.unix_ms);
    oracle::Buf out(envelope.begin() + 16, envelope.begin() + 32);
    oracle::put_le(out, status);
    out.resize(out.size() + 6);
    oracle::put_le(out, now.unix_ms);
    const oracle::Buf signature = other.sign(label, signed_text);
    out.insert(out.end(), signature.begin(), signature.end());
    return out;
  };
  const auto receive = [&](const oracle::Buf& extension) {
    a.calls->receive(a.edge, {uint8_t(FrameType::kCallAccept), 1, 96, 0, *id}, extension, now);
    a.calls->verify(now);
  };
  const oracle::Buf good = accept(0, "sluice-accept/1");
  for (size_t i = 0; i < good.size(); ++i) {
    oracle::Buf forged = good;
    forged[i] ^= 1;
    receive(forged);
  }
  receive(accept(0, "sluice-call/1"));
  EXPECT_EQ(a.calls->counters().dropped_accept, good.size() + 1);
  EXPECT_EQ(a.calls->mine(*id)->phase(), CallPhase::kOpening);
  receive(good);
  EXPECT_EQ(a.calls->mine(*id)->phase(), CallPhase::kOpen);
}

TEST_F(CallPair, LossDuplicationAndDisorder) {
  lose = [&](const Party&, const CarriedFrame&) {
    return std::uniform_real_distribution<>(0, 1)(rng) < 0.15;
  };
  twice = 0.1;
  shuffled = true;
  const Buffer request = random_bytes_of(1u << 20);
  const uint64_t id = open(a, request, 300'000);
  ASSERT_TRUE(run_until(300'000, [&] { return ended(a, id); }));
  EXPECT_EQ(end_of(a, id), CallEnd::kDone);
  EXPECT_EQ(a.calls->mine(id)->take_result(), request);
  ASSERT_EQ(b.requests.size(), 1u) << "once, whatever came twice";
  EXPECT_TRUE(run_until(30'000, [&] { return !b.calls->from(b.edge.identity, id)->live(); }));
}

TEST_F(CallPair, OpenIsRepeatedAsItWasUntilItsEnvelopeIsOver) {
  lose = [](const Party&, const CarriedFrame&) { return true; };
  const uint64_t id = open(a, {1}, 20'000);
  run(19'900);
  EXPECT_EQ(a.calls->mine(id)->phase(), CallPhase::kOpening);
  const size_t opens = count(a, FrameType::kCallOpen);
  EXPECT_GE(opens, 5u);
  EXPECT_LE(opens, 14u);
  for (const auto& [from, f] : seen) EXPECT_EQ(f.bytes, seen[0].second.bytes);
  run(200);
  EXPECT_EQ(end_of(a, id), CallEnd::kNoAnswer);
  EXPECT_EQ(info(end_of(a, id)).code, ErrorCode::kTimeout);
  EXPECT_EQ(count(a, FrameType::kCallClose), 1u);
}

TEST_F(CallPair, ALostAcceptanceComesAgainForTheSameEnvelope) {
  unsigned lost = 2;
  lose = [&](const Party&, const CarriedFrame& f) {
    return f.is(FrameType::kCallAccept) && lost > 0 && lost-- > 0;
  };
  const uint64_t id = open(a, {1, 2, 3});
  run(5'000);
  EXPECT_EQ(end_of(a, id), CallEnd::kDone);
  EXPECT_EQ(b.admitted.size(), 1u);
  EXPECT_EQ(count(b, FrameType::kCallAccept), 3u);
}

TEST_F(CallPair, AnAlteredEnvelopeIsNotTaken) {
  open(a, {1});
  const CarriedFrame good = a.outbox.at(0);
  a.outbox.clear();
  for (size_t i = 0; i < good.bytes.size(); ++i) {
    CarriedFrame forged = good;
    forged.bytes[i] ^= 1;
    give(b, forged);
  }
  EXPECT_TRUE(b.admitted.empty());
  EXPECT_TRUE(b.outbox.empty()) << "whoever cannot be known is not answered";
  EXPECT_EQ(b.calls->counters().dropped_open, good.bytes.size());
  give(b, good);
  EXPECT_EQ(b.admitted.size(), 1u);
  CarriedFrame other = good;
  other.bytes[0] ^= 1;
  give(b, other);
  EXPECT_EQ(b.calls->counters().dropped_open, good.bytes.size() + 1);
}

TEST_F(CallPair, EnvelopesOfAnotherTimeOrGrantAreRefused) {
  for (int i = 0; i < 3; ++i) {
    open(a, {1}, 1'000);
    const CarriedFrame f = a.outbox.at(0);
    a.outbox.clear();
    const Now before = now;
    if (i == 0) now.unix_ms += 1'001;
    if (i == 1) now.unix_ms -= Calls::kSkewMs + 1;
    if (i == 2) b.edge.grant = ByteArray<32>{9};
    give(b, f);
    ASSERT_EQ(b.outbox.size(), 1u);
    EXPECT_EQ(load_le<wire::CallAccept>(b.outbox[0].bytes.data()).status,
              uint16_t(AcceptStatus::kNotAcceptable));
    b.outbox.clear();
    now = before;
  }
  EXPECT_TRUE(b.admitted.empty());
}

// Data cannot be moved between calls, nor back to its sender: the seal covers the call's number.
TEST_F(CallPair, DataOfAnotherCallDoesNotOpen) {
  b.echo = false;
  const uint64_t one = open(a, random_bytes_of(100));
  const uint64_t two = open(a, random_bytes_of(200));
  lose = [&](const Party& from, const CarriedFrame& f) {
    if (&from != &a || !f.is(FrameType::kCallData) || f.bytes[0] != 3) return false;
    CarriedFrame moved = f;
    moved.header.call_id = f.header.call_id == one ? two : one;
    give(b, moved);
    return true;
  };
  run(600);
  EXPECT_TRUE(b.requests.empty());
  EXPECT_GT(b.session->counters().dropped_bad_tag, 0u);
  lose = nullptr;
  ASSERT_TRUE(run_until(10'000, [&] { return b.requests.size() == 2; }));
  EXPECT_EQ(b.requests[b.requested[0] == one ? 0 : 1].size(), 100u);
}

TEST_F(CallPair, ReplayedFramesChangeNothing) {
  const uint64_t id = open(a, random_bytes_of(5'000));
  settle();
  ASSERT_EQ(end_of(a, id), CallEnd::kDone);
  const auto all = seen;
  const auto replays = b.session->counters().dropped_replay;
  for (const auto& [from, f] : all) give(from == &a ? b : a, f);
  settle();
  EXPECT_EQ(b.requests.size(), 1u);
  EXPECT_EQ(b.admitted.size(), 1u);
  EXPECT_GT(b.session->counters().dropped_replay, replays);
  EXPECT_EQ(end_of(a, id), CallEnd::kDone);
  // Its envelope is remembered for as long as it holds.
  run(29'000);
  give(b, all[0].second);
  EXPECT_EQ(b.admitted.size(), 1u);
}

TEST_F(CallPair, DenialsAreTheRelaysWord) {
  lose = [](const Party&, const CarriedFrame&) { return true; };
  for (uint16_t reason = 1; reason < wire::kCallReasons; ++reason) {
    if (CallReason(reason) == CallReason::kApprovalRequired) continue;
    const uint64_t id = open(a, {1});
    deny(a, id, CallReason(reason), 1'500);
    EXPECT_EQ(end_of(a, id), CallEnd::kDenied);
    EXPECT_EQ(a.calls->mine(id)->denied_as(), CallReason(reason));
    EXPECT_EQ(a.calls->mine(id)->retry_after_ms(), 1'500u);
  }
  a.outbox.clear();
  run(10'000);
  EXPECT_EQ(count(a, FrameType::kCallOpen), 0u) << "what was denied is not repeated";
  EXPECT_EQ(count(a, FrameType::kCallClose), 0u);
  EXPECT_EQ(a.calls->counters().denied, wire::kCallReasons - 2);
}

TEST_F(CallPair, WhatWasAcceptedIsNotDenied) {
  b.echo = false;
  const uint64_t id = open(a, {1});
  settle();
  deny(a, id, CallReason::kRevoked);
  EXPECT_EQ(a.calls->mine(id)->phase(), CallPhase::kOpen);
  b.echo = true;
  settle();
  EXPECT_EQ(end_of(a, id), CallEnd::kDone);
}

TEST_F(CallPair, AnApprovalIsWaitedFor) {
  lose = [](const Party&, const CarriedFrame& f) { return f.is(FrameType::kCallOpen); };
  const uint64_t id = open(a, {1}, 60'000);
  settle();
  deny(a, id, CallReason::kApprovalRequired);
  EXPECT_EQ(a.calls->mine(id)->phase(), CallPhase::kAwaitingApproval);
  run(30'000);
  EXPECT_LE(count(a, FrameType::kCallOpen), 8u);
  EXPECT_EQ(a.calls->mine(id)->phase(), CallPhase::kAwaitingApproval);
  give(b, seen[0].second);  // approved
  lose = nullptr;
  settle();
  EXPECT_EQ(end_of(a, id), CallEnd::kDone);

  lose = [](const Party&, const CarriedFrame&) { return true; };
  const uint64_t denied = open(a, {1}, 60'000);
  deny(a, denied, CallReason::kApprovalRequired);
  deny(a, denied, CallReason::kApprovalDenied);
  EXPECT_EQ(a.calls->mine(denied)->denied_as(), CallReason::kApprovalDenied);
  const uint64_t nobody = open(a, {1}, 10'000);
  deny(a, nobody, CallReason::kApprovalRequired);
  run(10'100);
  EXPECT_EQ(end_of(a, nobody), CallEnd::kNotApproved);
}

TEST_F(CallPair, NobodyServesOrAllAreBusy) {
  const struct {
    AcceptStatus status;
    CallEnd end;
  } rows[] = {{AcceptStatus::kNotServed, CallEnd::kNotServed},
              {AcceptStatus::kBusy, CallEnd::kBusy},
              {AcceptStatus::kNotAcceptable, CallEnd::kNotAcceptable}};
  for (const auto& row : rows) {
    b.admits = row.status;
    const uint64_t id = open(a, {1});
    settle();
    EXPECT_EQ(end_of(a, id), row.end);
  }
  EXPECT_EQ(count(a, FrameType::kCallData), 0u);
  EXPECT_EQ(b.calls->counters().served, 0u);
}

TEST_F(CallPair, ARelayThatRestartsEndsThem) {
  b.echo = false;
  const uint64_t id = open(a, {1});
  settle();
  a.calls->connected(epoch, a.address);  // a renewal
  EXPECT_FALSE(ended(a, id));
  a.calls->connected(epoch + 1, a.address);
  b.calls->connected(epoch + 1, b.address);
  EXPECT_EQ(end_of(a, id), CallEnd::kRelayRestarted);
  EXPECT_EQ(b.cancelled, std::vector<uint64_t>{id});
  a.outbox.clear();
  b.outbox.clear();
  // Envelopes of the relay that was are nobody's.
  give(b, seen[0].second);
  EXPECT_EQ(b.admitted.size(), 1u);
}

TEST_F(CallPair, APeerThatFallsSilentIsNoticed) {
  b.echo = false;
  const uint64_t id = open(a, {1}, 300'000);
  settle();
  ASSERT_EQ(b.requests.size(), 1u);
  // A long wait is none: the callee answers that it is there.
  run(60'000);
  EXPECT_FALSE(ended(a, id) || !b.cancelled.empty());
  lose = [&](const Party&, const CarriedFrame&) { return true; };
  seen.clear();
  run(Call::kSilenceMs - 5'100);
  EXPECT_FALSE(ended(a, id));
  EXPECT_LE(count(a, FrameType::kCallData), 10u);
  run(5'200);
  EXPECT_EQ(end_of(a, id), CallEnd::kPeerSilent);
  run(Call::kCalleeSilenceMs);
  EXPECT_EQ(b.cancelled, std::vector<uint64_t>{id});
}

TEST_F(CallPair, TheCallersTimeIsItsOwn) {
  b.echo = false;
  const uint64_t id = open(a, {1}, 3'000);
  run(2'900);
  EXPECT_FALSE(ended(a, id));
  run(200);
  EXPECT_EQ(end_of(a, id), CallEnd::kTimeout);
  EXPECT_EQ(b.cancelled, std::vector<uint64_t>{id});
}

TEST_F(CallPair, CallerOrCalleeKilledInTheMiddle) {
  b.echo = false;
  const uint64_t id = open(a, {1});
  settle();
  reset(b, a);  // its daemon was killed and started again
  ASSERT_TRUE(
      run_until(Call::kProbeAfterMs + Call::kProbeEveryMs + 100, [&] { return ended(a, id); }));
  EXPECT_EQ(end_of(a, id), CallEnd::kPeerClosed);
  EXPECT_EQ(a.calls->mine(id)->status(), uint16_t(CallStatus::kUnknownCall));

  const uint64_t next = open(a, {2});
  ASSERT_TRUE(run_until(5'000, [&] { return !b.requested.empty() && b.requested.back() == next; }));
  reset(a, b);
  b.echo = true;
  run(3'000);
  EXPECT_FALSE(b.calls->from(b.edge.identity, next)->live());
  EXPECT_EQ(a.calls->mine(next), nullptr);
}

TEST_F(CallPair, EitherSideCanBreakItOff) {
  b.echo = false;
  const uint64_t one = open(a, {1});
  settle();
  a.calls->mine(one)->end(CallEnd::kCancelled, uint16_t(CallStatus::kCancelled));
  settle();
  EXPECT_EQ(b.cancelled, std::vector<uint64_t>{one});
  EXPECT_FALSE(b.calls->from(b.edge.identity, one)->answer(0, {})) << "too late";
  const uint64_t two = open(a, {1});
  settle();
  b.calls->from(b.edge.identity, two)->answer(uint16_t(CallStatus::kServerGone), {});
  settle();
  EXPECT_EQ(end_of(a, two), CallEnd::kFailed);
  EXPECT_EQ(a.calls->mine(two)->status(), uint16_t(CallStatus::kServerGone));
  const uint64_t three = open(a, {1});
  settle();
  a.calls->edge_ended(a.edge.identity);
  EXPECT_EQ(end_of(a, three), CallEnd::kEdgeEnded);
}

// The relay alone cannot make a response: what it can do is end the call.
TEST_F(CallPair, ACloseIsNoResponse) {
  b.echo = false;
  const uint64_t id = open(a, {1});
  settle();
  const wire::CallClose close{0, {}, 1};
  give(a, {{uint8_t(FrameType::kCallClose), 1, 16, 0, id},
           to_buffer({reinterpret_cast<const uint8_t*>(&close), sizeof close})});
  EXPECT_EQ(end_of(a, id), CallEnd::kPeerClosed);
  EXPECT_TRUE(a.calls->mine(id)->take_result().empty());
}

TEST_F(CallPair, ARequestThatIsNotTheEnvelopesIsNotServed) {
  const uint64_t id = open(a, {1, 2, 3});
  a.calls->mine(id)->out().first.back() ^= 1;
  settle();
  EXPECT_TRUE(b.requests.empty());
  EXPECT_EQ(b.cancelled, std::vector<uint64_t>{id});
  EXPECT_EQ(end_of(a, id), CallEnd::kPeerClosed);
  EXPECT_EQ(a.calls->mine(id)->status(), uint16_t(CallStatus::kBadStream));
}

// From the daemon's start on, however much time passes between two.
TEST_F(CallPair, CallsAreCounted) {
  const uint64_t first = open(a, {});
  EXPECT_EQ(first, now.unix_ms << 20);
  run(1'000);
  EXPECT_EQ(open(a, {}), first + 1);
}

TEST_F(CallPair, LimitsOfWhatCanBeAsked) {
  const auto code = [&](CallRequest r) {
    return a.calls->open(a.edge, std::move(r), now).error().code;
  };
  EXPECT_EQ(code({.data = Buffer(kMostMessage + 1)}), ErrorCode::kTooLarge);
  EXPECT_EQ(code({.scopes = {"a", "b", "c", "d", "e"}}), ErrorCode::kUsage);
  EXPECT_TRUE(a.calls->open(a.edge, {.scopes = {"a", "b", "a", "b", "a"}}, now)) << "each once";
  for (size_t i = 1; i < Calls::kMostLive; ++i) open(a, {});
  EXPECT_EQ(code({}), ErrorCode::kResource);
  a.edge.right = Right::kReplyOnly;
  EXPECT_EQ(code({}), ErrorCode::kRefused);
}

TEST_F(CallPair, WhatHasEndedIsShownAndForgotten) {
  const uint64_t id = open(a, {1});
  settle();
  ASSERT_EQ(a.calls->rows().size(), 1u);
  run(Call::kLingerMs + 1'000);
  EXPECT_EQ(a.calls->mine(id), nullptr);
  ASSERT_EQ(a.calls->rows().size(), 1u);
  EXPECT_EQ(a.calls->rows()[0].end, CallEnd::kDone);
  run(60'000);
  EXPECT_EQ(b.calls->from(b.edge.identity, id), nullptr);
  EXPECT_EQ(b.calls->rows()[0].bytes_received, 1u);
}

TEST_F(CallPair, JunkIsCountedAndHarmless) {
  b.echo = false;
  const uint64_t id = open(a, {1});
  settle();
  for (uint8_t type = 2; type < 7; ++type) {
    for (const size_t n : {0u, 15u, 16u, 24u, 96u, 208u}) {
      for (const uint8_t flags : {0, 1}) {
        for (const uint64_t call : {id, id + 1}) {
          const bool close = type == 4 && n == 16 && call == id;
          if (close) continue;
          give(a, {{type, flags, uint16_t(n), 0, call}, Buffer(n)});
          give(b, {{type, flags, uint16_t(n), 0, call}, Buffer(n)});
        }
      }
    }
  }
  settle();
  EXPECT_FALSE(ended(a, id));
  b.echo = true;
  settle();
  EXPECT_EQ(end_of(a, id), CallEnd::kDone);
}

}  // namespace
}  // namespace sluice::agent
