#include "agent/call_stream.h"

#include <algorithm>

namespace sluice::agent {
namespace {

constexpr double kFirstWindow = 16;
constexpr double kLeastWindow = 4;
constexpr double kMostWindow = 512;  // segments, half of a receiver's reach
constexpr uint32_t kReordering = 3;  // packets that may overtake one before it counts as lost
constexpr uint64_t kFirstTimeoutMs = 500;
constexpr uint64_t kLeastTimeoutMs = 200;
constexpr uint64_t kMostSilenceMs = 4'000;

}  // namespace

// --- Sending -----------------------------------------------------------------------------------

CallSender::CallSender(Buffer stream, uint16_t status)
    : stream_(std::move(stream)),
      status_(status),
      segments_(std::max<size_t>(1, (stream_.size() + kSegmentData - 1) / kSegmentData)),
      window_(kFirstWindow),
      threshold_(size_t(kMostWindow)) {}

size_t CallSender::end_of(size_t segment) const {
  return segment + 1 == segments_.size() ? stream_.size() + 1 : begin_of(segment + 1);
}

Buffer CallSender::body_of(size_t segment) const {
  const bool last = segment + 1 == segments_.size();
  const size_t begin = begin_of(segment);
  const size_t size = std::min(stream_.size() - begin, kSegmentData);
  Buffer body(sizeof(SegmentHeader) + size);
  store_le(body.data(), SegmentHeader{uint8_t(last ? 1 : 0), uint16_t(last ? status_ : 0),
                                      static_cast<uint32_t>(begin)});
  if (size > 0) std::memcpy(body.data() + sizeof(SegmentHeader), stream_.data() + begin, size);
  return body;
}

Buffer CallSender::first() const {
  return body_of(0);
}

bool CallSender::next(Now now, Buffer& body) {
  while (!lost_.empty() && segments_[lost_.front()].state != State::kLost) lost_.pop_front();
  if (double(flying_) >= window_) return false;
  size_t segment = fresh_;
  if (!lost_.empty()) {
    segment = lost_.front();
    lost_.pop_front();
  } else if (fresh_ < segments_.size()) {
    ++fresh_;
  } else {
    return false;
  }
  Segment& s = segments_[segment];
  again_ += s.times > 0 ? 1 : 0;
  if (s.times < 255) ++s.times;
  s.state = State::kFlying;
  s.order = order_++;
  s.sent_ms = now.mono_ms;
  if (flying_++ == 0) last_progress_ms_ = now.mono_ms;
  flights_.push_back({s.order, static_cast<uint32_t>(segment)});
  body = body_of(segment);
  return true;
}

void CallSender::arrived(size_t segment, Now now) {
  Segment& s = segments_[segment];
  if (s.state == State::kArrived || s.times == 0) return;
  if (s.state == State::kFlying) --flying_;
  highest_arrived_ = std::max(highest_arrived_, s.order + 1);
  // Of one that was repeated nobody knows which copy arrived (Karn); RFC 6298 otherwise.
  if (s.times == 1) {
    const uint64_t rtt = now.mono_ms - s.sent_ms;
    const uint64_t off = rtt > srtt_ms_ ? rtt - srtt_ms_ : srtt_ms_ - rtt;
    const bool first = srtt_ms_ == 0 && rttvar_ms_ == 0;
    rttvar_ms_ = first ? rtt / 2 : (3 * rttvar_ms_ + off) / 4;
    srtt_ms_ = first ? rtt : (7 * srtt_ms_ + rtt) / 8;
  }
  s.state = State::kArrived;
  window_ = std::min(kMostWindow, window_ + (window_ < double(threshold_) ? 1 : 1 / window_));
  timeouts_ = 0;
  last_progress_ms_ = now.mono_ms;
}

bool CallSender::on_ack(Bytes body, Now now) {
  if (body.size() < sizeof(AckHeader)) return false;
  const auto header = load_le<AckHeader>(body.data());
  const Bytes list = body.subspan(sizeof header);
  if (header.probe > 1 || header.zero != 0 || list.size() % sizeof(AckRange) != 0 ||
      list.size() / sizeof(AckRange) > kMostAckRanges) {
    return false;
  }
  // What was not sent cannot have arrived.
  const size_t most = fresh_ == 0 ? 0 : end_of(fresh_ - 1);
  if (header.next > most) return false;
  for (size_t i = base_; i < fresh_ && end_of(i) <= header.next; ++i) arrived(i, now);
  for (size_t at = 0; at < list.size(); at += sizeof(AckRange)) {
    const auto range = load_le<AckRange>(list.data() + at);
    if (range.begin >= range.end || range.end > most) return false;
    for (size_t i = (range.begin + kSegmentData - 1) / kSegmentData;
         i < fresh_ && end_of(i) <= range.end; ++i) {
      arrived(i, now);
    }
  }
  while (base_ < segments_.size() && segments_[base_].state == State::kArrived) ++base_;
  find_lost();
  return true;
}

void CallSender::lose(uint32_t segment) {
  segments_[segment].state = State::kLost;
  --flying_;
  lost_.push_back(segment);
}

void CallSender::slow_down(size_t window) {
  threshold_ = std::max(size_t(window_) / 2, size_t(kLeastWindow));
  window_ = double(window);
  recovered_at_ = order_;
}

void CallSender::find_lost() {
  while (!flights_.empty()) {
    const Flight f = flights_.front();
    const Segment& s = segments_[f.segment];
    const bool current = s.state == State::kFlying && s.order == f.order;
    if (current && f.order + kReordering >= highest_arrived_) return;
    flights_.pop_front();
    if (!current) continue;
    lose(f.segment);
    if (f.order >= recovered_at_) slow_down(std::max<size_t>(size_t(window_) / 2, 4));
  }
}

uint64_t CallSender::deadline() const {
  if (flying_ == 0) return kNever;
  const uint64_t measured = srtt_ms_ + 4 * rttvar_ms_;
  const bool known = srtt_ms_ != 0 || rttvar_ms_ != 0 || highest_arrived_ != 0;
  const uint64_t base = known ? std::max(measured, kLeastTimeoutMs) : kFirstTimeoutMs;
  return last_progress_ms_ + std::min(base << std::min(timeouts_, 5u), kMostSilenceMs);
}

void CallSender::tick(Now now) {
  if (now.mono_ms < deadline()) return;
  for (const Flight& f : flights_) {
    const Segment& s = segments_[f.segment];
    if (s.state == State::kFlying && s.order == f.order) lose(f.segment);
  }
  flights_.clear();
  ++timeouts_;
  slow_down(size_t(kLeastWindow));
  last_progress_ms_ = now.mono_ms;
}

// --- Receiving ---------------------------------------------------------------------------------

bool CallReceiver::on_segment(Bytes body) {
  if (body.size() < sizeof(SegmentHeader)) return false;
  const auto h = load_le<SegmentHeader>(body.data());
  const Bytes data = body.subspan(sizeof h);
  if (h.end > 1 || (h.end == 0 && (h.status != 0 || data.empty()))) return false;
  if (h.offset > limit_ || data.size() > limit_ - h.offset) return false;
  const auto end = static_cast<uint32_t>(h.offset + data.size());
  if (end_ && (h.end == 1 ? end != *end_ || h.status != status_ : end > *end_)) return false;
  if (h.end == 1 && bytes_.size() > end) return false;
  ack_due_ = true;
  // Its sender repeats what is not acknowledged.
  if (h.offset > next_ + kReach || ahead_.size() >= kMostRanges) return true;
  if (h.end == 1) {
    end_ = end;
    status_ = h.status;
  }
  const uint32_t covered = end + (h.end == 1 ? 1 : 0);
  if (covered <= next_) return true;
  if (bytes_.size() < end) bytes_.resize(end);
  if (!data.empty()) std::memcpy(bytes_.data() + h.offset, data.data(), data.size());
  add_range(h.offset, covered);
  return true;
}

void CallReceiver::add_range(uint32_t begin, uint32_t end) {
  auto it = ahead_.upper_bound(begin);
  if (it != ahead_.begin() && std::prev(it)->second >= begin) --it;
  while (it != ahead_.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    it = ahead_.erase(it);
  }
  if (begin <= next_) {
    next_ = std::max(next_, end);
  } else {
    ahead_[begin] = end;
  }
}

Buffer CallReceiver::ack(bool probe) {
  ack_due_ = false;
  const size_t ranges = std::min(ahead_.size(), kMostAckRanges);
  Buffer out(sizeof(AckHeader) + ranges * sizeof(AckRange));
  store_le(out.data(), AckHeader{uint8_t(probe ? 1 : 0), 0, next_});
  auto it = ahead_.begin();
  for (size_t i = 0; i < ranges; ++i, ++it) {
    store_le(out.data() + sizeof(AckHeader) + i * sizeof(AckRange),
             AckRange{it->first, it->second});
  }
  return out;
}

}  // namespace sluice::agent
