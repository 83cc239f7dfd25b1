// The bytes of calls, and the table of what an agent may not use twice.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "fabric/call.h"
#include "wire/call.h"

namespace sluice {
namespace {

using namespace wire;

Envelope good() {
  Envelope e{};
  e.issued_ms = 1000;
  e.expires_ms = 2000;
  e.scope_count = 2;
  e.scopes[0] = 5;
  e.scopes[1] = 9;
  return e;
}

// Each field where the protocol text has it, written here by hand.
TEST(CallWire, TheEnvelopeLiesAsTheProtocolSays) {
  Envelope e{};
  std::memset(e.trace, 0x11, 16);
  e.epoch = 0x0807060504030201;
  e.counter = 0x1817161514131211;
  std::memset(e.idempotency, 0x22, 16);
  e.issued_ms = 3;
  e.expires_ms = 4;
  e.audience = 0x700010a3f0;
  e.issuer = 6;
  e.tenant = 0x0201;
  e.service = 0x0403;
  e.capability = 3;
  e.protocol = 2;
  e.scope_count = 1;
  e.scopes[0] = 0xff;
  e.grant = 8;
  std::memset(e.commitment, 0x33, 16);
  std::memset(e.signature, 0x44, 64);
  uint8_t raw[208];
  store_le(raw, e);
  const auto u64 = [&](size_t at) { return load_le<uint64_t>(raw + at); };
  EXPECT_EQ(raw[0], 0x11);
  EXPECT_EQ(raw[16], 1);
  EXPECT_EQ(u64(24), e.counter);
  EXPECT_EQ(raw[32], 0x22);
  EXPECT_EQ(u64(48), 3u);
  EXPECT_EQ(u64(56), 4u);
  EXPECT_EQ(u64(64), 0x700010a3f0u);
  EXPECT_EQ(u64(72), 6u);
  EXPECT_EQ(raw[80], 1);
  EXPECT_EQ(raw[81], 2);
  EXPECT_EQ(raw[82], 3);
  EXPECT_EQ(raw[84], 3);
  EXPECT_EQ(raw[85], 2);
  EXPECT_EQ(raw[86], 1);
  EXPECT_EQ(raw[87], 0);
  EXPECT_EQ(u64(88), 0xffu);
  EXPECT_EQ(u64(120), 8u);
  EXPECT_EQ(raw[128], 0x33);
  EXPECT_EQ(raw[144], 0x44);
}

TEST(CallWire, AnEnvelopeFitsItself) {
  EXPECT_TRUE(well_formed(good()));
  const auto breaks = [](auto&& change) {
    Envelope e = good();
    change(e);
    return !well_formed(e);
  };
  EXPECT_TRUE(breaks([](Envelope& e) { e.zero = 1; }));
  EXPECT_TRUE(breaks([](Envelope& e) { e.expires_ms = 1000; }));
  EXPECT_TRUE(breaks([](Envelope& e) { e.scope_count = 5; }));
  EXPECT_TRUE(breaks([](Envelope& e) { e.scope_count = 1; }));
  EXPECT_TRUE(breaks([](Envelope& e) { e.scope_count = 3; }));
  EXPECT_TRUE(breaks([](Envelope& e) { e.scopes[1] = 5; }));
  EXPECT_TRUE(breaks([](Envelope& e) { e.scopes[0] = 0; }));
}

TEST(CallWire, NamesAreBits) {
  EXPECT_EQ(capability_bit("read"), 1u << 1);
  EXPECT_EQ(capability_bit("workflow_command"), 1u << 4);
  EXPECT_EQ(capability_bit(""), 0);
  EXPECT_EQ(capability_bit("Read"), 0);
  EXPECT_EQ(protocol_bit("raw"), 1u);
  EXPECT_EQ(protocol_bit("acp"), 1u << 5);
  EXPECT_EQ(protocol_bit("http"), 0);
}

TEST(CallTables, KeysAreHeldUntilTheyExpire) {
  std::vector<fabric::IdempotencyKey> slots(16);
  const fabric::IdempotencyKeys keys(slots.data(), 16);
  const auto use = [&](uint64_t tag, uint64_t until, uint64_t now) {
    fabric::IdempotencyKey* k = keys.room(tag, now);
    if (k == nullptr) return false;
    *k = {tag, until};
    return true;
  };
  for (uint64_t i = 0; i < 8; ++i) EXPECT_TRUE(use(32 + 16 * i, 100 + i, 50));
  EXPECT_FALSE(use(16, 200, 50)) << "its eight places are in use";
  EXPECT_TRUE(keys.contains(32, 99));
  EXPECT_FALSE(keys.contains(32, 100));
  EXPECT_FALSE(keys.contains(16, 50));
  EXPECT_TRUE(use(16, 200, 100));
  EXPECT_TRUE(keys.contains(16, 150));
  EXPECT_TRUE(keys.contains(32 + 16 * 7, 106));
}

// As many keys as half of the places: with places in one run, a few of them found none.
TEST(CallTables, ATableThatIsHalfFullHasRoomForAll) {
  std::mt19937_64 random(7);
  for (int run = 0; run < 20; ++run) {
    std::vector<fabric::IdempotencyKey> slots(1024);
    const fabric::IdempotencyKeys keys(slots.data(), 1024);
    std::vector<uint64_t> tags;
    for (int i = 0; i < 512; ++i) {
      tags.push_back(random() | 1);
      fabric::IdempotencyKey* k = keys.room(tags.back(), 0);
      ASSERT_NE(k, nullptr);
      *k = {tags.back(), 1};
    }
    for (const uint64_t tag : tags) EXPECT_TRUE(keys.contains(tag, 0));
  }
}

TEST(CallTables, ARecordIsFoundByItsIdAndItsEdge) {
  std::vector<fabric::CallRecord> slots(8);
  const fabric::CallTable table(slots.data(), 8);
  for (uint64_t id = 5; id < 13; ++id) {
    fabric::CallRecord* r = table.room(id);
    ASSERT_NE(r, nullptr);
    r->call_id = id;
    r->label = 7;
    r->state.store(uint32_t(fabric::CallState::kOpen));
  }
  EXPECT_EQ(table.room(99), nullptr);
  for (uint64_t id = 5; id < 13; ++id) {
    ASSERT_NE(table.find(id, 7), nullptr);
    EXPECT_EQ(table.find(id, 7)->call_id, id);
    EXPECT_EQ(table.find(id, 8), nullptr);
  }
  table.find(6, 7)->state.store(uint32_t(fabric::CallState::kEnded));
  EXPECT_EQ(table.find(6, 7), nullptr);
  EXPECT_EQ(table.room(99), nullptr) << "it rests";
}

}  // namespace
}  // namespace sluice
