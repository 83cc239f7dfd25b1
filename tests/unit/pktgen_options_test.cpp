// The generator's options: what they mean, and that every mistake is told at once. Its neighbour
// discovery against frames written out by hand.
#include "pktgen/options.h"

#include <gtest/gtest.h>

#include "pktgen/neighbour.h"

namespace sluice::pktgen {
namespace {

RawOptions good() {
  RawOptions raw;
  raw.seed_file = "seed";
  raw.relay_key = "sluice://relay/#AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
  raw.devices = {"net_memif0,role=server"};
  raw.addresses = {"10.9.0.10/16"};
  raw.relays = {"10.9.0.1:7600"};
  raw.lcores = "0,0";
  return raw;
}

TEST(PktgenOptions, Meaning) {
  RawOptions raw = good();
  raw.frame = 94;
  raw.rate = "1.5M";
  raw.floods = {"unknown:200k", "forged-away:max"};
  raw.open = "all";
  const auto o = read_options(raw, Command::kRun);
  ASSERT_TRUE(o) << o.error().message;
  const Traffic& t = o->traffic.at(0);
  EXPECT_EQ(t.payloads, std::vector<uint16_t>{0});
  EXPECT_EQ(t.pps, 1.5e6);
  EXPECT_EQ(t.open_every, 1u);
  ASSERT_EQ(t.floods.size(), 2u);
  EXPECT_EQ(t.floods[0].kind, FloodKind::kUnknown);
  EXPECT_EQ(t.floods[0].pps, 200e3);
  EXPECT_EQ(t.floods[1].kind, FloodKind::kForgedAway);
  EXPECT_EQ(t.floods[1].pps, 0);
  EXPECT_EQ(o->fleet.relay_key[31], 31);
  EXPECT_EQ(o->fleet.devices[0].relay_port, 7600);
}

TEST(PktgenOptions, FramesCountWithTheirOverhead) {
  RawOptions raw = good();
  raw.frame = 1518;
  EXPECT_EQ(read_options(raw, Command::kRun)->traffic[0].payloads[0], 1518 - 94);
  raw.addresses = {"2001:db8::10/64"};
  raw.relays = {"[2001:db8::1]:7600"};
  EXPECT_EQ(read_options(raw, Command::kRun)->traffic[0].payloads[0], 1518 - 114);
  raw.frame = 1519;
  EXPECT_FALSE(read_options(raw, Command::kRun));
  raw = good();
  raw.imix = true;
  const auto imix = read_options(raw, Command::kRun);
  EXPECT_EQ(imix->traffic[0].payloads.size(), 12u);
  raw.imix = false;
  raw.frame = 94;
  raw.seal = "header";  // has no room for an end-to-end tag
  EXPECT_FALSE(read_options(raw, Command::kRun));
  EXPECT_EQ(read_options(good(), Command::kSearch)->traffic.size(), 8u);
}

TEST(PktgenOptions, AllMistakesAtOnce) {
  RawOptions raw = good();
  raw.agents = 3;
  raw.relay_key = "nonsense";
  raw.relays = {"10.9.0.1"};
  raw.rate = "fast";
  raw.floods = {"rain:5"};
  raw.frame = 60;
  raw.mode = "small";
  raw.lcores = "0";
  const auto o = read_options(raw, Command::kRun);
  ASSERT_FALSE(o);
  EXPECT_EQ(o.error().code, ErrorCode::kUsage);
  for (const char* word : {"--agents", "--relay-key", "--relay 10.9.0.1", "--rate fast",
                           "--flood rain:5", "a frame of 60", "--mode small", "--lcores 0"}) {
    EXPECT_NE(o.error().message.find(word), std::string::npos) << word << "\n" << o.error().message;
  }
}

const wire::Mac kOwnMac = {2, 0, 0, 0, 0, 1};

TEST(Neighbour, ArpBothWays) {
  const uint8_t first[] = {10, 9, 0, 10};
  const AddressRange own{false, wire::mapped_ip4(first), 2, kOwnMac};
  // 10.9.0.1 at 02:00:00:00:00:09 asks for 10.9.0.11, the second of ours.
  Buffer ask = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,  0, 0, 0, 9, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                1,    2,    0,    0,    0,    0,    9, 10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 10, 9, 0, 11};
  Buffer other = ask;
  other.back() = 12;
  EXPECT_FALSE(answer_question(own, other));
  ASSERT_TRUE(answer_question(own, ask));
  const Buffer answer = {2, 0, 0, 0, 0, 9, 2, 0,  0, 0, 0,  1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                         2, 2, 0, 0, 0, 0, 1, 10, 9, 0, 11, 2, 0, 0, 0, 0, 9, 10, 9, 0, 1};
  EXPECT_EQ(ask, answer);
  EXPECT_EQ(read_answer(answer, false, address_after(own.first, 1)), kOwnMac);
  EXPECT_FALSE(read_answer(answer, false, own.first));
  for (size_t n = 0; n < answer.size(); ++n) {
    EXPECT_FALSE(read_answer(Bytes(answer).first(n), false, address_after(own.first, 1)));
  }
}

TEST(Neighbour, Ipv6QuestionsAreAnsweredByTheSameRules) {
  AddressRange relay{true, {0x20, 1, 0xd, 0xb8}, 1, {2, 0, 0, 0, 0, 9}};
  relay.first[15] = 1;
  AddressRange own{true, {0x20, 1, 0xd, 0xb8}, 4, kOwnMac};
  own.first[15] = 0x10;
  uint8_t frame[kQuestionMax];
  const size_t size = build_question(own, relay.first, frame);
  ASSERT_EQ(size, 86u);
  EXPECT_EQ(frame[0], 0x33);
  EXPECT_EQ(frame[21], 255);  // hop limit
  wire::IpView view;
  ASSERT_EQ(wire::parse_ip({frame, size}, 1500, view), wire::IpVerdict::kOther);
  const uint32_t sum = wire::pseudo_header_sum(frame + wire::kEthSize, true, wire::kProtoIcmp6, 32);
  EXPECT_EQ(wire::checksum_fold(wire::checksum_add({frame + 54, 32}, sum)), 0);
  EXPECT_FALSE(answer_question(own, {frame, size}));
  ASSERT_TRUE(answer_question(relay, {frame, size}));
  EXPECT_EQ(read_answer({frame, size}, true, relay.first), relay.mac);
}

}  // namespace
}  // namespace sluice::pktgen
