// The log's own thread: takes records out of rings, appends them, syncs ten times a second and
// publishes once a second. What it cannot write waits in the rings; what does not fit there is
// counted, and the log says so (a gap record, after what came before the loss) as soon as it can be
// written again. What need not be kept it removes, a few files at a time between records. It never
// ends by itself: a log that breaks is opened again, ever less often, until
// that succeeds; and only the very log that it was.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "audit/log.h"
#include "audit/retention.h"
#include "base/clock.h"
#include "base/spsc_ring.h"

namespace sluice::audit {

using RecordRing = SpscRing<Record>;

struct WriterOptions {
  std::string folder;
  size_t control_slots = 8192;
  // Filled by one worker each; they outlive the writer, and what is in them is taken at a stop.
  std::vector<RecordRing*> workers;
  // Gets a copy of what came from the workers; outlives the writer. Null: nobody wants it.
  RecordRing* shown = nullptr;
  std::vector<unsigned> cores;  // where the thread may run; empty: as its maker
  Retention retention;
  // Of the log's size, as it is known elsewhere: by that it is recognised at the next start. What
  // this takes is not pruned.
  uint64_t known_size = 0;
  // Hands a closure to the control thread and never runs it in place; outlives the writer.
  std::function<void(std::function<void()>)> post;
  std::function<void(const Checkpoint&)> published;  // through `post`
};

struct WriterStatus {
  bool available = true;
  std::string problem;  // why it cannot write
  Checkpoint published;
  uint64_t size = 0;
  uint64_t first = 0;  // the records before it are gone
  uint64_t lost = 0;   // records that were never written
  uint64_t free_bytes = 0;
  uint64_t written_bytes = 0;  // that the disk lost to it since the start, journal apart
  std::string verifier;
};

class Writer {
 public:
  // `log` has been opened; a stop before this one that was none is recorded first.
  Writer(const Clock& clock, std::unique_ptr<Log> log, WriterOptions options);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Writes what is in the rings, says that it stopped, publishes; what was published last.
  Checkpoint stop();

  RecordRing& control() { return control_; }

  // Whether records can be written. Any thread.
  bool available() const noexcept { return available_.load(std::memory_order_relaxed); }
  // The feed's last entry that is appended. Any thread.
  uint64_t last_change() const noexcept { return last_change_.load(std::memory_order_acquire); }
  // How often a broken log was opened again. It may have lost entries of the feed: from then on
  // changes are dropped until a `resumption` of that number comes by the control ring, with those
  // after last_change() behind it. Any thread.
  uint64_t reopened() const noexcept { return reopened_.load(std::memory_order_acquire); }
  static Record resumption(uint64_t reopened);

  WriterStatus status() const;

  // The log's size is known elsewhere now. Any thread.
  void known(uint64_t size) noexcept { known_.store(size, std::memory_order_relaxed); }

  // Whose time is measured.
  pthread_t thread() { return thread_.native_handle(); }

  // Runs on the writer's thread, which waits for the disk anyway; what it returns goes through
  // `post`.
  void beside(std::function<std::function<void()>()> work);

 private:
  using Ticks = uint64_t;
  void run();
  bool round();
  void finish();
  size_t collect();
  void say_what_was_lost(uint64_t lost, bool drained);
  void drop_known_changes();
  bool write();
  void written_again();
  void keep_time();
  bool retain();
  void prune(const Cut& cut);
  uint64_t lost() const;
  void reopen();
  void failed(const Error& why);
  void set_status();

  const Clock& clock_;
  const WriterOptions options_;
  std::unique_ptr<Log> log_;  // null: broken
  RecordRing control_;
  std::vector<RecordRing*> rings_;  // workers', then control's
  std::vector<Record> batch_;       // taken out, not yet appended
  size_t first_ring_ = 0;           // of the workers', where the last look began
  uint64_t lost_told_ = 0;
  uint64_t appended_ = 0;         // the log's size, as far as this thread knows
  uint64_t outage_since_ms_ = 0;  // 0: there is none
  bool changes_resumed_ = true;
  bool rewrite_ = false;   // a sync failed, and no log was opened since
  uint64_t consumed_ = 0;  // records taken out of rings
  uint64_t gap_due_ = 0;   // what was in the rings at a loss has come by then; 0: no loss is open
  bool unsynced_ = false;
  bool recent_ = false;  // something came in the last round
  Ticks synced_at_ = 0, published_at_ = 0, tried_at_ = 0;
  Ticks retained_at_ = 0;
  std::string kept_back_;  // why nothing is removed; empty: nothing keeps it from that
  uint64_t retry_ms_ = 0;
  Verifier verifier_;
  Checkpoint published_;
  uint64_t start_size_ = 0;

  std::atomic<uint64_t> known_;
  std::atomic<bool> available_{true};
  std::atomic<uint64_t> last_change_{0};
  std::atomic<uint64_t> reopened_{0};
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  WriterStatus status_;
  std::deque<std::function<std::function<void()>()>> asked_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sluice::audit
