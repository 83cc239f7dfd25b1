// One message in pieces between a sender and a receiver, over a path that the test spoils.
#include "agent/call_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace sluice::agent {
namespace {

Buffer pattern(size_t n) {
  std::mt19937 rng(uint32_t(n) + 1);
  Buffer out(n);
  for (auto& b : out) b = uint8_t(rng());
  return out;
}

Buffer segment(uint32_t offset, const Buffer& data, bool end = false, uint16_t status = 0) {
  Buffer out(sizeof(SegmentHeader));
  store_le(out.data(), SegmentHeader{uint8_t(end ? 1 : 0), status, offset});
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

Buffer ack(uint32_t next, std::vector<AckRange> ranges = {}) {
  Buffer out(sizeof(AckHeader) + ranges.size() * sizeof(AckRange));
  store_le(out.data(), AckHeader{0, 0, next});
  for (size_t i = 0; i < ranges.size(); ++i) {
    store_le(out.data() + sizeof(AckHeader) + i * sizeof(AckRange), ranges[i]);
  }
  return out;
}

struct Path {
  double loss = 0, twice = 0;
  bool shuffled = false;
  std::mt19937 rng{7};

  bool lost() { return std::uniform_real_distribution<>(0, 1)(rng) < loss; }
  bool again() { return std::uniform_real_distribution<>(0, 1)(rng) < twice; }
};

// Milliseconds until the sender knows that all has arrived; 0: it never did.
uint64_t carry(CallSender& sender, CallReceiver& receiver, Path path, uint64_t most_ms) {
  Now now{1'000, 0};
  for (uint64_t ms = 1; ms <= most_ms; ++ms) {
    ++now.mono_ms;
    if (sender.deadline() <= now.mono_ms) sender.tick(now);
    std::vector<Buffer> flight;
    Buffer body;
    while (sender.next(now, body)) flight.push_back(body);
    if (path.shuffled) std::shuffle(flight.begin(), flight.end(), path.rng);
    for (const Buffer& f : flight) {
      if (!path.lost()) {
        EXPECT_TRUE(receiver.on_segment(f));
      }
      if (path.again()) {
        EXPECT_TRUE(receiver.on_segment(f));
      }
    }
    ++now.mono_ms;
    if (receiver.ack_due()) {
      const Buffer a = receiver.ack(false);
      if (!path.lost()) {
        EXPECT_TRUE(sender.on_ack(a, now));
      }
    }
    if (sender.done()) return ms;
  }
  return 0;
}

TEST(CallStream, EverySizeArrives) {
  for (const size_t n : {size_t{0}, size_t{1}, kSegmentData - 1, kSegmentData, kSegmentData + 1,
                         10 * kSegmentData, size_t{100'000}}) {
    const Buffer sent = pattern(n);
    CallSender sender(sent, 42);
    CallReceiver receiver(kMostMessage);
    EXPECT_GT(carry(sender, receiver, {}, 1'000), 0u) << n;
    ASSERT_TRUE(receiver.complete()) << n;
    EXPECT_EQ(receiver.status(), 42);
    EXPECT_EQ(receiver.take(), sent);
    EXPECT_EQ(sender.sent_again(), 0u);
  }
}

TEST(CallStream, LossDuplicationAndDisorder) {
  const Buffer sent = pattern(1u << 20);
  for (const Path& path :
       {Path{0.05, 0, false}, Path{0.3, 0.2, false}, Path{0, 0.5, true}, Path{0.2, 0.2, true}}) {
    CallSender sender(sent, 0);
    CallReceiver receiver(kMostMessage);
    EXPECT_GT(carry(sender, receiver, path, 300'000), 0u) << path.loss;
    ASSERT_TRUE(receiver.complete());
    EXPECT_EQ(receiver.take(), sent);
  }
}

TEST(CallStream, ALostLastAcknowledgementIsAskedForAgain) {
  CallSender sender(pattern(10), 0);
  CallReceiver receiver(kMostMessage);
  Now now{1'000, 0};
  Buffer body;
  ASSERT_TRUE(sender.next(now, body));
  EXPECT_FALSE(sender.next(now, body));
  ASSERT_TRUE(receiver.on_segment(body));
  receiver.ack(false);  // lost
  EXPECT_EQ(receiver.take(), pattern(10));
  now.mono_ms = sender.deadline();
  sender.tick(now);
  ASSERT_TRUE(sender.next(now, body));
  ASSERT_TRUE(receiver.on_segment(body));  // what was taken away is still acknowledged
  EXPECT_TRUE(receiver.ack_due());
  EXPECT_TRUE(sender.on_ack(receiver.ack(false), now));
  EXPECT_TRUE(sender.done());
}

// Nothing is acknowledged that was not sent, and nobody is believed who says so.
TEST(CallStream, SenderRefusesAcknowledgementsOfNothing) {
  CallSender sender(pattern(10 * kSegmentData), 0);
  const Now now{1'000, 0};
  EXPECT_TRUE(sender.on_ack(ack(0), now));
  EXPECT_FALSE(sender.on_ack(ack(1), now));
  Buffer body;
  ASSERT_TRUE(sender.next(now, body));
  EXPECT_FALSE(sender.on_ack(ack(kSegmentData + 1), now));
  EXPECT_FALSE(sender.on_ack(ack(0, {{0, 3 * kSegmentData}}), now));
  EXPECT_FALSE(sender.on_ack(ack(0, {{5, 5}}), now));
  EXPECT_FALSE(sender.on_ack(Buffer(6), now));
  EXPECT_FALSE(sender.on_ack(Buffer(8), now));
  EXPECT_FALSE(sender.on_ack(ack(0, std::vector<AckRange>(kMostAckRanges + 1, {0, 1})), now));
  EXPECT_FALSE(sender.done());
}

TEST(CallStream, ReceiverRefusesWhatContradictsItself) {
  const auto fresh = [] {
    CallReceiver r(1'000);
    EXPECT_TRUE(r.on_segment(segment(0, Buffer(10))));
    return r;
  };
  EXPECT_FALSE(fresh().on_segment(Buffer(6)));
  EXPECT_FALSE(fresh().on_segment(segment(10, {}))) << "neither bytes nor an end";
  EXPECT_FALSE(fresh().on_segment(segment(10, Buffer(1), false, 3))) << "a status before the end";
  EXPECT_FALSE(fresh().on_segment(segment(995, Buffer(6)))) << "larger than may be";
  EXPECT_FALSE(fresh().on_segment(segment(0xffffffff, Buffer(6))));
  EXPECT_FALSE(fresh().on_segment(segment(0, Buffer(5), true))) << "an end before what has come";
  Buffer bad = segment(10, Buffer(1));
  bad[0] = 2;
  EXPECT_FALSE(fresh().on_segment(bad));
  CallReceiver r = fresh();
  EXPECT_TRUE(r.on_segment(segment(20, Buffer(5), true, 1)));
  EXPECT_FALSE(r.on_segment(segment(20, Buffer(5), true, 2))) << "two statuses";
  EXPECT_FALSE(r.on_segment(segment(20, Buffer(6), true, 1))) << "two ends";
  EXPECT_FALSE(r.on_segment(segment(20, Buffer(6)))) << "bytes behind the end";
  EXPECT_FALSE(r.complete());
  EXPECT_TRUE(r.on_segment(segment(5, Buffer(15))));
  EXPECT_TRUE(r.complete());
  EXPECT_EQ(r.status(), 1);
}

TEST(CallStream, ReceiverIsBounded) {
  CallReceiver r(kMostMessage);
  EXPECT_TRUE(r.on_segment(segment(uint32_t(CallReceiver::kReach) + 1, Buffer(10))));
  EXPECT_EQ(r.held(), 0u) << "too far ahead to be kept";
  for (uint32_t i = 0; i < 3'000; ++i) ASSERT_TRUE(r.on_segment(segment(10 + 2 * i, Buffer(1))));
  EXPECT_LE(r.held(), 10 + 2 * CallReceiver::kMostRanges);
  EXPECT_EQ(r.ack(false).size(), sizeof(AckHeader) + kMostAckRanges * sizeof(AckRange));
}

// One that hears nothing sends a handful of packets, less and less often.
TEST(CallStream, SilenceSlowsTheSenderDown) {
  CallSender sender(pattern(1u << 20), 0);
  Now now{1'000, 0};
  size_t packets = 0;
  for (int ms = 0; ms < 20'000; ++ms, ++now.mono_ms) {
    if (sender.deadline() <= now.mono_ms) sender.tick(now);
    Buffer body;
    while (sender.next(now, body)) ++packets;
  }
  EXPECT_GT(packets, 16u);
  EXPECT_LT(packets, 80u);
}

}  // namespace
}  // namespace sluice::agent
