// Each type of statement offered as every other: with its signature, which then covers other bytes,
// and signed anew by the same hand, when its content is not of the other type.
#include "packet/ceremony_fixture.h"

namespace rig {
namespace {

// Field numbers of wire.md's table, and those around them that nobody has given yet.
constexpr unsigned kFirst = 15, kLast = 24;

std::string tag_of(unsigned field) {
  const unsigned tag = field << 3 | 2;
  if (tag < 0x80) return {static_cast<char>(tag)};
  return {static_cast<char>(tag | 0x80), static_cast<char>(tag >> 7)};
}

// The statement's fields before its body are the same for all.
std::string as_type(const pb::Statement& s, unsigned field) {
  pb::Statement without = s;
  without.clear_body();
  const std::string head = without.SerializeAsString();
  const std::string all = s.SerializeAsString();
  EXPECT_TRUE(all.starts_with(head));
  const size_t tag = static_cast<unsigned>(s.body_case()) < 16 ? 1 : 2;
  EXPECT_EQ(all.substr(head.size(), tag), tag_of(s.body_case()));
  return head + tag_of(field) + all.substr(head.size() + tag);
}

class StatementTypes : public Ceremony {};

TEST_F(StatementTypes, NoneIsTakenForAnother) {
  // Something for each to be about: a pair, a request that waits, and one to be made.
  const auto [paired, granted] = agree();
  const pb::Signed waits = sign(gamma, request(gamma, beta));
  ASSERT_EQ(submit(gamma, waits), "ok");
  std::vector<std::pair<Agent*, pb::Statement>> all;
  all.emplace_back(&alpha, request(alpha, gamma));
  all.emplace_back(&beta, grant(waits, beta));
  pb::Statement s = blank();
  s.mutable_trust_reject()->set_request(digest_of(waits));
  s.mutable_trust_reject()->set_reason("no");
  all.emplace_back(&beta, s);
  all.emplace_back(&alpha, revoke(digest_of(paired), digest_of(granted)));
  s = blank();
  s.mutable_enrol()->set_name("alpha");
  s.mutable_enrol()->set_e2e_key(raw(alpha.peer.e2e_public()));
  all.emplace_back(&alpha, s);
  s = blank();
  s.mutable_identity_rotate()->set_former(raw(alpha.peer.identity()));
  s.mutable_identity_rotate()->set_successor(std::string(32, 7));
  s.mutable_identity_rotate()->set_consent(std::string(64, 8));
  all.emplace_back(&alpha, s);
  s = blank();
  s.mutable_relay_key_change()->set_key(std::string(32, 7));
  s.mutable_relay_key_change()->set_replaced(raw(r.relay_key));
  s.mutable_relay_key_change()->set_replaced_until_ms(r.clock.unix_ms() + 1000);
  all.emplace_back(&alpha, s);

  const auto changes = [&] { return r.control->store().audit_feed_now(0, 1000)->size(); };
  const size_t before = changes();
  unsigned offered = 0;
  for (const auto& [by, statement] : all) {
    const auto own = static_cast<unsigned>(statement.body_case());
    for (unsigned other = kFirst; other <= kLast; ++other) {
      if (other == own) continue;
      SCOPED_TRACE(std::to_string(own) + " as " + std::to_string(other));
      pb::Signed with = sign(*by, statement);
      with.set_statement(as_type(statement, other));
      EXPECT_NE(submit(*by, with), "ok") << "with its signature";
      with.set_signature(raw(by->peer.sign("sluice-statement/1", buf(with.statement()))));
      EXPECT_NE(submit(*by, with), "ok") << "signed anew";
      ++offered;
    }
  }
  EXPECT_EQ(offered, 7u * 9);
  EXPECT_EQ(pairs(), 1u);
  EXPECT_EQ(waiting(), 1u);
  EXPECT_EQ(changes(), before) << "nothing was written";
  EXPECT_TRUE(reaches(alpha, beta));
  // As what they are, those that may be said are taken.
  EXPECT_EQ(submit(alpha, sign(alpha, all[0].second)), "ok");
  EXPECT_EQ(submit(beta, sign(beta, all[1].second)), "ok");
  EXPECT_EQ(submit(alpha, sign(alpha, all[3].second)), "ok");
}

}  // namespace
}  // namespace rig
