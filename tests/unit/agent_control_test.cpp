// What the agent believes of its relay's control messages: edges with verified peers, the pinned
// operator key, revocations; each acknowledged under its own request id.
#include "agent/control_channel.h"

#include <gtest/gtest.h>

#include "agent/agent.h"
#include "control.pb.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

std::string raw(Bytes b) {
  return std::string(as_text(b));
}

pb::Signed sign(const crypto::Identity& by, const pb::Statement& statement) {
  pb::Signed out;
  out.set_statement(wire::encode_statement(statement));
  out.set_signer(raw(by.public_key()));
  out.set_signature(raw(by.sign(crypto::kLabelStatement, {as_bytes(out.statement())})));
  return out;
}

class ControlTest : public testing::Test {
 protected:
  ControlTest()
      : channel(relay_key, pins,
                {[this](uint64_t id, Bytes message) {
                   pb::Control c;
                   ASSERT_TRUE(c.ParseFromArray(message.data(), int(message.size())));
                   ASSERT_TRUE(c.has_ack());
                   acks.push_back(id);
                 },
                 [this](std::vector<PeerEdge> e) { sets.push_back(std::move(e)); },
                 [this](const Revocation& r) { revoked.push_back(r); },
                 [this](const RelayKeyPin& pin) { relay_keys.push_back(pin); },
                 {},
                 [this](Level level, std::string s) {
                   if (level != Level::kInfo) reports.push_back(std::move(s));
                 }}) {
    peer_key.fill(5);
  }

  pb::Statement enrol(uint64_t issued = 1'000) const {
    pb::Statement s;
    s.set_version(1);
    s.set_relay_key(raw(relay_key));
    s.set_tenant(7);
    s.set_issued_ms(issued);
    s.mutable_enrol()->set_name("bob");
    s.mutable_enrol()->set_e2e_key(raw(peer_key));
    return s;
  }
  pb::Edge edge(const pb::Signed& statement) const {
    pb::Edge e;
    e.set_label(0x02000011);
    e.set_peer(raw(peer.public_key()));
    e.set_address(7ull << 32 | 0x1a3f0);
    e.set_right(pb::MAY_SEND);
    *e.mutable_peer_enrol() = statement;
    return e;
  }
  void sync(uint64_t id, uint32_t part, uint32_t parts, std::vector<pb::Edge> edges) {
    pb::Control c;
    c.mutable_edge_sync()->set_sync_id(id);
    c.mutable_edge_sync()->set_part(part);
    c.mutable_edge_sync()->set_parts(parts);
    for (auto& e : edges) *c.mutable_edge_sync()->add_edges() = e;
    give(c);
  }
  void give(const pb::Control& c) {
    channel.receive(++request, as_bytes(c.SerializeAsString()), 5'000);
  }
  // The only edge of a new set.
  PeerEdge only(const pb::Edge& e) {
    sync(++sync_id, 0, 1, {e});
    return sets.empty() || sets.back().size() != 1 ? PeerEdge{} : sets.back()[0];
  }
  pb::Control operator_key(const crypto::Identity& key) const {
    pb::Control c;
    c.mutable_operator_key()->set_key(raw(key.public_key()));
    return c;
  }
  pb::Control revocation(const crypto::Identity& by) const {
    pb::Statement s;
    s.set_version(1);
    s.set_relay_key(raw(relay_key));
    s.set_issued_ms(9);
    s.mutable_trust_revoke()->set_identity(raw(peer.public_key()));
    s.mutable_trust_revoke()->set_reason("stolen");
    pb::Control c;
    *c.mutable_revoked() = sign(by, s);
    return c;
  }

  pb::Statement relay_key_change(uint8_t key, uint64_t issued) const {
    pb::Statement s;
    s.set_version(1);
    s.set_relay_key(raw(relay_key));
    s.set_issued_ms(issued);
    s.mutable_relay_key_change()->set_key(std::string(32, char(key)));
    s.mutable_relay_key_change()->set_replaced(raw(relay_key));
    s.mutable_relay_key_change()->set_replaced_until_ms(issued + 500);
    return s;
  }
  void tell(const crypto::Identity& by, const pb::Statement& s) {
    pb::Control c;
    *c.mutable_relay_key() = sign(by, s);
    give(c);
  }

  const bool ready = crypto::init();
  crypto::Identity peer = crypto::Identity::generate();
  crypto::Identity operators = crypto::Identity::generate();
  ByteArray<32> relay_key{1, 2, 3};
  ByteArray<32> peer_key{};
  Pins pins;
  std::vector<uint64_t> acks;
  std::vector<std::vector<PeerEdge>> sets;
  std::vector<Revocation> revoked;
  std::vector<RelayKeyPin> relay_keys;
  std::vector<std::string> reports;
  uint64_t request = 0, sync_id = 0;
  ControlChannel channel;
};

TEST_F(ControlTest, VerifiedEdgeIsUsable) {
  const PeerEdge e = only(edge(sign(peer, enrol())));
  EXPECT_TRUE(e.usable()) << e.refused;
  EXPECT_EQ(e.name, "bob");
  EXPECT_EQ(e.label, 0x02000011u);
  EXPECT_EQ(e.e2e_key, peer_key);
  EXPECT_EQ(to_string(e.address), "7:0001.a3f0");
  EXPECT_EQ(e.right, Right::kMaySend);
  EXPECT_EQ(acks, std::vector<uint64_t>{1});
  EXPECT_EQ(pins.enrols.at(peer.public_key()).issued_ms, 1'000u);
}

TEST_F(ControlTest, TheSealOfAnEdgeIsTheRelaysChoice) {
  pb::Edge e = edge(sign(peer, enrol()));
  EXPECT_EQ(only(e).seal, SealPolicy::kFull);
  e.set_seal(pb::SEAL_HEADER);
  EXPECT_EQ(only(e).seal, SealPolicy::kHeader);
  e.set_seal(pb::SEAL_ANY);
  EXPECT_EQ(only(e).seal, SealPolicy::kAny);
  EXPECT_TRUE(only(e).usable());
  e.set_seal(static_cast<pb::SealPolicy>(3));
  EXPECT_FALSE(only(e).usable()) << "packets in another seal would only be dropped";
}

TEST_F(ControlTest, UnverifiableEdgesAreShownAsRefused) {
  const auto stranger = crypto::Identity::generate();
  auto flipped = sign(peer, enrol());
  (*flipped.mutable_signature())[3] ^= 1;
  auto other_relay = enrol();
  other_relay.set_relay_key(std::string(32, 'x'));
  auto no_enrol = enrol();
  no_enrol.mutable_trust_revoke();
  auto short_key = enrol();
  short_key.mutable_enrol()->set_e2e_key("short");
  auto trailing = sign(peer, enrol());
  trailing.mutable_statement()->append("\x08\x01", 2);
  trailing.set_signature(raw(peer.sign(crypto::kLabelStatement, {as_bytes(trailing.statement())})));
  auto borrowed = sign(stranger, enrol());
  auto relabelled = sign(stranger, enrol());
  relabelled.set_signer(raw(peer.public_key()));
  auto hello_label = sign(peer, enrol());
  hello_label.set_signature(
      raw(peer.sign(crypto::kLabelHello, {as_bytes(hello_label.statement())})));
  for (const auto& bad :
       {flipped, sign(peer, other_relay), sign(peer, no_enrol), sign(peer, short_key), trailing,
        borrowed, relabelled, hello_label, pb::Signed()}) {
    const PeerEdge e = only(edge(bad));
    EXPECT_EQ(e.identity, peer.public_key());
    EXPECT_FALSE(e.usable());
  }
  EXPECT_TRUE(pins.enrols.empty());
}

TEST_F(ControlTest, PeersNeverGoBackToAnOlderStatement) {
  EXPECT_TRUE(only(edge(sign(peer, enrol(2'000)))).usable());
  peer_key.fill(6);
  EXPECT_FALSE(only(edge(sign(peer, enrol(1'999)))).usable());
  EXPECT_FALSE(only(edge(sign(peer, enrol(2'000)))).usable());  // same time, other key
  EXPECT_TRUE(only(edge(sign(peer, enrol(2'001)))).usable());
  EXPECT_EQ(pins.enrols.at(peer.public_key()).e2e_key, peer_key);
  // Also not after a restart.
  const auto loaded = Pins::from_json(pins.to_json());
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->enrols.at(peer.public_key()).issued_ms, 2'001u);
}

TEST_F(ControlTest, SyncIsAppliedWhenCompleteAndTheHighestHolds) {
  const auto e = edge(sign(peer, enrol()));
  sync(5, 1, 3, {e});
  sync(5, 1, 3, {e});
  sync(5, 0, 3, {});
  EXPECT_TRUE(sets.empty());
  sync(4, 0, 1, {});  // older, and complete: too late
  EXPECT_TRUE(sets.empty());
  sync(5, 2, 3, {});
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_EQ(sets[0].size(), 1u);
  sync(5, 0, 1, {});
  sync(3, 0, 1, {});
  EXPECT_EQ(sets.size(), 1u);
  sync(9, 0, 2, {e});
  sync(10, 0, 1, {});  // overtakes; an empty set is a set
  sync(9, 1, 2, {e});
  ASSERT_EQ(sets.size(), 2u);
  EXPECT_TRUE(sets[1].empty());
  EXPECT_EQ(acks.size(), 10u);  // all of them

  channel.forget();
  EXPECT_FALSE(channel.synced());
  sync(1, 0, 1, {e});  // a new epoch counts anew
  EXPECT_EQ(sets.size(), 3u);
}

TEST_F(ControlTest, PartsThatContradictThemselvesAreIgnored) {
  sync(1, 0, 0, {});
  sync(1, 1, 1, {});
  sync(1, 0, EdgeAssembler::kMaxParts + 1, {});
  EXPECT_TRUE(sets.empty());
  EXPECT_EQ(reports.size(), 3u);
}

TEST_F(ControlTest, APeerTwiceInOneSetCountsOnce) {
  const auto e = edge(sign(peer, enrol()));
  sync(1, 0, 1, {e, e});
  EXPECT_EQ(sets.at(0).size(), 1u);
}

TEST_F(ControlTest, TheFirstOperatorKeyIsPinned) {
  const auto other = crypto::Identity::generate();
  give(operator_key(operators));
  give(operator_key(operators));
  EXPECT_TRUE(reports.empty());
  EXPECT_TRUE(pins.changed);
  give(operator_key(other));
  give(operator_key(other));
  EXPECT_EQ(reports.size(), 1u);
  EXPECT_EQ(pins.operator_key, operators.public_key());
  EXPECT_EQ(acks.size(), 4u);
  const auto loaded = Pins::from_json(pins.to_json());
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->operator_key, operators.public_key());

  give(revocation(other));
  EXPECT_TRUE(revoked.empty());
  give(revocation(operators));
  ASSERT_EQ(revoked.size(), 1u);
  EXPECT_EQ(revoked[0].identity, peer.public_key());
  EXPECT_EQ(revoked[0].reason, "stolen");
}

TEST_F(ControlTest, RevocationNeedsAnOperatorKeyAndAHoldingSignature) {
  give(revocation(operators));
  EXPECT_TRUE(revoked.empty());
  give(operator_key(operators));
  auto bad = revocation(operators);
  (*bad.mutable_revoked()->mutable_signature())[0] ^= 1;
  give(bad);
  EXPECT_TRUE(revoked.empty());
  EXPECT_EQ(reports.size(), 2u);
}

TEST_F(ControlTest, AcksAndJunkAreNotAnswered) {
  pb::Control ack;
  ack.mutable_ack();
  give(ack);
  channel.receive(7, Buffer(20, 0xff), 0);
  EXPECT_TRUE(acks.empty());
}

TEST(PinsTest, BrokenFilesAreRefused) {
  for (const char* text :
       {"", "[]", "{}", "{\"version\":2}", "{\"version\":1,\"operator_key\":\"x\"}",
        "{\"version\":1,\"peers\":{\"bob\":{}}}"}) {
    EXPECT_FALSE(Pins::from_json(text)) << text;
  }
  EXPECT_TRUE(Pins::from_json("{\"version\":1}"));
}

TEST_F(ControlTest, ANewKeyOfTheRelayIsBelievedFromTheOperatorAlone) {
  // Before the operator's key is known it is not acknowledged, and so comes again.
  tell(operators, relay_key_change(9, 100));
  EXPECT_TRUE(acks.empty());
  give(operator_key(operators));
  tell(peer, relay_key_change(9, 100));
  auto elsewhere = relay_key_change(9, 100);
  elsewhere.set_relay_key(std::string(32, 'x'));
  tell(operators, elsewhere);
  auto none = relay_key_change(9, 100);
  none.mutable_relay_key_change()->set_key(std::string(32, '\0'));
  tell(operators, none);
  tell(operators, enrol());
  EXPECT_TRUE(relay_keys.empty());
  EXPECT_FALSE(pins.relay_key);
  EXPECT_EQ(reports.size(), 4u);

  tell(operators, relay_key_change(9, 100));
  ASSERT_EQ(relay_keys.size(), 1u);
  EXPECT_EQ(relay_keys[0].key[31], 9);
  EXPECT_EQ(relay_keys[0].replaced, relay_key);
  EXPECT_EQ(relay_keys[0].replaced_until_ms, 600u);
  // One that was replaced does not come back, whoever plays it.
  tell(operators, relay_key_change(10, 200));
  tell(operators, relay_key_change(9, 100));
  tell(operators, relay_key_change(11, 200));
  EXPECT_EQ(relay_keys.size(), 2u);
  ASSERT_TRUE(pins.relay_key);
  EXPECT_EQ(pins.relay_key->key[0], 10);
  const auto kept = Pins::from_json(pins.to_json());
  ASSERT_TRUE(kept && kept->relay_key);
  EXPECT_EQ(kept->relay_key->key, pins.relay_key->key);
  EXPECT_EQ(kept->relay_key->replaced, relay_key);
  EXPECT_EQ(kept->relay_key->issued_ms, 200u);
  EXPECT_EQ(kept->relay_key->replaced_until_ms, 700u);
}

}  // namespace
}  // namespace sluice::agent
