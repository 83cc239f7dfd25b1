// One message of a call, in pieces, over an end-to-end session that loses, repeats and reorders
// (docs/protocol.md §7): a sender that cuts, repeats and paces it, a receiver that puts it together
// and acknowledges. Narrow on purpose: streams with more than one message belong to another layer,
// which replaces this file. No I/O and no clock. One thread, owned by a Call.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "agent/now.h"
#include "base/bytes.h"

namespace sluice::agent {

inline constexpr size_t kMostMessage = 16u << 20;
// What stands before a request's bytes in its stream: the key of the envelope's commitment.
inline constexpr size_t kCommitmentKey = 32;
inline constexpr size_t kMostStream = kMostMessage + kCommitmentKey;
// A packet with one is at most 1,280 bytes, the smallest MTU of any port, so no path is asked.
inline constexpr size_t kSegmentData = 1'120;

#pragma pack(push, 1)
struct SegmentHeader {  // behind the kind
  uint8_t end;          // 1: the stream ends with these bytes
  uint16_t status;      // with that; else 0
  uint32_t offset;
};
struct AckHeader {
  uint8_t probe;  // 1: answer with an ack of your own
  uint16_t zero;
  uint32_t next;  // of the stream, whose end counts as one more byte: all before it has arrived
};
struct AckRange {  // begin < end, of what arrived beyond `next`
  uint32_t begin;
  uint32_t end;
};
#pragma pack(pop)
static_assert(sizeof(SegmentHeader) == 7 && sizeof(AckHeader) == 7 && sizeof(AckRange) == 8);
inline constexpr size_t kMostAckRanges = 64;

class CallSender {
 public:
  CallSender(Buffer stream, uint16_t status);

  // What follows the kind in the first segment, as it is sent every time.
  Buffer first() const;
  // The next segment to leave now; false: none may.
  bool next(Now now, Buffer& body);
  // False: not an acknowledgement of this stream.
  bool on_ack(Bytes body, Now now);
  void tick(Now now);
  uint64_t deadline() const;  // mono_ms
  bool done() const { return base_ == segments_.size(); }
  uint64_t sent_again() const { return again_; }
  size_t size() const { return stream_.size(); }

 private:
  enum class State : uint8_t { kWaiting, kFlying, kLost, kArrived };
  struct Segment {
    State state = State::kWaiting;
    uint8_t times = 0;  // sent, up to 255
    uint32_t order = 0;
    uint64_t sent_ms = 0;
  };
  struct Flight {
    uint32_t order;
    uint32_t segment;
  };
  size_t begin_of(size_t segment) const { return segment * kSegmentData; }
  size_t end_of(size_t segment) const;  // the end mark included
  Buffer body_of(size_t segment) const;
  void arrived(size_t segment, Now now);
  void find_lost();
  void lose(uint32_t segment);
  void slow_down(size_t window);

  Buffer stream_;
  uint16_t status_;
  std::vector<Segment> segments_;
  size_t base_ = 0;   // the first that has not arrived
  size_t fresh_ = 0;  // the first that was never sent
  std::deque<uint32_t> lost_;
  std::deque<Flight> flights_;  // in the order they left
  size_t flying_ = 0;
  uint32_t order_ = 0;
  uint32_t highest_arrived_ = 0;  // order + 1
  uint32_t recovered_at_ = 0;     // losses of what left before count once
  double window_;
  size_t threshold_;
  uint64_t srtt_ms_ = 0, rttvar_ms_ = 0;
  unsigned timeouts_ = 0;  // in a row
  uint64_t last_progress_ms_ = 0;
  uint64_t again_ = 0;
};

class CallReceiver {
 public:
  // How far ahead of what is whole a piece may be.
  static constexpr size_t kReach = 2u << 20;
  static constexpr size_t kMostRanges = 1'024;

  explicit CallReceiver(size_t limit) : limit_(limit) {}

  // False: the segment contradicts itself or what came before, or is larger than may be.
  bool on_segment(Bytes body);
  // To be sent soon; `body` is what follows the kind.
  bool ack_due() const { return ack_due_; }
  void ask_for_ack() { ack_due_ = true; }
  Buffer ack(bool probe);

  bool complete() const { return end_ && next_ == *end_ + 1; }
  uint16_t status() const { return status_; }  // once complete
  size_t held() const { return bytes_.size(); }
  Buffer take() { return std::move(bytes_); }

 private:
  void add_range(uint32_t begin, uint32_t end);

  size_t limit_;
  Buffer bytes_;
  uint32_t next_ = 0;
  std::map<uint32_t, uint32_t> ahead_;  // begin → end
  std::optional<uint32_t> end_;         // size of the stream
  uint16_t status_ = 0;
  bool ack_due_ = false;
};

}  // namespace sluice::agent
