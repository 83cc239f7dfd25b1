// One tunnel session alone: what it seals, its mirror image opens, under both seals.
#include "agent/session.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::agent {
namespace {

using wire::FrameHeader;
using wire::FrameType;

TEST(AgentSession, BothSealsAreOpenedAndTheHeaderSealLeavesTheRestAsItIs) {
  ASSERT_TRUE(crypto::init());
  const auto keys_of = [](uint8_t send, uint8_t receive) {
    SessionKeys keys;
    std::memset(keys.send.data(), send, 32);
    std::memset(keys.receive.data(), receive, 32);
    keys.send_salt.fill(send);
    keys.receive_salt.fill(receive);
    return keys;
  };
  wire::WelcomePayload welcome{};
  welcome.receiver = 5;
  welcome.sender = 6;
  welcome.receive_lanes = 1;
  Session from(welcome, keys_of(1, 2), 0), to(welcome, keys_of(2, 1), 0);
  const Buffer text(100, 0x5a);
  for (const wire::Seal seal : {wire::Seal::kFull, wire::Seal::kHeader}) {
    Buffer packet;
    from.seal({uint8_t(FrameType::kDatagram), 0, 0, 0x01000002, 0}, text, packet, seal);
    ASSERT_EQ(packet.size(), wire::kDataMin + text.size());
    const bool as_it_is = std::equal(text.begin(), text.end(), packet.begin() + wire::kDataMin);
    EXPECT_EQ(as_it_is, seal == wire::Seal::kHeader);
    for (const size_t byte : {size_t{20}, size_t{40}, packet.size() - 1}) {
      Buffer bad = packet;
      bad[byte] ^= 1;
      FrameHeader frame;
      MutBytes payload;
      EXPECT_EQ(to.open(bad, frame, payload), OpenVerdict::kBadTag) << byte;
    }
    FrameHeader frame;
    MutBytes payload;
    ASSERT_EQ(to.open(packet, frame, payload), OpenVerdict::kOk);
    EXPECT_EQ(frame.label, 0x01000002u);
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(), text.begin(), text.end()));
  }
}

}  // namespace
}  // namespace sluice::agent
