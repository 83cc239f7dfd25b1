// The streams of calls: long ones in both directions, readers that stop, many at once, peers that
// begin anew, and what a hostile peer can say on them.
#include <sys/time.h>
#include <time.h>

#include "agent_call_fixture.h"

extern "C" int gettimeofday(struct timeval* out, void*) {
  if (const uint64_t ms = sluice::agent::path_clock_ms) {
    *out = {time_t(ms / 1'000), suseconds_t(ms % 1'000 * 1'000)};
    return 0;
  }
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *out = {now.tv_sec, now.tv_nsec / 1'000};
  return 0;
}

namespace sluice::agent {
namespace {

using wire::FrameType;

// Writes what it has, reads when it may.
struct Stream final : CallUser {
  Buffer to_write, got;
  size_t written = 0;
  uint16_t end_with = 0;
  bool reads = true, ended = false;
  bool holds = false;   // never ends its own
  bool caller = false;  // others end their stream when they have read the other
  std::optional<uint16_t> read_end;
  CallEnd end = CallEnd::kNone;
  Call* own = nullptr;

  Stream() = default;
  ~Stream() override {
    if (own != nullptr && !ended) own->leave();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void on_room(Call& call) override {
    written += call.write(Bytes(to_write).subspan(written));
    maybe_end(call);
  }
  void maybe_end(Call& call) {
    if (holds) return;
    if (written == to_write.size() && (caller || call.read_all())) call.end_writing(end_with);
  }
  void on_bytes(Call& call) override {
    if (!reads) return;
    for (Bytes part = call.readable(); !part.empty(); part = call.readable()) {
      got.insert(got.end(), part.begin(), part.end());
      call.consume(part.size());
    }
    if (call.read_all()) read_end = call.read_status();
    maybe_end(call);
  }
  void on_end(Call& call) override {
    EXPECT_FALSE(ended) << "told twice";
    ended = true;
    end = call.ended_as();
  }
};

class CallStreamsTest : public CallPair {
 protected:
  CallStreamsTest() {
    b.user = [this](Call& call) { return &served[call.id()]; };
  }
  // Users outlive their calls.
  ~CallStreamsTest() override {
    a.calls.reset();
    b.calls.reset();
  }
  uint64_t open_stream(Stream& user, Buffer first = {}, bool whole = false) {
    return open_from(a, user, std::move(first), whole);
  }
  uint64_t open_from(Party& from, Stream& user, Buffer first = {}, bool whole = false) {
    CallRequest r;
    r.timeout_ms = kNever;
    r.data = std::move(first);
    r.user = &user;
    r.ended = whole;
    user.caller = true;
    const auto id = from.calls->open(from.edge, std::move(r), now);
    EXPECT_TRUE(id);
    user.own = from.calls->mine(id.value_or(0));
    return id.value_or(0);
  }
  std::map<uint64_t, Stream> served;
};

TEST_F(CallStreamsTest, LongStreamsBothWaysAtOnce) {
  Stream user;
  user.to_write = random_bytes_of(3'000'000);
  const Buffer response = random_bytes_of(2'000'000);
  b.user = [&](Call& call) {
    served[call.id()].to_write = response;
    return &served[call.id()];
  };
  const Buffer first = random_bytes_of(100'000);
  const uint64_t id = open_stream(user, first);
  ASSERT_TRUE(run_until(60'000, [&] { return user.ended; }));
  EXPECT_EQ(user.end, CallEnd::kDone);
  EXPECT_TRUE(user.got == response);
  Buffer sent = first;
  sent.insert(sent.end(), user.to_write.begin(), user.to_write.end());
  EXPECT_TRUE(served[id].got == sent);
  run(1'000);
  EXPECT_EQ(served[id].end, CallEnd::kDone);
  size_t longest = 0;
  for (const auto& [from, f] : seen) longest = std::max(longest, f.bytes.size());
  EXPECT_LE(longest, 1'300 + kMessageOverhead) << "what the path carries";
  EXPECT_GE(longest, 1'290 + kMessageOverhead);
  EXPECT_EQ(count(a, FrameType::kCallOpen), 1u);
  EXPECT_EQ(a.calls->mine(id)->bytes_sent(), sent.size());
}

TEST_F(CallStreamsTest, LossDisorderAndRepetitionChangeNoByte) {
  lose = [&](const Party&, const CarriedFrame&) {
    return std::uniform_real_distribution<>(0, 1)(rng) < 0.02;
  };
  shuffled = true;
  twice = 0.02;
  Stream user;
  user.to_write = random_bytes_of(500'000);
  const Buffer response = random_bytes_of(500'000);
  b.user = [&](Call& call) {
    served[call.id()].to_write = response;
    return &served[call.id()];
  };
  const uint64_t id = open_stream(user);
  ASSERT_TRUE(run_until(300'000, [&] { return user.ended; }));
  EXPECT_TRUE(user.got == response);
  EXPECT_TRUE(served[id].got == user.to_write);
}

// Nothing grows while nobody reads, and other calls go on.
TEST_F(CallStreamsTest, AReaderThatStopsHoldsItsOwnCallAlone) {
  Stream stuck, other;
  stuck.to_write = random_bytes_of(20'000'000);
  other.to_write = random_bytes_of(1'000'000);
  b.user = [&](Call& call) {
    Stream& s = served[call.id()];
    s.reads = served.size() > 1;
    return &s;
  };
  const uint64_t one = open_stream(stuck);
  run(2'000);
  const size_t before = stuck.written;
  EXPECT_LE(before, kFirstCredit + kMostQueued);
  const uint64_t two = open_stream(other);
  ASSERT_TRUE(run_until(60'000, [&] { return other.ended; }));
  EXPECT_TRUE(served[two].got == other.to_write);
  run(60'000);
  EXPECT_EQ(stuck.written, before);
  EXPECT_FALSE(stuck.ended) << "a peer that is slow is no peer that is gone";
  served[one].reads = true;
  served[one].on_bytes(*b.calls->from(b.edge.identity, one));
  ASSERT_TRUE(run_until(120'000, [&] { return stuck.ended; }));
  EXPECT_TRUE(served[one].got == stuck.to_write);
}

TEST_F(CallStreamsTest, ManyAtOnceShareStreamsAndTakeTurns) {
  std::deque<Stream> streams(3'000);
  for (Stream& s : streams) {
    s.to_write = random_bytes_of(2'000);
    open_stream(s);
  }
  ASSERT_TRUE(run_until(60'000, [&] {
    return std::all_of(streams.begin(), streams.end(), [](const Stream& s) { return s.ended; });
  }));
  for (const Stream& s : streams) EXPECT_EQ(s.end, CallEnd::kDone);
  EXPECT_EQ(served.size(), streams.size());
  EXPECT_EQ(a.calls->counters().dropped_frame + b.calls->counters().dropped_frame, 0u);
  // What has ended leaves its streams to others.
  Stream again;
  again.to_write = {1, 2, 3};
  const uint64_t id = open_stream(again);
  ASSERT_TRUE(run_until(10'000, [&] { return again.ended; }));
  EXPECT_TRUE(served[id].got == again.to_write);
}

// While nothing is open nothing is said, and the next call finds the association as it was.
TEST_F(CallStreamsTest, SilentWithoutACall) {
  Stream one, two;
  open_stream(one);
  ASSERT_TRUE(run_until(10'000, [&] { return one.ended; }));
  run(5'000);
  seen.clear();
  run(170'000);
  EXPECT_EQ(seen.size(), 0u);
  // The keys end to end are too old by now.
  two.to_write = random_bytes_of(50'000);
  const uint64_t id = open_stream(two);
  ASSERT_TRUE(run_until(10'000, [&] { return two.ended; }));
  EXPECT_TRUE(served[id].got == two.to_write);
}

// With an association the request does not wait for the answer to its envelope.
TEST_F(CallStreamsTest, TheFirstBytesFollowTheEnvelopeAtOnce) {
  Stream one, two;
  open_stream(one);
  ASSERT_TRUE(run_until(10'000, [&] { return one.ended; }));
  run(100);
  lose = [](const Party&, const CarriedFrame& f) { return f.is(FrameType::kCallAccept); };
  seen.clear();
  const uint64_t id = open_stream(two, random_bytes_of(1'000), true);
  settle();
  ASSERT_GE(seen.size(), 3u);
  EXPECT_TRUE(seen[0].second.is(FrameType::kCallOpen));
  EXPECT_TRUE(seen[1].second.is(FrameType::kCallData));
  EXPECT_EQ(seen[1].second.header.call_id, id);
  EXPECT_EQ(served[id].got.size(), 1'000u);
  EXPECT_TRUE(two.got.empty() && !two.ended) << "the callee's signature decides";
}

TEST_F(CallStreamsTest, BytesThatOvertakeTheEnvelopeAreKept) {
  Stream hold, one;
  hold.to_write = random_bytes_of(10);
  b.user = [&](Call& call) {
    Stream& s = served[call.id()];
    s.reads = served.size() > 1;
    return &s;
  };
  open_stream(hold);
  run(200);
  ASSERT_FALSE(hold.ended);
  std::optional<CarriedFrame> late;
  lose = [&](const Party&, const CarriedFrame& f) {
    if (!f.is(FrameType::kCallOpen) || late) return false;
    late = f;
    return true;
  };
  const uint64_t other = open_stream(one, random_bytes_of(2'500), true);
  settle();
  EXPECT_FALSE(served.contains(other));
  give(b, *late);
  ASSERT_TRUE(run_until(5'000, [&] { return one.ended; }));
  EXPECT_EQ(served[other].got.size(), 2'500u);
}

// Slow is not gone: what was acknowledged once may be followed after any pause.
TEST_F(CallStreamsTest, AWriterThatPausesGoesOn) {
  Stream user;
  b.user = [&](Call& call) { return &served[call.id()]; };
  CallRequest r;
  r.timeout_ms = kNever;
  r.data = random_bytes_of(100);
  struct Quiet final : CallUser {
    void on_bytes(Call&) override {}
    void on_room(Call&) override {}
    void on_end(Call&) override {}
  } quiet;
  r.user = &quiet;
  const auto id = a.calls->open(a.edge, std::move(r), now);
  ASSERT_TRUE(id);
  run(500);
  for (int i = 0; i < 3; ++i) {
    run(7'000);
    ASSERT_EQ(a.calls->mine(*id)->write(random_bytes_of(10)), 10u);
  }
  run(2'000);
  EXPECT_EQ(served[*id].got.size(), 130u);
  a.calls->mine(*id)->leave();
}

// The last acknowledgement has a call to travel in, so that the peer need not say all again.
TEST_F(CallPair, NothingIsRepeatedOnAPathThatLosesNothing) {
  for (int i = 0; i < 12; ++i) {
    const uint64_t before = now.mono_ms;
    const uint64_t id = open(a, random_bytes_of(2'500));
    ASSERT_TRUE(run_until(10'000, [&] { return ended(a, id); }));
    EXPECT_LE(now.mono_ms - before, 60u) << i;
    run(i % 3 == 0 ? 2'000 : 100);
  }
}

TEST_F(CallStreamsTest, APeerThatBeginsAnewResetsWhatHadBegun) {
  for (Party* who : {&a, &b}) {
    Party* other = who == &a ? &b : &a;
    Stream user;
    user.to_write = random_bytes_of(100'000);
    served.clear();
    Party& caller = *other;
    who->user = [&](Call& call) {
      served[call.id()].reads = false;
      return &served[call.id()];
    };
    open_from(caller, user);
    run(1'000);
    ASSERT_FALSE(user.ended);
    reset(*who, *other);
    ASSERT_TRUE(run_until(10'000, [&] { return user.ended; }));
    EXPECT_TRUE(user.end == CallEnd::kPeerClosed || user.end == CallEnd::kStreamReset);
    // And the next call works.
    Stream next;
    next.to_write = random_bytes_of(100'000);
    who->user = [&](Call& call) { return &served[call.id()]; };
    const uint64_t id = open_from(caller, next);
    ASSERT_TRUE(run_until(20'000, [&] { return next.ended; }));
    EXPECT_EQ(next.end, CallEnd::kDone);
    EXPECT_TRUE(served[id].got == next.to_write);
  }
}

// Whichever side it is that connects: the callee, which has an association with the daemon before,
// has nothing to say on it.
TEST_F(CallStreamsTest, ACallerThatBeginsAnewGetsThroughAtOnce) {
  for (Party* caller : {&a, &b}) {
    Party* callee = caller == &a ? &b : &a;
    served.clear();
    callee->user = [&](Call& call) { return &served[call.id()]; };
    Stream waits[2];
    for (Stream& s : waits) {
      s.to_write = random_bytes_of(100);
      served[open_from(*caller, s)].holds = true;
    }
    run(2'000);
    ASSERT_EQ(served.size(), 2u);
    for (auto& [id, s] : served) ASSERT_EQ(s.got.size(), 100u);
    for (Stream& s : waits) {
      ASSERT_FALSE(s.ended);
      s.own = nullptr;  // gone with its daemon
    }
    reset(*caller, *callee);
    Stream next;
    next.to_write = random_bytes_of(100);
    const uint64_t id = open_from(*caller, next);
    ASSERT_TRUE(run_until(2'000, [&] { return next.ended; }));
    EXPECT_EQ(next.end, CallEnd::kDone);
    EXPECT_TRUE(served[id].got == next.to_write);
    size_t over = 0;
    for (auto& [other, s] : served) over += other != id && s.ended;
    EXPECT_EQ(over, 2u) << "and calls of the one before are over";
  }
}

TEST_F(CallStreamsTest, CancelledByEitherSideInTheMiddle) {
  Stream one, two, three;
  one.to_write = two.to_write = three.to_write = random_bytes_of(5'000'000);
  b.user = [&](Call& call) {
    Stream& s = served[call.id()];
    s.reads = served.size() > 2;
    return &s;
  };
  const uint64_t first = open_stream(one);
  run(20);
  a.calls->mine(first)->leave();
  one.own = nullptr;
  settle();
  run(1'000);
  EXPECT_TRUE(served[first].ended);
  EXPECT_EQ(served[first].end, CallEnd::kCancelled);
  EXPECT_FALSE(one.ended) << "it left";

  const uint64_t second = open_stream(two);
  run(20);
  b.calls->from(b.edge.identity, second)->end(CallEnd::kFailed, 9);
  ASSERT_TRUE(run_until(10'000, [&] { return two.ended; }));
  EXPECT_EQ(two.end, CallEnd::kPeerClosed);
  // Their streams are whole again.
  const uint64_t third = open_stream(three);
  ASSERT_TRUE(run_until(60'000, [&] { return three.ended; }));
  EXPECT_TRUE(served[third].got == three.to_write);
}

TEST_F(CallStreamsTest, MoreThanTheCreditEndsTheCall) {
  Stream user;
  user.to_write = random_bytes_of(2'000'000);
  b.user = [&](Call& call) {
    served[call.id()].reads = false;
    return &served[call.id()];
  };
  const uint64_t id = open_stream(user);
  run(500);
  ASSERT_FALSE(user.ended);
  a.calls->mine(id)->out().allowed = 1u << 30;  // it does not care
  a.calls->mine(id)->consume(0);
  const Buffer more = random_bytes_of(10);
  a.calls->mine(id)->write(more);
  ASSERT_TRUE(run_until(10'000, [&] { return user.ended; }));
  EXPECT_EQ(served[id].end, CallEnd::kBadStream);
}

// Whatever a peer says inside the association: no crash, no other call's bytes.
TEST_F(CallStreamsTest, JunkInsideTheAssociation) {
  Stream user;
  b.user = [&](Call& call) {
    served[call.id()].reads = false;
    return &served[call.id()];
  };
  user.to_write = random_bytes_of(500);
  user.end_with = 0;
  const uint64_t id = open_stream(user);
  run(500);
  for (int i = 0; i < 20'000; ++i) {
    Buffer junk = random_bytes_of(rng() % 200);
    if (i % 4 != 0 && junk.size() >= 24) {
      // As if it were of the association: who it is from and to, ports of SCTP's common header.
      store_le(&junk[0], a.calls->run());
      store_le(&junk[4], i % 8 == 1 ? uint32_t{0} : b.calls->run());
      store_be16(&junk[8], 7480);
      store_be16(&junk[10], 7480);
      junk[20] = uint8_t(rng() % 16);
    }
    a.session->send_call(Carrier::call(id, 0), MessageKind::kPacket, junk, now);
    if (i % 100 == 0) settle();
  }
  run(2'000);
  Stream next;
  next.to_write = random_bytes_of(100'000);
  b.user = [&](Call& call) { return &served[call.id()]; };
  const uint64_t after = open_stream(next);
  ASSERT_TRUE(run_until(30'000, [&] { return next.ended; }));
  EXPECT_TRUE(served[after].got == next.to_write);
}

TEST(SeenCalls, AWindowOverIdsThatOvertakeEachOther) {
  SeenCalls w;
  const uint64_t base = 1'700'000'000'000ull << 20;
  EXPECT_FALSE(w.seen(base));
  w.note(base);
  EXPECT_TRUE(w.seen(base));
  EXPECT_FALSE(w.seen(base + 1));
  EXPECT_FALSE(w.seen(base - 1));
  w.note(base + 100);
  for (uint64_t i = 1; i < 100; ++i) EXPECT_FALSE(w.seen(base + i));
  w.note(base + 50);
  EXPECT_TRUE(w.seen(base + 50));
  EXPECT_FALSE(w.seen(base + 51));
  w.note(base + SeenCalls::kWindow);
  EXPECT_TRUE(w.seen(base)) << "before the window";
  EXPECT_TRUE(w.seen(base + 50));
  EXPECT_FALSE(w.seen(base + 51));
  w.note(base + 10 * SeenCalls::kWindow);
  EXPECT_TRUE(w.seen(base + 51));
  EXPECT_FALSE(w.seen(base + 10 * SeenCalls::kWindow - 1));
  // The model: whatever order, a set with the same window.
  std::mt19937_64 rng(5);
  SeenCalls v;
  std::set<uint64_t> noted;
  uint64_t highest = 0;
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t id = base + i + rng() % 20'000;
    const bool expected = !noted.empty() && (noted.contains(id) ||
                                             (id <= highest && highest - id >= SeenCalls::kWindow));
    ASSERT_EQ(v.seen(id), expected) << i;
    v.note(id);
    noted.insert(id);
    highest = std::max(highest, id);
  }
}

}  // namespace
}  // namespace sluice::agent
