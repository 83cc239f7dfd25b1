// The agent's desk for trust: what it signs, how it insists, and that it believes no relay that
// tells of an agreement which nobody signed.
#include "agent/trust_desk.h"

#include <gtest/gtest.h>

#include "crypto/hash.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

std::string text(Bytes b) {
  return std::string(as_text(b));
}

struct Side {
  crypto::Identity identity = crypto::Identity::generate();
  crypto::X25519KeyPair e2e = crypto::X25519KeyPair::generate();
  std::string key() const { return text(identity.public_key()); }
};

class TrustTest : public testing::Test {
 protected:
  TrustTest() { desk = make_desk(); }

  std::unique_ptr<TrustDesk> make_desk() {
    return std::make_unique<TrustDesk>(
        TrustParty{&self.identity, &self.e2e, relay_key, "self"}, pins,
        TrustHooks{[this](uint64_t id, Bytes message) {
                     if (!online) return false;
                     pb::Control c;
                     EXPECT_TRUE(c.ParseFromArray(message.data(), int(message.size())));
                     sent.emplace_back(id, std::move(c));
                     return true;
                   },
                   [this](Level level, std::string s) {
                     if (level != Level::kInfo) reports.push_back(std::move(s));
                   }},
        [this] { return next_random++; });
  }

  pb::Statement blank() const {
    pb::Statement s;
    s.set_version(1);
    s.set_relay_key(text(relay_key));
    s.set_tenant(7);
    s.set_issued_ms(now.unix_ms);
    return s;
  }
  static pb::Signed sign(const Side& by, const pb::Statement& s) {
    pb::Signed out;
    out.set_statement(wire::encode_statement(s));
    out.set_signer(by.key());
    out.set_signature(text(by.identity.sign(crypto::kLabelStatement, {as_bytes(out.statement())})));
    return out;
  }
  static ByteArray<32> digest(const pb::Signed& s) {
    return crypto::sha256({as_bytes(s.statement())});
  }
  pb::Statement request(const Side& from, const Side& to) const {
    pb::Statement s = blank();
    auto& r = *s.mutable_trust_request();
    r.set_from(from.key());
    r.set_to(to.key());
    r.set_justification("why not");
    r.set_e2e_key(text(from.e2e.public_key));
    r.set_nonce(std::string(16, 'n'));
    return s;
  }
  pb::Statement grant(const pb::Signed& asked, const Side& from, const Side& by) const {
    pb::Statement s = blank();
    auto& g = *s.mutable_trust_grant();
    g.set_from(from.key());
    g.set_to(by.key());
    g.set_request(text(digest(asked)));
    g.set_e2e_key(text(by.e2e.public_key));
    return s;
  }
  PeerEdge edge(const pb::Signed& asked, const pb::Signed& granted) const {
    PeerEdge e;
    e.identity = peer.identity.public_key();
    e.e2e_key = peer.e2e.public_key;
    e.request = digest(asked);
    e.grant = digest(granted);
    return e;
  }
  // Answers every Fetch with what the relay of this test has.
  void serve(const std::vector<pb::Signed>& statements) {
    for (size_t i = 0; i < sent.size(); ++i) {
      const auto [id, message] = sent[i];
      if (!message.has_fetch()) continue;
      pb::Control answer;
      answer.mutable_fetched();
      for (const auto& s : statements) {
        if (text(digest(s)) == message.fetch().digest()) *answer.mutable_fetched() = s;
      }
      EXPECT_FALSE(desk->receive(id, answer, now)) << "an answer is not acknowledged";
    }
    sent.clear();
  }
  bool verified(const PeerEdge& e, const std::vector<pb::Signed>& statements) {
    desk->check({e}, now);
    serve(statements);
    return desk->is_verified(e);
  }
  void outcome(uint64_t id, const char* code) {
    pb::Control answer;
    answer.mutable_outcome()->set_code(code);
    answer.mutable_outcome()->set_text("said the relay");
    EXPECT_FALSE(desk->receive(id, answer, now));
  }

  ByteArray<32> relay_key{9};
  Side self, peer, stranger;
  Pins pins;
  bool online = true;
  uint64_t next_random = 1;
  Now now{1'000, 1'700'000'000'000};
  std::vector<std::pair<uint64_t, pb::Control>> sent;
  std::vector<std::string> reports;
  std::unique_ptr<TrustDesk> desk;
};

TEST_F(TrustTest, ARequestIsSignedAndRepeatedUntilItIsAnswered) {
  desk->connected({7, 1}, now);
  sent.clear();
  TrustWish wish;
  wish.to = peer.identity.public_key();
  wish.justification = "the report";
  wish.asked.set_right(pb::MAY_SEND);
  wish.life_ms = 60'000;
  std::optional<Result<Submitted>> done;
  desk->ask(wish, now, [&](Result<Submitted> r) { done = std::move(r); });
  ASSERT_EQ(sent.size(), 1u);
  const auto [id, first] = sent[0];
  pb::Statement s;
  ASSERT_TRUE(verify_signed(first.submit(), relay_key, self.identity.public_key(), s));
  EXPECT_EQ(s.tenant(), 7u);
  EXPECT_EQ(s.trust_request().to(), peer.key());
  EXPECT_EQ(s.trust_request().justification(), "the report");
  EXPECT_EQ(s.trust_request().expires_ms(), now.unix_ms + 60'000);
  EXPECT_EQ(s.trust_request().e2e_key(), text(self.e2e.public_key));
  now.mono_ms += 149;
  desk->tick(now);
  EXPECT_EQ(sent.size(), 1u);
  now.mono_ms += 1;
  EXPECT_EQ(desk->deadline(), now.mono_ms);
  desk->tick(now);
  ASSERT_EQ(sent.size(), 3u) << "the request, and the Enrol statement";
  outcome(id, "ok");
  ASSERT_TRUE(done && *done);
  EXPECT_EQ((*done)->digest, digest(first.submit()));
  done.reset();
  outcome(id, "ok");
  EXPECT_FALSE(done) << "answered twice";
}

TEST_F(TrustTest, SilenceAndRefusalsAreErrors) {
  std::optional<Result<Submitted>> done;
  const auto ask = [&] {
    sent.clear();
    done.reset();
    desk->ask({peer.identity.public_key(), "x", {}, {}, 0}, now,
              [&](Result<Submitted> r) { done = std::move(r); });
  };
  ask();
  now.mono_ms += 10'000;
  desk->tick(now);
  ASSERT_TRUE(done && !*done);
  EXPECT_EQ(done->error().code, ErrorCode::kTimeout);
  ask();
  outcome(sent[0].first, "too_many");
  ASSERT_TRUE(done && !*done);
  EXPECT_EQ(done->error().code, ErrorCode::kResource);
  // Without a session nothing is lost: it goes out when there is one.
  online = false;
  ask();
  EXPECT_TRUE(sent.empty());
  online = true;
  now.mono_ms += 200;
  desk->tick(now);
  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(TrustTest, TheEnrolStatementStaysTheSameUntilSomethingInItChanges) {
  desk->connected({7, 1}, now);
  const std::string first = sent.at(0).second.submit().statement();
  now.unix_ms += 3'600'000;
  desk = make_desk();  // a restart, with the same pins
  sent.clear();
  desk->connected({7, 1}, now);
  EXPECT_EQ(sent.at(0).second.submit().statement(), first);
  sent.clear();
  desk->set_visibility(true, now, [](const Result<Submitted>&) {});
  pb::Statement before, after;
  ASSERT_TRUE(before.ParseFromString(first));
  ASSERT_TRUE(after.ParseFromString(sent.at(0).second.submit().statement()));
  EXPECT_EQ(after.enrol().visibility(), 1u);
  EXPECT_GT(after.issued_ms(), before.issued_ms());
  EXPECT_TRUE(pins.visible);
}

TEST_F(TrustTest, AnEnrolThatTheRelayCouldNotStoreIsToldAgain) {
  desk->connected({7, 1}, now);
  ASSERT_EQ(sent.size(), 1u);
  outcome(sent[0].first, "store");
  sent.clear();
  EXPECT_EQ(desk->deadline(), now.mono_ms + 30'000);
  now.mono_ms += 30'000;
  desk->tick(now);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].second.submit().signer(), self.key());
  outcome(sent[0].first, "ok");
  EXPECT_EQ(desk->deadline(), kNever);
}

TEST_F(TrustTest, OnlyRequestsThatSomebodySignedAreShown) {
  const pb::Signed good = sign(peer, request(peer, self));
  pb::Signed forged = sign(peer, request(peer, self));
  (*forged.mutable_signature())[0] ^= 1;
  const pb::Signed for_another = sign(stranger, request(peer, self));
  pb::Control message;
  auto& sync = *message.mutable_pending();
  sync.set_sync_id(5);
  sync.set_parts(1);
  for (const auto& s : {good, forged, for_another}) *sync.add_pending()->mutable_request() = s;
  sync.mutable_pending(0)->set_peer_name("peer");
  EXPECT_TRUE(desk->receive(1, message, now)) << "to be acknowledged";
  ASSERT_EQ(desk->waiting().size(), 1u);
  const WaitingTrust& w = desk->waiting()[0];
  EXPECT_TRUE(w.incoming);
  EXPECT_EQ(w.peer, peer.identity.public_key());
  EXPECT_EQ(w.digest, digest(good));
  EXPECT_EQ(reports.size(), 2u);
  // An approval names exactly that request.
  sent.clear();
  desk->approve(w, 0, {}, now, [](const Result<Submitted>&) {});
  pb::Statement s;
  ASSERT_TRUE(verify_signed(sent.at(0).second.submit(), relay_key, std::nullopt, s));
  EXPECT_EQ(s.trust_grant().request(), text(digest(good)));
  EXPECT_EQ(s.trust_grant().from(), peer.key());
  // An older list changes nothing, a newer one replaces it.
  pb::Control newer;
  newer.mutable_pending()->set_sync_id(4);
  newer.mutable_pending()->set_parts(1);
  desk->receive(2, newer, now);
  EXPECT_EQ(desk->waiting().size(), 1u);
  newer.mutable_pending()->set_sync_id(6);
  desk->receive(3, newer, now);
  EXPECT_TRUE(desk->waiting().empty());
}

TEST_F(TrustTest, AnEdgeIsVerifiedByBothStatementsWhoeverAsked) {
  const pb::Signed asked = sign(peer, request(peer, self));
  const pb::Signed granted = sign(self, grant(asked, peer, self));
  EXPECT_TRUE(verified(edge(asked, granted), {asked, granted}));
  const pb::Signed own = sign(self, request(self, peer));
  const pb::Signed theirs = sign(peer, grant(own, self, peer));
  EXPECT_TRUE(verified(edge(own, theirs), {own, theirs}));
  const pb::Signed crossed = sign(peer, request(peer, self));
  EXPECT_TRUE(verified(edge(own, crossed), {own, crossed}));
  // Remembered: nothing is fetched again.
  desk = make_desk();
  desk->check({edge(own, crossed)}, now);
  EXPECT_TRUE(sent.empty());
  EXPECT_TRUE(desk->is_verified(edge(own, crossed)));
}

TEST_F(TrustTest, ARelayThatLiesIsNotBelieved) {
  const pb::Signed own = sign(self, request(self, peer));
  const pb::Signed granted = sign(peer, grant(own, self, peer));
  const PeerEdge good = edge(own, granted);
  // Statements that are not there, or not those that the digests name.
  EXPECT_FALSE(verified(good, {own}));
  EXPECT_FALSE(verified(good, {}));
  desk = make_desk();
  // An end-to-end key that the peer never signed for.
  PeerEdge swapped = good;
  swapped.e2e_key = stranger.e2e.public_key;
  EXPECT_FALSE(verified(swapped, {own, granted}));
  EXPECT_FALSE(reports.empty());
  // A grant by somebody else, for another request, and one signed by a stranger in the peer's name.
  const pb::Signed by_stranger = sign(stranger, grant(own, self, stranger));
  EXPECT_FALSE(verified(edge(own, by_stranger), {own, by_stranger}));
  pb::Statement never_granted = grant(own, self, peer);
  never_granted.set_issued_ms(now.unix_ms + 1);
  const pb::Signed in_its_name = sign(stranger, never_granted);
  EXPECT_FALSE(verified(edge(own, in_its_name), {own, in_its_name}));
  const pb::Signed other = sign(self, request(self, stranger));
  const pb::Signed other_grant = sign(peer, grant(other, self, peer));
  EXPECT_FALSE(verified(edge(own, other_grant), {own, other_grant}));
  // A request that this agent never made, signed by the peer alone.
  pb::Statement never_asked = request(self, peer);
  never_asked.set_issued_ms(now.unix_ms + 1);
  const pb::Signed invented = sign(peer, never_asked);
  const pb::Signed answered = sign(peer, grant(invented, self, peer));
  EXPECT_FALSE(verified(edge(invented, answered), {invented, answered}));
  // What the peer agreed with somebody else.
  const pb::Signed elsewhere = sign(peer, request(peer, stranger));
  const pb::Signed there = sign(stranger, grant(elsewhere, peer, stranger));
  EXPECT_FALSE(verified(edge(elsewhere, there), {elsewhere, there}));
  PeerEdge by_policy = good;
  by_policy.request.reset();
  by_policy.grant.reset();
  EXPECT_FALSE(verified(by_policy, {own, granted}));
  EXPECT_TRUE(verified(good, {own, granted}));
}

// --- Identities that go on as another one -------------------------------------------------------

class RotationTest : public TrustTest {
 protected:
  pb::Signed rotation(const Side& from, const Side& to, const Side& consenting) const {
    pb::Statement s = blank();
    s.mutable_identity_rotate()->set_former(from.key());
    s.mutable_identity_rotate()->set_successor(to.key());
    const std::string agreed = wire::encode_statement(s);
    s.mutable_identity_rotate()->set_consent(
        text(consenting.identity.sign(crypto::kLabelStatement, {as_bytes(agreed)})));
    return sign(from, s);
  }
  // The edge as the relay shows it once the peer is `now`.
  PeerEdge moved(const Side& to, const std::vector<pb::Signed>& by) const {
    PeerEdge e = edge(asked, granted);
    e.identity = to.identity.public_key();
    for (const auto& s : by) e.rotations.push_back(digest(s));
    return e;
  }

  Side second, third;
  pb::Signed asked = sign(peer, request(peer, self));
  pb::Signed granted = sign(self, grant(asked, peer, self));
};

TEST_F(RotationTest, AnEdgeIsVerifiedOverEveryStepAndNoneMissing) {
  const pb::Signed one = rotation(peer, second, second), two = rotation(second, third, third);
  EXPECT_FALSE(verified(moved(third, {one, two}), {asked, granted, two}));
  desk->connected({7, 1}, now);  // what was absent is asked for anew
  sent.clear();
  EXPECT_TRUE(verified(moved(third, {one, two}), {asked, granted, one, two}));
  // It is remembered: the relay need not show it again.
  desk = make_desk();
  EXPECT_TRUE(desk->is_verified(moved(third, {})));
  const auto kept = Pins::from_json(pins.to_json());
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->formers, pins.formers);
  EXPECT_EQ(kept->formers.size(), 2u);
}

TEST_F(RotationTest, ARelayCannotPutSomebodyElseInThePeersPlace) {
  EXPECT_FALSE(verified(moved(stranger, {}), {asked, granted}));
  const pb::Signed unwilling = rotation(peer, stranger, peer);
  EXPECT_FALSE(verified(moved(stranger, {unwilling}), {asked, granted, unwilling}));
  const pb::Signed claimed = rotation(stranger, second, second);
  EXPECT_FALSE(verified(moved(second, {claimed}), {asked, granted, claimed}));
  pb::Signed forged = rotation(peer, second, second);
  (*forged.mutable_signature())[7] ^= 1;
  desk->connected({7, 1}, now);
  sent.clear();
  EXPECT_FALSE(verified(moved(second, {forged}), {asked, granted, forged}));
}

TEST_F(RotationTest, NobodyHandsOverTwice) {
  const pb::Signed one = rotation(peer, second, second);
  ASSERT_TRUE(verified(moved(second, {one}), {asked, granted, one}));
  // A stolen former key and a relay that lies.
  const pb::Signed other = rotation(peer, stranger, stranger);
  EXPECT_FALSE(verified(moved(stranger, {other}), {asked, granted, other}));
  EXPECT_EQ(reports.size(), 1u);
  EXPECT_EQ(pins.formers.size(), 1u);
}

TEST_F(RotationTest, WhatNobodyAskedForIsNotKept) {
  pb::Control message;
  *message.mutable_told() = rotation(stranger, third, third);
  EXPECT_TRUE(desk->receive(1, message, now));
  EXPECT_TRUE(pins.formers.empty());
}

TEST_F(RotationTest, OnesOwnFormerIdentityIsOneself) {
  pins.own_formers.push_back(self.identity.public_key());
  const Side before{std::move(self.identity), self.e2e.clone()};
  self.identity = crypto::Identity::generate();
  EXPECT_TRUE(verified(edge(asked, granted), {asked, granted}));
  const auto kept = Pins::from_json(pins.to_json());
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->own_formers, pins.own_formers);
}

TEST_F(RotationTest, BothKeysSignWhatGoesToTheRelay) {
  desk->connected({7, 1}, now);
  sent.clear();
  const uint64_t said = pins.own_enrol_ms;
  desk->rotate_identity(second.identity, now, [](const Result<Submitted>&) {});
  ASSERT_EQ(sent.size(), 1u);
  pb::Statement s;
  ASSERT_TRUE(verify_signed(sent[0].second.submit(), relay_key, self.identity.public_key(), s));
  EXPECT_EQ(s.identity_rotate().former(), self.key());
  EXPECT_EQ(s.identity_rotate().successor(), second.key());
  EXPECT_TRUE(crypto::verify(second.identity.public_key(), crypto::kLabelStatement,
                             {as_bytes(wire::encode_without_consent(s))},
                             take<64>(as_bytes(s.identity_rotate().consent()).data())));
  desk->identity_changed(now);
  EXPECT_GT(pins.own_enrol_ms, said) << "its next Enrol is another statement";
}

}  // namespace
}  // namespace sluice::agent
