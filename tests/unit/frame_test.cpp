// Frame header and label on the wire, and the table of what an agent may send.
#include "wire/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "vectors.h"

namespace sluice::wire {
namespace {

TEST(Frame, LayoutOnTheWire) {
  uint8_t out[16];
  write_frame(out, {5, 1, 96, make_label(0x030201, 0x7f), 0x1122334455667788});
  const Buffer expected = vectors::layout("05 01 6000 010203 7f 8877665544332211");
  EXPECT_EQ(vectors::hex(out), vectors::hex(expected));
  const FrameHeader h = read_frame(expected.data());
  EXPECT_EQ(h.type, 5);
  EXPECT_EQ(h.flags, 1);
  EXPECT_EQ(h.extension_length, 96);
  EXPECT_EQ(label_slot(h.label), 0x030201u);
  EXPECT_EQ(label_generation(h.label), 0x7f);
  EXPECT_EQ(h.call_id, 0x1122334455667788u);
}

TEST(Frame, LabelIsSlotThenGeneration) {
  EXPECT_EQ(make_label(0, 0), 0u);
  EXPECT_EQ(make_label(1, 0), 1u);
  EXPECT_EQ(make_label(0, 1), 0x01000000u);
  EXPECT_EQ(make_label(0xffffff, 0xff), 0xffffffffu);
  EXPECT_EQ(make_label(0x1000000, 2), 0x02000000u) << "a slot never reaches the generation";
  EXPECT_EQ(label_slot(0xab123456), 0x123456u);
  EXPECT_EQ(label_generation(0xab123456), 0xab);
}

TEST(Frame, NumbersAndSizesAsWritten) {
  EXPECT_EQ(int(FrameType::kKeepalive), 0);
  EXPECT_EQ(int(FrameType::kDatagram), 1);
  EXPECT_EQ(int(FrameType::kCallOpen), 2);
  EXPECT_EQ(int(FrameType::kCallData), 3);
  EXPECT_EQ(int(FrameType::kCallClose), 4);
  EXPECT_EQ(int(FrameType::kCallAccept), 5);
  EXPECT_EQ(int(FrameType::kCallDeny), 6);
  EXPECT_EQ(int(FrameType::kControl), 7);
  EXPECT_EQ(int(FrameType::kCredential), 8);
  EXPECT_EQ(kFrameTypes, 9);
  EXPECT_EQ(kEnvelopeSize, 208u);
  EXPECT_EQ(kCallCloseSize, 16u);
  EXPECT_EQ(kCallAcceptSize, 96u);
  EXPECT_EQ(kControlMax, 1200u);
}

constexpr auto kOk = FrameVerdict::kOk;
constexpr auto kBad = FrameVerdict::kMalformed;
constexpr auto kNotAllowed = FrameVerdict::kNotFromAgent;
constexpr auto kUnknown = FrameVerdict::kUnknownType;
constexpr uint32_t kLabel = 0x05000003;
constexpr uint64_t kCall = 77;

struct Case {
  const char* what;
  FrameHeader header;  // type, flags, extension, label, call
  size_t after;
  FrameVerdict expected;
};

const Case kCases[] = {
    {"keepalive", {0, 0, 0, 0, 0}, 0, kOk},
    {"keepalive with a value", {0, 0, 0, 0, kCall}, 0, kOk},
    {"ping", {0, 1, 0, 0, kCall}, 0, kOk},
    {"answer", {0, 2, 0, 0, kCall}, 0, kOk},
    {"keepalive: flag 3", {0, 3, 0, 0, kCall}, 0, kBad},
    {"keepalive: top flag", {0, 0x80, 0, 0, kCall}, 0, kBad},
    {"keepalive: label", {0, 0, 0, 1, 0}, 0, kBad},
    {"keepalive: generation", {0, 0, 0, 0x01000000, 0}, 0, kBad},
    {"keepalive: extension", {0, 0, 1, 0, 0}, 1, kBad},
    {"keepalive: extension beyond the packet", {0, 0, 1, 0, 0}, 0, kBad},
    {"keepalive: rest", {0, 0, 0, 0, 0}, 1, kBad},

    {"datagram", {1, 0, 0, kLabel, 0}, 100, kOk},
    {"datagram: empty", {1, 0, 0, kLabel, 0}, 0, kOk},
    {"datagram: label 0 is slot 0", {1, 0, 0, 0, 0}, 100, kOk},
    {"datagram: reply", {1, 1, 0, kLabel, 0}, 100, kBad},
    {"datagram: credentialed", {1, 2, 0, kLabel, 0}, 100, kBad},
    {"datagram: call id", {1, 0, 0, kLabel, 1}, 100, kBad},
    {"datagram: call id's top byte", {1, 0, 0, kLabel, uint64_t{1} << 63}, 100, kBad},
    {"datagram: extension", {1, 0, 1, kLabel, 0}, 100, kBad},

    {"call open", {2, 0, 208, kLabel, kCall}, 208, kOk},
    {"call open: reply", {2, 1, 208, kLabel, kCall}, 208, kBad},
    {"call open: credentialed is the relay's to set", {2, 2, 208, kLabel, kCall}, 208, kBad},
    {"call open: short", {2, 0, 207, kLabel, kCall}, 207, kBad},
    {"call open: long", {2, 0, 209, kLabel, kCall}, 209, kBad},
    {"call open: extension beyond the packet", {2, 0, 208, kLabel, kCall}, 207, kBad},
    {"call open: rest", {2, 0, 208, kLabel, kCall}, 209, kBad},
    {"call open: no extension", {2, 0, 0, kLabel, kCall}, 208, kBad},

    {"call data", {3, 0, 0, kLabel, kCall}, 100, kOk},
    {"call data: of the callee", {3, 1, 0, kLabel, kCall}, 100, kOk},
    {"call data: credentialed", {3, 2, 0, kLabel, kCall}, 100, kBad},
    {"call data: both flags", {3, 3, 0, kLabel, kCall}, 100, kBad},
    {"call data: unused flag", {3, 0x10, 0, kLabel, kCall}, 100, kBad},
    {"call data: extension", {3, 0, 16, kLabel, kCall}, 100, kBad},

    {"call close", {4, 0, 16, kLabel, kCall}, 16, kOk},
    {"call close: of the callee", {4, 1, 16, kLabel, kCall}, 16, kOk},
    {"call close: credentialed", {4, 2, 16, kLabel, kCall}, 16, kBad},
    {"call close: short", {4, 0, 15, kLabel, kCall}, 15, kBad},
    {"call close: long", {4, 0, 17, kLabel, kCall}, 17, kBad},
    {"call close: rest", {4, 0, 16, kLabel, kCall}, 17, kBad},
    {"call close: no extension", {4, 0, 0, kLabel, kCall}, 16, kBad},

    {"call accept", {5, 1, 96, kLabel, kCall}, 96, kOk},
    {"call accept: not of the callee", {5, 0, 96, kLabel, kCall}, 96, kBad},
    {"call accept: both flags", {5, 3, 96, kLabel, kCall}, 96, kBad},
    {"call accept: short", {5, 1, 95, kLabel, kCall}, 95, kBad},
    {"call accept: long", {5, 1, 97, kLabel, kCall}, 97, kBad},
    {"call accept: rest", {5, 1, 96, kLabel, kCall}, 97, kBad},

    {"call deny", {6, 0, 32, kLabel, kCall}, 32, kNotAllowed},
    {"credential", {8, 0, 16, kLabel, kCall}, 16, kNotAllowed},

    {"control", {7, 0, 1, 0, kCall}, 1, kOk},
    {"control: longest", {7, 0, 1200, 0, kCall}, 1200, kOk},
    {"control: too long", {7, 0, 1201, 0, kCall}, 1201, kBad},
    {"control: empty", {7, 0, 0, 0, kCall}, 0, kBad},
    {"control: label", {7, 0, 8, kLabel, kCall}, 8, kBad},
    {"control: flag", {7, 1, 8, 0, kCall}, 8, kBad},
    {"control: rest", {7, 0, 8, 0, kCall}, 9, kBad},
    {"control: beyond the packet", {7, 0, 9, 0, kCall}, 8, kBad},

    {"unknown", {9, 0, 0, kLabel, kCall}, 0, kUnknown},
    {"unknown, the highest", {255, 0, 0, kLabel, kCall}, 0, kUnknown},
};

TEST(CheckAgentFrame, Table) {
  for (const Case& c : kCases) {
    EXPECT_EQ(int(check_agent_frame(c.header, c.after)), int(c.expected)) << c.what;
  }
}

// Each flag byte with each type: the sets that the table in the protocol allows.
TEST(CheckAgentFrame, EveryFlagByte) {
  struct Good {
    FrameHeader header;
    size_t after;
    std::vector<int> flags;
  };
  const Good good[] = {
      {{0, 0, 0, 0, 0}, 0, {0, 1, 2}},     {{1, 0, 0, kLabel, 0}, 64, {0}},
      {{2, 0, 208, kLabel, 9}, 208, {0}},  {{3, 0, 0, kLabel, 9}, 64, {0, 1}},
      {{4, 0, 16, kLabel, 9}, 16, {0, 1}}, {{5, 0, 96, kLabel, 9}, 96, {1}},
      {{7, 0, 300, 0, 9}, 300, {0}},
  };
  for (const Good& g : good) {
    for (int flags = 0; flags < 256; ++flags) {
      FrameHeader h = g.header;
      h.flags = static_cast<uint8_t>(flags);
      const bool allowed = std::find(g.flags.begin(), g.flags.end(), flags) != g.flags.end();
      EXPECT_EQ(check_agent_frame(h, g.after) == kOk, allowed) << int(h.type) << " flags " << flags;
    }
  }
}

// No extension may reach beyond the packet, whatever the type.
TEST(CheckAgentFrame, ExtensionNeverBeyondThePacket) {
  for (int type = 0; type < 9; ++type) {
    for (unsigned ext : {1u, 16u, 96u, 208u, 1200u, 65535u}) {
      for (size_t after = 0; after < ext && after < 1500; ++after) {
        const FrameHeader h{static_cast<uint8_t>(type), 0, static_cast<uint16_t>(ext), 0, 0};
        ASSERT_EQ(int(check_agent_frame(h, after)), int(kBad)) << type << " " << ext;
      }
    }
  }
}

// A relay sends all that agents may, and what it alone does.
TEST(CheckRelayFrame, EveryFlagByteAndSize) {
  const struct {
    FrameHeader header;
    std::vector<int> flags;
    std::vector<size_t> sizes;  // of the extension, which is alone
  } good[] = {
      {{2, 0, 0, kLabel, 9}, {0, 2}, {208}},
      {{6, 0, 0, kLabel, 9}, {0}, {24}},
      {{7, 0, 0, 0, 9}, {0}, {1, 1200}},
      {{8, 0, 0, kLabel, 9}, {0}, {9, 1184}},
  };
  for (const auto& g : good) {
    for (int flags = 0; flags < 256; ++flags) {
      for (const size_t size : {0u, 1u, 8u, 9u, 23u, 24u, 25u, 208u, 1184u, 1185u, 1200u, 1201u}) {
        FrameHeader h = g.header;
        h.flags = static_cast<uint8_t>(flags);
        h.extension_length = static_cast<uint16_t>(size);
        const bool in_range =
            g.sizes.size() == 1 ? size == g.sizes[0] : size >= g.sizes[0] && size <= g.sizes[1];
        const bool allowed =
            in_range && std::find(g.flags.begin(), g.flags.end(), flags) != g.flags.end();
        EXPECT_EQ(check_relay_frame(h, size) == kOk, allowed)
            << int(h.type) << " flags " << flags << " size " << size;
        EXPECT_NE(int(check_relay_frame(h, size + 1)), int(kOk)) << int(h.type);
        if (check_agent_frame(h, size) == kOk) {
          EXPECT_EQ(check_relay_frame(h, size), kOk);
        }
      }
    }
  }
  EXPECT_EQ(check_relay_frame({0, 1, 0, 0, 5}, 0), kOk);
  EXPECT_EQ(check_relay_frame({0, 3, 0, 0, 5}, 0), kBad);
  EXPECT_EQ(check_relay_frame({1, 0, 0, kLabel, 0}, 64), kOk);
  EXPECT_EQ(check_relay_frame({5, 1, 96, kLabel, 9}, 96), kOk);
  EXPECT_EQ(check_relay_frame({9, 0, 0, 0, 0}, 0), kUnknown);
}

}  // namespace
}  // namespace sluice::wire
