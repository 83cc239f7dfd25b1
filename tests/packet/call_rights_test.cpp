// What two agents agreed on decides which calls pass, before and after a restart.
#include "packet/call_fixture.h"
#include "packet/ceremony_fixture.h"

namespace rig {
namespace {

class CallRights : public Ceremony {
 protected:
  void agree() {
    pb::Statement s = request(alpha, beta);
    auto& asked = *s.mutable_trust_request()->mutable_asked();
    asked.add_capabilities("tool_call");
    asked.add_capabilities("of-their-own");
    asked.add_protocols("mcp");
    const pb::Signed request = sign(alpha, s);
    ASSERT_EQ(submit(alpha, request), "ok");
    const pb::Signed granted = sign(beta, grant(request, beta));
    ASSERT_EQ(submit(beta, granted), "ok");
    const auto digest = digest_bytes(granted);
    grant_ = sluice::load_le<uint64_t>(digest.data());
    r.poll(4);
    (void)r.receive(alpha);
    (void)r.receive(beta);
  }
  Envelope envelope(const Agent& from, const Agent& to) {
    Envelope e;
    e.epoch = from.welcome.relay_epoch;
    e.counter = ++next_;
    e.key[0] = static_cast<uint8_t>(next_);
    e.issued = r.clock.unix_ms();
    e.expires = e.issued + 1000;
    e.audience = to.welcome.address;
    e.issuer = from.welcome.address;
    e.capability = 3;
    e.protocol = 2;
    e.grant = grant_;
    return e;
  }
  // "authorized", or what the CALL_DENY says.
  std::string decision(Agent& from, Agent& to, const Envelope& e) {
    r.poll_control();
    const auto before = r.counters();
    r.send(from, from.peer.seal(2, 0, from.labels[to.name], e.counter, e.signed_by(from.peer), {}));
    r.poll_workers();
    r.poll_workers();
    size_t forwarded = 0;
    for (const auto& frame : r.receive(to)) forwarded += frame.frame == 2 ? 1 : 0;
    std::string out;
    for (const auto& [name, n] : moved(before, r.counters())) {
      if (name.starts_with("call.")) out += name.substr(5);
    }
    EXPECT_EQ(forwarded, out == "authorized" ? 1u : 0u);
    return out;
  }
  void check_rights() {
    const auto with = [&](auto&& change) {
      Envelope e = envelope(alpha, beta);
      change(e);
      return decision(alpha, beta, e);
    };
    EXPECT_EQ(with([](Envelope&) {}), "authorized");
    EXPECT_EQ(with([](Envelope& e) { e.capability = 1; }), "capability_not_allowed");
    EXPECT_EQ(with([](Envelope& e) { e.protocol = 0; }), "protocol_not_allowed");
    EXPECT_EQ(with([](Envelope& e) { e.scopes[0] = 1, e.scope_count = 1; }), "missing_scope");
    EXPECT_EQ(with([](Envelope& e) { e.grant = 0; }), "revoked");
    // Nothing was offered the other way.
    EXPECT_EQ(decision(beta, alpha, envelope(beta, alpha)), "capability_not_allowed");
  }

  uint64_t grant_ = 0;
  uint64_t next_ = 1000;
};

TEST_F(CallRights, AreWhatWasGranted) {
  agree();
  check_rights();
}

TEST_F(CallRights, AreTheSameAfterARestart) {
  agree();
  r.control.reset();
  r.start();
  const auto& trust = r.control->trust();
  unsigned edges = 0;
  for (const auto& entry : trust.agents()) {
    for (const auto& e : trust.edges_of(entry.index)) {
      const auto& edge = r.arena->edges()[e.slot];
      const bool forward = entry.name == "alpha";
      EXPECT_EQ(edge.capabilities, forward ? 1u << 3 : 0u);
      EXPECT_EQ(edge.protocols, forward ? 1u << 2 : 0u);
      EXPECT_EQ(edge.grant, grant_);
      EXPECT_EQ(edge.scopes, sluice::fabric::kNoScope);
      ++edges;
    }
  }
  EXPECT_EQ(edges, 2u);
}

TEST_F(CallRights, TheOtherEndCannotSignForTheCaller) {
  agree();
  Envelope e = envelope(alpha, beta);
  EXPECT_EQ(decision(alpha, beta, e), "authorized");
  Envelope forged = envelope(alpha, beta);
  r.poll_control();
  const auto before = r.counters();
  r.send(alpha, alpha.peer.seal(2, 0, alpha.labels["beta"], forged.counter,
                                forged.signed_by(beta.peer), {}));
  r.poll_workers();
  r.poll_workers();
  EXPECT_EQ(moved(before, r.counters()).at("call.bad_signature"), 1u);
  EXPECT_TRUE(r.receive(beta).empty());
}

}  // namespace
}  // namespace rig
