// What sluice-pcap does with packets: sealed here by the agent's own sessions.
#include <gtest/gtest.h>
#include <pcap/dlt.h>

#include <cstdlib>
#include <filesystem>

#include "agent/e2e_keys.h"
#include "agent/key_log.h"
#include "agent/session.h"
#include "pcap/description.h"
#include "pcap/opened.h"
#include "pcap/opener.h"
#include "pcap/packet_finder.h"
#include "ready.h"
#include "wire/credential.h"

namespace {

using namespace sluice;
using namespace sluice::capture;
using crypto::Key256;
using wire::FrameType;

constexpr uint32_t kRelayIndex = 7, kAgentIndex = 9, kOwnId = 21, kPeerId = 22;

Key256 key(uint8_t fill) {
  ByteArray<32> bytes;
  bytes.fill(fill);
  return Key256(bytes);
}

class OpenerTest : public testing::Test {
 protected:
  OpenerTest() {
    char name[] = "/tmp/sluice-capture-XXXXXX";
    folder_ = mkdtemp(name);
    auto log = agent::KeyLog::open(folder_ + "/keys");
    const auto report = [](agent::Level, const std::string& text) { FAIL() << text; };
    const ByteArray<4> there{1, 2, 3, 4}, back{5, 6, 7, 8};
    // The relay's number was another session's before.
    log->write({crypto::KeyLogKind::kTunnel, 5, {kRelayIndex, key(1), there}, {8, key(2), back}},
               report);
    log->write(
        {crypto::KeyLogKind::kTunnel, 6, {kRelayIndex, key(3), there}, {kAgentIndex, key(4), back}},
        report);
    log->write({crypto::KeyLogKind::kEndToEnd, 7, {kPeerId, key(5), {}}, {kOwnId, key(6), {}}},
               report);
    keys_.emplace(*KeyStore::load(folder_ + "/keys"));
  }
  ~OpenerTest() override { std::filesystem::remove_all(folder_); }

  agent::Session session(uint8_t send) const {
    return {
        wire::WelcomePayload{.receiver = kAgentIndex, .sender = kRelayIndex, .receive_lanes = 1},
        agent::SessionKeys{key(send), key(4), {1, 2, 3, 4}, {5, 6, 7, 8}}, 0};
  }
  Buffer message(std::string_view text) const {
    agent::E2eKeys e2e(crypto::NoiseKeys{key(5), key(6), {}}, crypto::NoiseRole::kInitiator, kOwnId,
                       kPeerId, 0);
    Buffer out;
    e2e.seal(agent::Carrier{}, uint8_t(wire::MessageKind::kData), as_bytes(text), out);
    return out;
  }
  static wire::FrameHeader datagram() { return {uint8_t(FrameType::kDatagram), 0, 0, 5, 0}; }
  OpeningResult open(Buffer& packet) const { return Opener(*keys_).open(packet); }

  std::string folder_;
  std::optional<KeyStore> keys_;
};

TEST_F(OpenerTest, BothSealsAndTheMessageInside) {
  for (const auto seal : {wire::Seal::kFull, wire::Seal::kHeader}) {
    Buffer packet;
    session(3).seal(datagram(), message("text in clear"), packet, seal);
    const Buffer before = packet;
    const auto result = open(packet);
    EXPECT_EQ(result.tunnel, Opening::kDone);
    EXPECT_EQ(result.message, Opening::kDone);
    ASSERT_EQ(packet.size(), before.size());
    EXPECT_EQ(packet[0], kOpenedData);
    EXPECT_TRUE(std::equal(packet.begin() + 1, packet.begin() + 32, before.begin() + 1));
    const Description d = describe(packet, true);
    EXPECT_EQ(d.verdict, Verdict::kOk);
    EXPECT_EQ(d.find("data.seal")->number, seal == wire::Seal::kFull ? 1u : 2u);
    ASSERT_NE(d.find("e2e.data"), nullptr);
    EXPECT_EQ(as_text(d.find("e2e.data")->bytes), "text in clear");
    EXPECT_EQ(sentence(d), "DATA DATAGRAM edge 5, transport data of 14 bytes");
  }
}

TEST_F(OpenerTest, AnEarlierSessionOfTheSameNumberOpensToo) {
  Buffer packet;
  session(1).seal(datagram(), {}, packet);
  EXPECT_EQ(open(packet).tunnel, Opening::kDone);
}

TEST_F(OpenerTest, WhatIsSpoiltOrUnknownStaysAsItIs) {
  Buffer packet;
  session(3).seal(datagram(), message("text"), packet);
  packet.back() ^= 1;
  const Buffer spoilt = packet;
  EXPECT_EQ(open(packet).tunnel, Opening::kRefusedTag);
  EXPECT_EQ(packet, spoilt);
  packet[4] = 99;
  EXPECT_EQ(open(packet).tunnel, Opening::kUnknown);
  EXPECT_EQ(packet[0], uint8_t(wire::Type::kData));
  Buffer empty;
  EXPECT_EQ(open(empty).tunnel, Opening::kNone);
}

TEST_F(OpenerTest, AMessageMovedToAnotherCallStaysSealed) {
  Buffer packet;
  session(3).seal({uint8_t(FrameType::kCallData), 0, 0, 5, 77}, message("text"), packet);
  const auto result = open(packet);
  EXPECT_EQ(result.tunnel, Opening::kDone);
  EXPECT_EQ(result.message, Opening::kRefusedTag);
  EXPECT_EQ(describe(packet, true).find("e2e.opened")->number, 0u);
}

TEST_F(OpenerTest, CredentialsAreBlanked) {
  Buffer packet(wire::kDataMin + 8 + 6, 0x5a);
  wire::write_outer(packet.data(), {kOpenedData, 1, 16 + 8 + 6, kAgentIndex, 0});
  wire::write_frame(packet.data() + wire::kDataRegion,
                    {uint8_t(FrameType::kCredential), 0, 8 + 6, 5, 7});
  store_le(packet.data() + wire::kDataMin, wire::CredentialHead{9, 0, 1, 1, 0});
  EXPECT_TRUE(open(packet).credential);
  EXPECT_TRUE(all_zero(Bytes(packet).last(6)));
  const Description d = describe(packet, false);
  EXPECT_EQ(d.verdict, Verdict::kOk);
  EXPECT_EQ(d.find("credential.size")->number, 6u);
}

TEST_F(OpenerTest, KeyLogsThatAreNone) {
  const std::string path = folder_ + "/none";
  ASSERT_TRUE(write_file(path, as_bytes("# nothing\nSLUICE_TUNNEL_1 5 zz\n"), 0600));
  EXPECT_EQ(KeyStore::load(path).error().code, ErrorCode::kKeyFile);
  ASSERT_TRUE(write_file(path, as_bytes("# nothing\n"), 0644));
  EXPECT_EQ(KeyStore::load(path).error().code, ErrorCode::kPermission);
  EXPECT_EQ(KeyStore::load(folder_ + "/missing").error().code, ErrorCode::kNotFound);
}

TEST(KeyLogLine, ThereAndBackAndNothingElse) {
  const crypto::KeyLogEntry entry{crypto::KeyLogKind::kTunnel,
                                  1'700'000'000'123,
                                  {0xa1b2c3d4, key(1), {1, 2, 3, 4}},
                                  {5, key(2), {9, 8, 7, 6}}};
  const crypto::SecretText text = crypto::key_log_line(entry);
  const std::string line(text.view());
  EXPECT_EQ(line.substr(0, 38), "SLUICE_TUNNEL_1 1700000000123 a1b2c3d4");
  EXPECT_EQ(line.back(), '\n');
  const std::string good = line.substr(0, line.size() - 1);
  const auto back = crypto::parse_key_log_line(good);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->unix_ms, entry.unix_ms);
  EXPECT_EQ(back->there.id, entry.there.id);
  EXPECT_TRUE(crypto::equal_secret(back->back.key.view(), entry.back.key.view()));
  EXPECT_EQ(back->back.salt, entry.back.salt);
  for (size_t n = 0; n < good.size(); ++n) {
    EXPECT_FALSE(crypto::parse_key_log_line(good.substr(0, n))) << n;
  }
  EXPECT_FALSE(crypto::parse_key_log_line(line));
  EXPECT_FALSE(crypto::parse_key_log_line(good + " "));
  EXPECT_FALSE(crypto::parse_key_log_line("X" + good));
}

// IPv4 and UDP to the relay's port, behind a link layer of `before`.
Buffer packet_behind(Buffer before, Bytes payload) {
  wire::PathHeader path{};
  path.size = wire::kEthSize + wire::kIp4Size + wire::kUdpSize;
  uint8_t* ip = path.bytes + wire::kEthSize;
  ip[0] = 0x45;
  ip[8] = 64;
  ip[9] = wire::kProtoUdp;
  store_be16(ip + wire::kIp4Size + 2, kTunnelPort);
  store_le(
      ip + wire::kIp4Size + wire::kUdpSize,
      static_cast<uint16_t>(~wire::checksum_fold(wire::checksum_add({ip, wire::kIp4Size}, 0))));
  Buffer frame(path.size + payload.size());
  std::copy(payload.begin(), payload.end(), frame.begin() + path.size);
  wire::write_headers(frame.data(), path, static_cast<uint16_t>(payload.size()), 0);
  before.insert(before.end(), frame.begin() + wire::kEthSize, frame.end());
  return before;
}

TEST(PacketFinder, BehindEveryLinkLayerAtEveryCut) {
  Buffer ethernet(14, 0), tagged(18, 0), cooked(16, 0), cooked2(20, 0), null(4, 0);
  store_be16(&ethernet[12], wire::kEtherIp4);
  store_be16(&tagged[12], 0x8100);
  store_be16(&tagged[16], wire::kEtherIp4);
  store_be16(&cooked[14], wire::kEtherIp4);
  store_be16(&cooked2[0], wire::kEtherIp4);
  const Buffer payload(100, 0x61);
  const struct {
    int link;
    Buffer before;
  } cases[] = {{DLT_EN10MB, ethernet},    {DLT_EN10MB, tagged}, {DLT_LINUX_SLL, cooked},
               {DLT_LINUX_SLL2, cooked2}, {DLT_NULL, null},     {DLT_RAW, {}}};
  for (const auto& c : cases) {
    auto finder = PacketFinder::create(c.link, kTunnelPort);
    ASSERT_TRUE(finder);
    const Buffer whole = packet_behind(c.before, payload);
    const size_t headers = c.before.size() + wire::kIp4Size + wire::kUdpSize;
    for (size_t size = 0; size <= whole.size(); ++size) {
      TunnelPacket at;
      const Found found = finder->find(Bytes(whole).first(size), whole.size(), at);
      const Found expected = size == whole.size()  ? Found::kTunnel
                             : size >= headers - 2 ? Found::kTruncated
                                                   : Found::kOther;
      EXPECT_EQ(found, expected) << c.link << " " << size;
      if (found == Found::kOther) continue;
      EXPECT_EQ(at.payload_offset, headers);
      EXPECT_EQ(at.payload_size, payload.size());
      EXPECT_TRUE(at.to_relay);
    }
    auto elsewhere = PacketFinder::create(c.link, 7601);
    TunnelPacket at;
    EXPECT_EQ(elsewhere->find(whole, whole.size(), at), Found::kOther);
  }
  EXPECT_EQ(PacketFinder::create(DLT_PPP, kTunnelPort).error().code, ErrorCode::kRefused);
}

}  // namespace
