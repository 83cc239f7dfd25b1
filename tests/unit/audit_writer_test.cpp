// The log's thread: what goes in by a ring comes out in order, and what cannot be written is said.
#include "audit/writer.h"

#include <chrono>
#include <deque>
#include <mutex>

#include "audit/log_files.h"
#include "audit_fixture.h"
#include "support/full_disk.h"

namespace sluice::audit {
namespace {

using namespace std::chrono_literals;

class AuditWriter : public AuditFolder {
 protected:
  std::unique_ptr<Writer> start(size_t slots = 1024, unsigned workers = 0,
                                const Retention& retention = {}, uint64_t known = 0) {
    auto log = open();
    EXPECT_TRUE(log) << error_;
    workers_.clear();
    std::vector<RecordRing*> rings;
    for (unsigned w = 0; w < workers; ++w) {
      rings.push_back(workers_.emplace_back(std::make_unique<RecordRing>(slots)).get());
    }
    return std::make_unique<Writer>(
        clock, std::move(log),
        WriterOptions{.folder = folder_,
                      .control_slots = slots,
                      .workers = std::move(rings),
                      .retention = retention,
                      .known_size = known,
                      .post =
                          [this](std::function<void()> f) {
                            const std::lock_guard guard(mutex_);
                            posted_.push_back(std::move(f));
                          },
                      .published = [this](const Checkpoint& c) { published_.push_back(c); }});
  }
  void serve() {
    std::deque<std::function<void()>> now;
    {
      const std::lock_guard guard(mutex_);
      now.swap(posted_);
    }
    for (auto& f : now) f();
  }
  bool until(const std::function<bool()>& done) {
    const auto limit = std::chrono::steady_clock::now() + 30s;
    while (!done()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      serve();
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  // More records, as fast as they are taken.
  void write(Writer& writer, uint64_t from, uint64_t to) {
    ASSERT_TRUE(until([&] {
      while (from < to && writer.control().has_room(1)) {
        EXPECT_TRUE(writer.control().put(numbered(from++)));
      }
      return from == to;
    }));
    ASSERT_TRUE(until([&] { return writer.status().published.size >= to; }));
  }
  // When it looks again, and some records have come meanwhile: the journal begins anew behind a
  // whole bundle.
  bool pruned_until(Writer& writer, const std::function<bool()>& done) {
    return until([&] {
      clock.advance_ms(10'001);
      // None that a busy disk's ring would lose.
      for (int i = 0; i < 20 && writer.control().has_room(1); ++i) {
        (void)writer.control().put(make_record({.kind = Kind::kAct, .time_ms = clock.unix_ms()}));
      }
      return done();
    });
  }
  // All records that are published.
  std::vector<Record> all() {
    std::vector<Record> out;
    const auto head = check({.record = [&](uint64_t, const Record& r) { out.push_back(r); }});
    EXPECT_TRUE(head) << head.error().message;
    return out;
  }

  Clock clock;
  std::vector<std::unique_ptr<RecordRing>> workers_;
  std::mutex mutex_;
  std::deque<std::function<void()>> posted_;
  std::vector<Checkpoint> published_;
};

TEST_F(AuditWriter, WritesInOrderPublishesAndCloses) {
  auto writer = start(64);
  uint64_t next = 0;
  ASSERT_TRUE(until([&] {
    while (next < 5000 && writer->control().has_room(1)) {
      EXPECT_TRUE(writer->control().put(numbered(next++)));
    }
    return next == 5000;
  }));
  ASSERT_TRUE(until([&] { return !published_.empty() && published_.back().size == 5000; }));
  EXPECT_EQ(writer->status().published.size, 5000u);
  EXPECT_EQ(writer->status().lost, 0u);
  EXPECT_EQ(writer->status().verifier, verifier().text());
  ASSERT_TRUE(writer->control().put(numbered(5000)));
  EXPECT_EQ(writer->stop().size, 5002u);
  EXPECT_EQ(writer->stop().size, 5002u);
  writer.reset();
  const auto records = all();
  ASSERT_EQ(records.size(), 5002u);
  for (uint64_t i = 0; i <= 5000; ++i) ASSERT_EQ(records[i], numbered(i)) << i;
  EXPECT_EQ(header_of(records.back()).kind, Kind::kClosed);
  EXPECT_FALSE(open()->opened().crashed);
}

TEST_F(AuditWriter, SaysWhatDidNotFit) {
  auto writer = start(16, 2);
  // More than the ring takes, while the thread is kept from taking any.
  std::atomic<bool> held{false}, release{false};
  writer->beside([&] {
    held = true;
    while (!release) std::this_thread::yield();
    return [] {};
  });
  ASSERT_TRUE(until([&] { return held.load(); }));
  unsigned refused = 0;
  for (uint64_t i = 0; i < 40; ++i) refused += workers_[1]->put(numbered(i)) ? 0 : 1;
  EXPECT_EQ(refused, 24u);
  release = true;
  ASSERT_TRUE(until([&] { return writer->status().published.size >= 17; }));
  EXPECT_EQ(writer->status().lost, 24u);
  writer.reset();
  const auto records = all();
  // Behind what had come before.
  for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(records[i], numbered(i));
  EXPECT_EQ(header_of(records[16]).kind, Kind::kGap);
  unsigned gaps = 0;
  for (const Record& r : records) {
    if (header_of(r).kind != Kind::kGap) continue;
    ++gaps;
    EXPECT_EQ(header_of(r).detail, uint8_t(Gap::kRingFull));
    EXPECT_EQ(load_le<uint64_t>(r.data() + 40), 24u);
  }
  EXPECT_EQ(gaps, 1u);
  EXPECT_EQ(records.size(), 16u + 1 + 1);
}

// By what the configuration keeps; never what the store has not heard of.
TEST_F(AuditWriter, WhatNeedNotStayGoes) {
  const Retention retention{0, 1000 * kBytesOnDisk};
  auto writer = start(1024, 0, retention, 700);
  write(*writer, 0, 3000);
  ASSERT_TRUE(pruned_until(*writer, [&] { return writer->status().first != 0; }));
  EXPECT_EQ(writer->status().first, 512u) << "700 records are known elsewhere: two bundles";
  EXPECT_EQ(journals_in(folder_).size(), 1u);
  writer->known(100'000);
  ASSERT_TRUE(pruned_until(*writer, [&] { return writer->status().first >= 2304; }));
  ASSERT_TRUE(until([&] { return !exists(file({0, writer->status().first / 256 - 1})); }));
  EXPECT_TRUE(exists(file({0, writer->status().first / 256})));
  uint64_t records = 0, said = 0;
  writer->stop();
  ASSERT_TRUE(check({.record = [&](uint64_t, const Record& r) {
    ++records;
    said += header_of(r).kind == Kind::kPruned ? 1 : 0;
  }}));
  EXPECT_GT(records, 1000u - 256 - 20);
  EXPECT_EQ(records, writer->status().published.size - writer->status().first);
  EXPECT_GE(said, 1u);
  EXPECT_EQ(writer->status().lost, 0u);
}

TEST_F(AuditWriter, WhatIsOlderThanItMayBeGoes) {
  auto writer = start(1024, 0, {3'600'000, 0}, 100'000);
  const auto at = [&](uint64_t ms) { return make_record({.kind = Kind::kAct, .time_ms = ms}); };
  const uint64_t now = clock.unix_ms();
  const auto put = [&](uint64_t records, uint64_t ms) {
    const uint64_t size = writer->status().size + records;
    for (uint64_t i = 0; i < records;) {
      if (writer->control().has_room(1)) i += writer->control().put(at(ms)) ? 1 : 0;
    }
    ASSERT_TRUE(until([&] { return writer->status().published.size >= size; }));
  };
  put(600, now - 3'700'000);
  put(600, now);
  ASSERT_TRUE(pruned_until(*writer, [&] { return writer->status().first != 0; }));
  EXPECT_EQ(writer->status().first, 512u) << "the third bundle holds some that are not";
  ASSERT_TRUE(until([&] { return !exists(file({std::nullopt, 1})); }));
  EXPECT_TRUE(exists(file({std::nullopt, 2})));
  ASSERT_TRUE(check()) << check().error().message;
}

// While one file cannot be removed, records go on.
TEST_F(AuditWriter, ARemovalThatFailsIsTriedAgain) {
  auto writer = start(1024, 0, {0, 1000 * kBytesOnDisk}, 100'000);
  write(*writer, 0, 2900);
  const std::string one = file({std::nullopt, 1});
  const std::string content = contents(one);
  std::filesystem::remove(one);
  std::filesystem::create_directory(one);
  ASSERT_TRUE(pruned_until(*writer, [&] {
    return writer->status().first != 0 && !exists(file({0, 0}));
  }));
  const uint64_t size = writer->status().published.size;
  write(*writer, 0, 300);
  ASSERT_TRUE(until([&] { return writer->status().published.size >= size + 300; }));
  EXPECT_TRUE(exists(file({std::nullopt, 2})));
  EXPECT_TRUE(writer->available());
  std::filesystem::remove(one);
  ASSERT_TRUE(until([&] {
    clock.advance_ms(10'001);
    return !exists(file({std::nullopt, 2}));
  }));
  writer.reset();
  ASSERT_TRUE(check()) << check().error().message;
}

TEST_F(AuditWriter, AFullDiskIsWaitedOut) {
  auto writer = start(64);
  ASSERT_TRUE(writer->control().put(numbered(0)));
  ASSERT_TRUE(until([&] { return writer->status().published.size == 1; }));
  {
    const rig::FullDisk full;
    ASSERT_TRUE(writer->control().put(numbered(1)));
    ASSERT_TRUE(until([&] { return !writer->available(); }));
    EXPECT_NE(writer->status().problem, "");
    unsigned refused = 0;
    for (uint64_t i = 2; i < 200; ++i) refused += writer->control().put(numbered(i)) ? 0 : 1;
    EXPECT_EQ(writer->status().published.size, 1u);
    EXPECT_GT(refused, 0u);
  }
  ASSERT_TRUE(until([&] { return writer->available() && writer->status().published.size > 60; }));
  EXPECT_EQ(writer->status().problem, "");
  const uint64_t lost = writer->status().lost;
  writer.reset();
  // In order; the gap says exactly how many are missing.
  const auto records = all();
  uint64_t next = 0, missing = 0;
  for (const Record& r : records) {
    if (header_of(r).kind == Kind::kGap) {
      EXPECT_EQ(header_of(r).detail, uint8_t(Gap::kUnwritable));
      missing += load_le<uint64_t>(r.data() + 40);
    }
    if (header_of(r).kind == Kind::kHandshakes) {
      EXPECT_EQ(r, numbered(next++));
    }
  }
  EXPECT_EQ(missing, lost);
  EXPECT_EQ(next + missing, 200u);
}

TEST_F(AuditWriter, ACrashIsSaid) {
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 3)));
    ASSERT_TRUE(log->sync());
  }
  auto writer = start();
  ASSERT_TRUE(until([&] { return writer->status().published.size == 4; }));
  writer.reset();
  const auto records = all();
  ASSERT_EQ(records.size(), 5u);
  EXPECT_EQ(header_of(records[3]).kind, Kind::kGap);
  EXPECT_EQ(header_of(records[3]).detail, uint8_t(Gap::kCrash));
  EXPECT_EQ(load_le<uint64_t>(records[3].data() + 32), header_of(numbered(2)).time_ms);
}

// Control hands over the feed again whenever it is not sure.
TEST_F(AuditWriter, AChangeIsWrittenOnce) {
  auto writer = start();
  const auto change = [](uint64_t n) {
    return record_of(Change{.sequence = n, .at_ms = n, .actor = "config", .kind = "tenant_added"});
  };
  for (const uint64_t n : {1u, 2u, 2u, 1u, 3u, 2u, 4u}) {
    ASSERT_TRUE(writer->control().put(change(n)));
  }
  ASSERT_TRUE(until([&] { return writer->last_change() == 4; }));
  ASSERT_TRUE(writer->control().put(change(3)));
  writer.reset();
  const auto records = all();
  ASSERT_EQ(records.size(), 5u);
  for (uint64_t n = 1; n <= 4; ++n) EXPECT_EQ(records[n - 1], change(n));
}

TEST_F(AuditWriter, ACheckpointThatCannotBeWrittenIsWrittenLater) {
  auto writer = start();
  ASSERT_TRUE(writer->control().put(numbered(0)));
  ASSERT_TRUE(until([&] { return writer->status().published.size == 1; }));
  // A checkpoint cannot be put in the place of a folder.
  std::filesystem::remove(checkpoint_path(folder_));
  std::filesystem::create_directories(checkpoint_path(folder_) + "/x");
  ASSERT_TRUE(writer->control().put(numbered(1)));
  ASSERT_TRUE(until([&] { return !writer->available(); }));
  EXPECT_NE(writer->status().problem, "");
  std::filesystem::remove_all(checkpoint_path(folder_));
  ASSERT_TRUE(until([&] { return writer->available() && writer->status().published.size == 2; }));
  EXPECT_EQ(writer->reopened(), 1u);
  EXPECT_EQ(writer->status().problem, "");
  // From here on changes wait for control to begin again where the log ends.
  const auto change = [](uint64_t n) {
    return record_of(Change{.sequence = n, .at_ms = n, .actor = "config", .kind = "tenant_added"});
  };
  ASSERT_TRUE(writer->control().put(change(7)));
  ASSERT_TRUE(writer->control().put(Writer::resumption(0)));
  ASSERT_TRUE(writer->control().put(change(8)));
  ASSERT_TRUE(writer->control().put(Writer::resumption(1)));
  ASSERT_TRUE(writer->control().put(change(1)));
  ASSERT_TRUE(writer->control().put(change(2)));
  ASSERT_TRUE(until([&] { return writer->last_change() == 2; }));
  writer.reset();
  const auto records = all();
  ASSERT_EQ(records.size(), 5u);
  EXPECT_EQ(records[1], numbered(1));
  EXPECT_EQ(records[2], change(1));
  EXPECT_EQ(records[3], change(2));
  EXPECT_EQ(header_of(records[4]).kind, Kind::kClosed);
}

// In the place of the log that it was, no other is taken up while it runs.
TEST_F(AuditWriter, AnotherLogIsNotTakenUp) {
  auto writer = start();
  ASSERT_TRUE(writer->control().put(numbered(0)));
  ASSERT_TRUE(until([&] { return writer->status().published.size == 1; }));
  std::filesystem::rename(folder_, folder_ + ".away");
  ASSERT_TRUE(writer->control().put(numbered(1)));
  ASSERT_TRUE(until([&] {
    return !writer->available() &&
           writer->status().problem.find("there was one") != std::string::npos;
  }));
  EXPECT_FALSE(std::filesystem::exists(folder_)) << "none is made";
  std::filesystem::rename(folder_ + ".away", folder_);
  ASSERT_TRUE(until([&] { return writer->available() && writer->status().published.size == 2; }));
  writer.reset();
  EXPECT_EQ(all().size(), 2u);
  EXPECT_TRUE(open()->opened().crashed)
      << "the feed was not read since: it does not say that it is whole";
}

TEST_F(AuditWriter, StoppedOnAFullDiskItDoesNotSayThatAllIsThere) {
  auto writer = start(64);
  ASSERT_TRUE(writer->control().put(numbered(0)));
  ASSERT_TRUE(until([&] { return writer->status().published.size == 1; }));
  {
    const rig::FullDisk full;
    for (uint64_t i = 1; i < 30; ++i) ASSERT_TRUE(writer->control().put(numbered(i)));
    ASSERT_TRUE(until([&] { return !writer->available(); }));
    writer.reset();
  }
  EXPECT_TRUE(open()->opened().crashed);
  // With room again in the last moment everything is written.
  writer = start(64);
  {
    const rig::FullDisk full;
    for (uint64_t i = 1; i < 30; ++i) ASSERT_TRUE(writer->control().put(numbered(i)));
    ASSERT_TRUE(until([&] { return !writer->available(); }));
    for (uint64_t i = 30; i < 60; ++i) ASSERT_TRUE(writer->control().put(numbered(i)));
  }
  writer.reset();
  const auto records = all();
  ASSERT_EQ(records.size(), 1u + 1 + 59 + 1);
  EXPECT_EQ(header_of(records[1]).detail, uint8_t(Gap::kCrash));
  EXPECT_EQ(records[60], numbered(59));
  EXPECT_FALSE(open()->opened().crashed);
}

}  // namespace
}  // namespace sluice::audit
