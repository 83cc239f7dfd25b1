#include "audit/writer.h"

#include <sched.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/thread.h"

namespace sluice::audit {
namespace {

constexpr size_t kBatch = Journal::kMostInBatch;
constexpr auto kPause = std::chrono::milliseconds(5);
constexpr auto kIdlePause = std::chrono::milliseconds(20);  // a ring holds what comes in that time
constexpr uint64_t kSyncMs = 100;
constexpr uint64_t kPublishMs = 1000;
constexpr uint64_t kRetryMs = 1000;
constexpr uint64_t kLongestRetryMs = 30'000;
constexpr auto kResumption = static_cast<Kind>(0);  // never in a log
constexpr uint64_t kRetainMs = 10'000;
// Removed in one round, and thus twice what a round of a million records a second adds.
constexpr unsigned kBundlesAtOnce = 2 * kBatch / kTileWidth;
// Said by one record: more than a million records a second need, and soon removed.
constexpr uint64_t kMostPruned = 65536 * uint64_t{kTileWidth};

}  // namespace

Writer::Writer(const Clock& clock, std::unique_ptr<Log> log, WriterOptions options)
    : clock_(clock),
      options_(std::move(options)),
      log_(std::move(log)),
      control_(options_.control_slots),
      known_(options_.known_size) {
  rings_ = options_.workers;
  rings_.push_back(&control_);
  lost_told_ = lost();  // of before, in rings that were there
  verifier_ = log_->verifier();
  published_ = log_->published();
  appended_ = start_size_ = log_->size();
  last_change_ = log_->last_change().sequence;
  if (log_->opened().crashed) {
    batch_.push_back(gap_record(Gap::kCrash, clock_.unix_ms(), log_->opened().last_ms, 0));
  }
  set_status();
  synced_at_ = published_at_ = clock_.ticks();
  thread_ = start_thread("audit", [this] { run(); });
  if (options_.cores.empty()) return;
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (const unsigned c : options_.cores) CPU_SET(c, &cores);
  pthread_setaffinity_np(thread_.native_handle(), sizeof cores, &cores);
}

Writer::~Writer() {
  stop();
}

Checkpoint Writer::stop() {
  if (!thread_.joinable()) return status().published;
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  return status().published;
}

WriterStatus Writer::status() const {
  const std::lock_guard guard(mutex_);
  return status_;
}

Record Writer::resumption(uint64_t reopened) {
  Record r = make_record({.kind = kResumption});
  store_le(r.data() + 32, reopened);
  return r;
}

void Writer::beside(std::function<std::function<void()>()> work) {
  {
    const std::lock_guard guard(mutex_);
    asked_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void Writer::run() {
  for (bool busy = false;;) {
    std::function<std::function<void()>()> work;
    {
      std::unique_lock guard(mutex_);
      if (!busy && asked_.empty() && !stopping_) {
        wake_.wait_for(guard, recent_ ? kPause : kIdlePause,
                       [this] { return stopping_ || !asked_.empty(); });
      }
      if (stopping_) break;
      // One at a time: who reads does not keep others' records from the disk.
      if (!asked_.empty()) {
        work = std::move(asked_.front());
        asked_.pop_front();
      }
    }
    if (work) options_.post(work());
    recent_ = busy;
    busy = round();
    keep_time();
    busy = retain() || busy;
  }
  finish();
}

// True where there may be more.
bool Writer::round() {
  if (!log_) {
    if (clock_.ticks() - tried_at_ < clock_.ticks_from_ms(retry_ms_)) return false;
    reopen();
    if (!log_) return false;
  }
  // A disk that was full is asked again now and then, not in a loop.
  if (!available() && clock_.ticks() - tried_at_ < clock_.ticks_from_ms(kSyncMs)) return false;
  const uint64_t lost_by_now = lost();
  const size_t taken = collect();
  say_what_was_lost(lost_by_now, batch_.size() < kBatch);
  return write() && taken != 0;
}

// All that can still be written is; only then does the log say that it is complete.
void Writer::finish() {
  if (!log_) reopen();
  while (log_) {
    const uint64_t lost_by_now = lost();
    const size_t taken = collect();
    say_what_was_lost(lost_by_now, batch_.size() < kBatch);
    if (!write() || (taken == 0 && batch_.empty())) break;
  }
  Result<void> ok = log_ ? Result<void>() : fail(ErrorCode::kStore, status().problem);
  if (ok && !batch_.empty()) ok = fail(ErrorCode::kStore, status().problem);
  if (ok && !changes_resumed_) {
    ok = fail(ErrorCode::kStore, "it was opened again, and the feed was not read since");
  }
  if (ok) {
    const Record closed = make_record({.kind = Kind::kClosed, .time_ms = clock_.unix_ms()});
    size_t taken = 0;
    ok = log_->append(std::span(&closed, 1), taken);
  }
  if (ok) ok = log_->close();
  if (!ok) spdlog::error("the audit log ends without its last records: {}", ok.error().message);
  set_status();
}

uint64_t Writer::lost() const {
  uint64_t out = 0;
  for (const auto& ring : rings_) out += ring->lost();
  return out;
}

size_t Writer::collect() {
  size_t all = 0;
  // Control's first: few, and what weighs most. The workers' in turn.
  for (size_t i = 0; i < rings_.size() && batch_.size() < kBatch; ++i) {
    const size_t workers = rings_.size() - 1;
    RecordRing* ring = i == 0 ? rings_.back() : rings_[(first_ring_ + i) % workers];
    const size_t before = batch_.size();
    batch_.resize(kBatch);
    const size_t n = ring->take(std::span(batch_).subspan(before));
    batch_.resize(before + n);
    for (size_t k = before; i != 0 && options_.shown != nullptr && k < batch_.size(); ++k) {
      (void)options_.shown->put(batch_[k]);
    }
    all += n;
  }
  ++first_ring_;
  consumed_ += all;
  return all;
}

// Behind what was in the rings when these were lost.
void Writer::say_what_was_lost(uint64_t lost, bool drained) {
  if (lost == lost_told_) return;
  if (gap_due_ == 0) {
    gap_due_ = consumed_;
    for (const RecordRing* ring : rings_) gap_due_ += ring->slots();
  }
  if (!drained && consumed_ < gap_due_) return;
  gap_due_ = 0;
  const uint64_t now = clock_.unix_ms();
  const bool outage = outage_since_ms_ != 0;
  batch_.push_back(gap_record(outage ? Gap::kUnwritable : Gap::kRingFull, now,
                              outage ? outage_since_ms_ : now, lost - lost_told_));
  lost_told_ = lost;
  if (available()) outage_since_ms_ = 0;
}

// Control hands over the feed again from where the log ends, which it may not know yet.
void Writer::drop_known_changes() {
  uint64_t last = log_->last_change().sequence;
  std::erase_if(batch_, [&](const Record& r) {
    const Kind kind = header_of(r).kind;
    if (kind == kResumption) {
      changes_resumed_ = load_le<uint64_t>(r.data() + 32) == reopened();
      return true;
    }
    if (kind != Kind::kChange) return false;
    if (!changes_resumed_ || sequence_of(r) <= last) return true;
    last = sequence_of(r);
    return false;
  });
}

bool Writer::write() {
  drop_known_changes();
  if (batch_.empty()) {
    written_again();
    return true;
  }
  size_t taken = 0;
  const auto ok = log_->append(batch_, taken);
  batch_.erase(batch_.begin(), batch_.begin() + static_cast<ptrdiff_t>(taken));
  appended_ += taken;
  unsynced_ = unsynced_ || taken != 0;
  last_change_.store(log_->last_change().sequence, std::memory_order_release);
  if (!ok) {
    failed(ok.error());
    return false;
  }
  written_again();
  return true;
}

void Writer::written_again() {
  if (available()) return;
  spdlog::info("the audit log is written again");
  if (lost() == lost_told_) outage_since_ms_ = 0;  // else it is said with the gap
  retry_ms_ = 0;
  available_.store(true, std::memory_order_relaxed);
  set_status();
}

void Writer::keep_time() {
  const uint64_t now = clock_.ticks();
  if (!log_) return;
  if (unsynced_ && now - synced_at_ >= clock_.ticks_from_ms(kSyncMs)) {
    synced_at_ = now;
    unsynced_ = false;
    if (auto ok = log_->sync(); !ok) return failed(ok.error());
  }
  if (now - published_at_ < clock_.ticks_from_ms(kPublishMs)) return;
  published_at_ = now;
  if (auto ok = log_->publish(); !ok) return failed(ok.error());
  const bool news = log_->published() != published_;
  published_ = log_->published();
  set_status();
  if (!news || !options_.published) return;
  options_.post([f = options_.published, c = published_] { f(c); });
}

// True while there is more to remove.
bool Writer::retain() {
  const uint64_t now = clock_.ticks();
  const bool due = retained_at_ == 0 || now - retained_at_ >= clock_.ticks_from_ms(kRetainMs);
  if (!log_ || (!due && !(log_->removing() && kept_back_.empty()))) return false;
  Result<void> ok;
  if (log_->removing()) {
    ok = log_->remove_some(kBundlesAtOnce);
  } else if (available() && options_.retention.bounded()) {
    retained_at_ = now;
    FolderSource source(options_.folder);
    const auto cut = wanted_cut(source, options_.retention, log_->first(), log_->published().size,
                                clock_.unix_ms());
    if (!cut) ok = tl::unexpected(cut.error());
    if (cut && *cut) prune(**cut);
  }
  if (ok) {
    kept_back_.clear();
    return log_ && log_->removing();
  }
  retained_at_ = now;
  if (kept_back_ != ok.error().message) {
    kept_back_ = ok.error().message;
    spdlog::warn("the audit log cannot be pruned: {}", kept_back_);
  }
  return false;
}

void Writer::prune(const Cut& cut) {
  if (cut.to > log_->journal_base()) {
    if (auto ok = log_->rotate_soon(); !ok) return failed(ok.error());
  }
  const uint64_t known = known_.load(std::memory_order_relaxed) / kTileWidth * kTileWidth;
  const uint64_t to = std::min({cut.to, log_->prunable(), known, log_->first() + kMostPruned});
  if (to <= log_->first()) return;
  const auto ok = log_->prune(cut.why, to, cut.limit, clock_.unix_ms());
  appended_ = log_->size();
  if (!ok) return failed(ok.error());
  spdlog::debug("audit records before {} are pruned, by {}", to,
                cut.why == Prune::kAge ? "audit.keep_for" : "audit.keep_bytes");
  set_status();
}

void Writer::failed(const Error& why) {
  tried_at_ = clock_.ticks();
  if (available()) spdlog::error("the audit log cannot be written: {}", why.message);
  if (outage_since_ms_ == 0) outage_since_ms_ = clock_.unix_ms();
  available_.store(false, std::memory_order_relaxed);
  if (log_->broken()) {
    published_ = log_->published();
    rewrite_ = rewrite_ || log_->sync_failed();
    retry_ms_ = std::clamp<uint64_t>(2 * retry_ms_, kRetryMs, kLongestRetryMs);
    log_.reset();
  }
  set_status();
  const std::lock_guard guard(mutex_);
  status_.problem = why.message;
}

void Writer::reopen() {
  tried_at_ = clock_.ticks();
  const Expected same{.verifier = verifier_,
                      .kept = Expected::Kept{published_.size, published_.root},
                      .judge = {},
                      .rewrite_journal = rewrite_};
  auto log = Log::open(options_.folder, verifier_.origin, same);
  // It can be written when it can be published.
  auto ok = log ? (*log)->publish() : Result<void>(tl::unexpected(log.error()));
  if (!ok) {
    retry_ms_ = std::clamp<uint64_t>(2 * retry_ms_, kRetryMs, kLongestRetryMs);
    const std::lock_guard guard(mutex_);
    status_.problem = ok.error().message;
    return;
  }
  log_ = std::move(*log);
  rewrite_ = false;
  published_ = log_->published();
  // What was appended and not yet synced may have gone.
  if (log_->size() < appended_) {
    batch_.insert(batch_.begin(), gap_record(Gap::kUnwritable, clock_.unix_ms(), outage_since_ms_,
                                             appended_ - log_->size()));
  }
  appended_ = log_->size();
  changes_resumed_ = false;
  last_change_.store(log_->last_change().sequence, std::memory_order_release);
  reopened_.fetch_add(1, std::memory_order_release);
}

void Writer::set_status() {
  struct statvfs disk {};
  const bool known = statvfs(options_.folder.c_str(), &disk) == 0;
  const std::lock_guard guard(mutex_);
  status_.available = available();
  if (status_.available) status_.problem.clear();
  status_.lost = lost();
  if (known) status_.free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  status_.verifier = verifier_.text();
  if (!log_) return;
  status_.published = log_->published();
  status_.size = log_->size();
  status_.first = log_->first();
  status_.written_bytes = (log_->size() - std::min(log_->size(), start_size_)) * kBytesOnDisk;
}

}  // namespace sluice::audit
