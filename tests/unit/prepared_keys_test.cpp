// The cache of prepared keys: filled on demand at a bounded rate, a slot filled again only after
// its readers' grace period, what is in use stays.
#include "control/prepared_keys.h"

#include <gtest/gtest.h>

#include "crypto/identity.h"

namespace sluice::control {
namespace {

constexpr uint32_t kRoom = 16;
constexpr uint32_t kAgents = 64;

class PreparedCache : public testing::Test {
 protected:
  PreparedCache() {
    EXPECT_TRUE(crypto::init());
    for (uint32_t i = 0; i < kAgents; ++i) identities_.push_back(crypto::Identity::generate());
  }
  void SetUp() override {
    if (crypto::ifma_engine_here() == nullptr) GTEST_SKIP() << "this CPU has no AVX-512 IFMA";
  }
  // As a handshake does that succeeds.
  const crypto::PreparedKey* of(uint32_t agent) {
    const auto* key = keys_.find(agent);
    keys_.met(agent, identities_[agent].public_key());
    return key;
  }
  // Polls with time in between until nothing waits.
  void settle() {
    for (int i = 0; i < 100 && keys_.backlog(); ++i) {
      clock_.advance_ms(10);
      qsbr_.quiesce(0);
      keys_.poll();
    }
  }

  Clock clock_;
  std::unique_ptr<fabric::Arena> arena_ =
      *fabric::Arena::create({.agents = kAgents, .edges = 2, .sessions = 2, .prepared_keys = kRoom},
                             fabric::PageKind::kSmall);
  fabric::Qsbr qsbr_{1};
  std::vector<crypto::Identity> identities_;
  PreparedKeys keys_{*arena_, qsbr_, clock_, crypto::ifma_engine_here()};
};

TEST_F(PreparedCache, FirstUseAsksAndTheNextOneFindsIt) {
  EXPECT_EQ(of(5), nullptr);
  EXPECT_EQ(of(5), nullptr) << "asked once";
  settle();
  const crypto::PreparedKey* key = of(5);
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(std::memcmp(key->key, identities_[5].public_key().data(), 32), 0);
  EXPECT_EQ(&arena_->prepared_keys()[arena_->agents()[5].prepared.load()], key);
  EXPECT_EQ(keys_.counts().ready, 1u);
  EXPECT_EQ(keys_.counts().prepared, 1u);
  // And it verifies.
  crypto::Ed25519BatchVerifier verifier(crypto::ifma_engine_here());
  const Buffer message(100, 7);
  const auto signature = identities_[5].sign(crypto::kLabelCall, {message});
  Buffer whole(crypto::kLabelCall.begin(), crypto::kLabelCall.end());
  whole.insert(whole.end(), message.begin(), message.end());
  const crypto::VerifyJob job{&identities_[5].public_key(), whole, &signature, key};
  EXPECT_EQ(verifier.verify({&job, 1}), 1u);
}

TEST_F(PreparedCache, PreparesAtABoundedRate) {
  for (uint32_t i = 0; i < kRoom; ++i) EXPECT_EQ(of(i), nullptr);
  // No time passes but the processor's own, in which far less than another group becomes due.
  for (int i = 0; i < 3; ++i) keys_.poll();
  EXPECT_LE(keys_.counts().prepared, crypto::Ed25519BatchVerifier::kMaxPrepare);
  settle();
  EXPECT_EQ(keys_.counts().prepared, kRoom);
}

// One key costs as much as eight, and is charged so.
TEST_F(PreparedCache, OneKeyIsChargedAsAGroup) {
  EXPECT_EQ(of(0), nullptr);
  keys_.poll();
  EXPECT_EQ(keys_.counts().prepared, 1u);
  EXPECT_EQ(of(1), nullptr);
  keys_.poll();
  EXPECT_EQ(keys_.counts().prepared, 1u) << "the next group is due after 2 ms";
  settle();
  EXPECT_EQ(keys_.counts().prepared, 2u);
}

// Looking for a key asks for nothing: who looks has shown nothing.
TEST_F(PreparedCache, FindAsksForNothing) {
  EXPECT_EQ(keys_.find(3), nullptr);
  EXPECT_FALSE(keys_.backlog());
}

TEST_F(PreparedCache, ASlotIsFilledAgainOnlyAfterTheGracePeriod) {
  for (uint32_t i = 0; i < kRoom; ++i) EXPECT_EQ(of(i), nullptr);
  settle();
  EXPECT_EQ(keys_.counts().ready, kRoom);
  Buffer before(sizeof(crypto::PreparedKey) * kRoom);
  std::memcpy(before.data(), arena_->prepared_keys().data(), before.size());

  EXPECT_EQ(of(40), nullptr);
  for (int i = 0; i < 50; ++i) {
    clock_.advance_ms(10);
    keys_.poll();  // the worker does not pass a quiescent point
  }
  EXPECT_EQ(of(40), nullptr);
  EXPECT_EQ(std::memcmp(before.data(), arena_->prepared_keys().data(), before.size()), 0);
  EXPECT_EQ(keys_.counts().evicted, 1u);
  settle();
  EXPECT_NE(of(40), nullptr);
  EXPECT_EQ(keys_.counts().ready, kRoom);
}

TEST_F(PreparedCache, WhatIsUsedStays) {
  for (uint32_t i = 0; i < kRoom; ++i) EXPECT_EQ(of(i), nullptr);
  settle();
  // Thirty strangers come by while the first four are met again and again.
  for (uint32_t stranger = kRoom; stranger < kRoom + 30; ++stranger) {
    for (uint32_t regular = 0; regular < 4; ++regular) {
      ASSERT_NE(of(regular), nullptr) << regular << " at " << stranger;
    }
    EXPECT_EQ(of(stranger), nullptr);
    settle();
    EXPECT_NE(arena_->agents()[stranger].prepared.load(), fabric::kNone);
  }
}

TEST(PreparedCacheOff, WithoutLanesNothingIsPrepared) {
  Clock clock;
  auto arena = *fabric::Arena::create({.agents = 4, .edges = 2, .sessions = 2, .prepared_keys = 4},
                                      fabric::PageKind::kSmall);
  fabric::Qsbr qsbr(1);
  PreparedKeys keys(*arena, qsbr, clock, nullptr);
  keys.met(1, crypto::Identity::generate().public_key());
  EXPECT_EQ(keys.find(1), nullptr);
  EXPECT_FALSE(keys.backlog());
  EXPECT_EQ(keys.counts().room, 0u);
}

}  // namespace
}  // namespace sluice::control
