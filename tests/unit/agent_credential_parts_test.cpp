// What the relay gives an agent for a call of a peer: parts in any order, calls that come before
// them, parts that do not belong together.
#include "agent/credential_inbox.h"
#include "agent_call_fixture.h"

namespace sluice::agent {
namespace {

constexpr size_t kPart = wire::kCredentialPart;

Buffer credential_part(uint32_t version, const Buffer& content, unsigned index) {
  const auto count = static_cast<uint8_t>((content.size() + kPart - 1) / kPart);
  Buffer out(8);
  store_le(out.data(), wire::CredentialHead{version, static_cast<uint8_t>(index), count, 1, 0});
  const size_t at = index * kPart;
  out.insert(out.end(), content.begin() + std::ptrdiff_t(at),
             content.begin() + std::ptrdiff_t(std::min(content.size(), at + kPart)));
  return out;
}

struct CredentialParts : testing::Test {
  CredentialInbox inbox;
  crypto::PublicKey peer{1}, other{2};
  Buffer content = random_bytes_of(3'000);

  bool add(uint64_t call, unsigned index, uint32_t version = 1) {
    return inbox.add(peer, call, credential_part(version, content, index), 0);
  }
  Buffer taken(uint64_t call) {
    const auto got = inbox.take(peer, call, 0);
    return got ? Buffer(got->view().begin(), got->view().end()) : Buffer();
  }
};

TEST_F(CredentialParts, PartsInAnyOrderAndTwice) {
  EXPECT_TRUE(add(5, 2));
  EXPECT_TRUE(add(5, 0));
  EXPECT_TRUE(add(5, 2));
  EXPECT_EQ(inbox.take(peer, 5, 0), nullptr) << "one is missing";
  EXPECT_TRUE(add(5, 1));
  EXPECT_EQ(inbox.take(other, 5, 0), nullptr) << "it is another peer's call";
  EXPECT_EQ(inbox.take(peer, 6, 0), nullptr);
  EXPECT_EQ(taken(5), content);
  EXPECT_EQ(inbox.take(peer, 5, 0), nullptr) << "for one call, once";
}

TEST_F(CredentialParts, CallsShareWhatIsTheSame) {
  for (unsigned i = 0; i < 3; ++i) add(5, i);
  const auto first = inbox.take(peer, 5, 0);
  for (unsigned i = 0; i < 3; ++i) EXPECT_TRUE(add(6, i));
  EXPECT_EQ(inbox.take(peer, 6, 0), first);
  // The version that is known, with other bytes: no honest relay sends that.
  Buffer part = credential_part(1, content, 1);
  part.back() ^= 1;
  EXPECT_FALSE(inbox.add(peer, 7, part, 0));
  EXPECT_TRUE(add(7, 0) && add(7, 2));
  EXPECT_EQ(inbox.take(peer, 7, 0), nullptr);
}

TEST_F(CredentialParts, ANewVersionTakesThePlaceOfHalfAnOldOne) {
  add(5, 0);
  add(5, 1);
  const Buffer old = content;
  content = random_bytes_of(2'000);
  EXPECT_TRUE(add(5, 0, 2));
  EXPECT_EQ(inbox.take(peer, 5, 0), nullptr);
  EXPECT_TRUE(add(5, 1, 2));
  EXPECT_EQ(taken(5), content);
}

TEST_F(CredentialParts, RefusesWhatIsNotOfTheForm) {
  const Buffer good = credential_part(1, content, 0);
  const auto refused = [&](size_t at, uint8_t value) {
    Buffer bad = good;
    bad[at] = value;
    return !inbox.add(peer, 5, bad, 0);
  };
  EXPECT_TRUE(refused(4, 3)) << "a part beyond their number";
  EXPECT_TRUE(refused(5, 0)) << "of none";
  EXPECT_TRUE(refused(5, 8)) << "of more than there may be";
  EXPECT_TRUE(refused(6, 2)) << "of an unknown kind";
  EXPECT_TRUE(refused(7, 1));
  Buffer text = good;
  text.pop_back();
  EXPECT_FALSE(inbox.add(peer, 5, text, 0)) << "only the last may be short";
  text.resize(8);
  EXPECT_FALSE(inbox.add(peer, 5, text, 0));
  text.resize(7);
  EXPECT_FALSE(inbox.add(peer, 5, text, 0));
  Buffer last = credential_part(1, content, 2);
  last.resize(8 + kPart + 1);
  EXPECT_FALSE(inbox.add(peer, 5, last, 0));
}

TEST_F(CredentialParts, IsBoundedAndForgets) {
  EXPECT_EQ(inbox.deadline(), kNever);
  size_t held = 0;
  for (uint64_t call = 1; call <= CredentialInbox::kMostUnknown + 10; ++call) {
    held += add(call, 0) ? 1 : 0;
  }
  EXPECT_EQ(held, CredentialInbox::kMostUnknown);
  EXPECT_NE(inbox.deadline(), kNever);
  inbox.tick(CredentialInbox::kKeepMs);
  for (unsigned i = 0; i < 3; ++i) EXPECT_TRUE(add(1'000, i)) << "there is room again";
  EXPECT_EQ(taken(1'000), content);
  inbox.tick(2 * CredentialInbox::kKeepMs + CredentialInbox::kKnownMs);
  EXPECT_EQ(inbox.deadline(), kNever) << "nothing of it is kept for long";
}

}  // namespace
}  // namespace sluice::agent
