#include "audit/writer.h"

#include <pthread.h>
#include <signal.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"

namespace sluice::audit {
namespace {

constexpr size_t kBatch = Journal::kMostInBatch;
constexpr auto kPause = std::chrono::milliseconds(5);
constexpr uint64_t kSyncMs = 100;
constexpr uint64_t kPublishMs = 1000;
constexpr uint64_t kRetryMs = 1000;
// A bundle's entry, a leaf's hash, and the levels above.
constexpr uint64_t kBytesOnDisk = 2 + kRecordSize + 32 + 1;

// The signals are the control thread's; and SIGXFSZ must be an error here, not the end.
std::thread start_thread(std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread out(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(out.native_handle(), "audit");
  return out;
}

}  // namespace

Writer::Writer(const Clock& clock, std::unique_ptr<Log> log, WriterOptions options)
    : clock_(clock), options_(std::move(options)), log_(std::move(log)) {
  for (unsigned w = 0; w < options_.workers; ++w) {
    rings_.push_back(std::make_unique<RecordRing>(options_.worker_slots));
  }
  rings_.push_back(std::make_unique<RecordRing>(options_.control_slots));
  origin_ = log_->verifier().origin;
  start_size_ = log_->size();
  last_change_ = log_->last_change().sequence;
  if (log_->opened().crashed) {
    batch_.push_back(gap_record(Gap::kCrash, clock_.unix_ms(), log_->opened().last_ms, 0));
  }
  set_status();
  synced_at_ = published_at_ = clock_.ticks();
  thread_ = start_thread([this] { run(); });
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

void Writer::beside(std::function<std::function<void()>()> work) {
  {
    const std::lock_guard guard(mutex_);
    asked_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void Writer::run() {
  for (;;) {
    std::vector<std::function<std::function<void()>()>> asked;
    bool stop = false;
    {
      std::unique_lock guard(mutex_);
      stop = stopping_;
      asked.swap(asked_);
    }
    for (const auto& work : asked) options_.post(work());
    const bool busy = round();
    keep_time(false);
    if (stop && !busy) break;
    if (busy) continue;
    std::unique_lock guard(mutex_);
    wake_.wait_for(guard, kPause, [this] { return stopping_ || !asked_.empty(); });
  }
  keep_time(true);
}

// True where there may be more.
bool Writer::round() {
  if (!log_) {
    if (clock_.ticks() - tried_at_ < clock_.ticks_from_ms(kRetryMs)) return false;
    reopen();
    if (!log_) return false;
  }
  // A disk that was full is asked again now and then, not in a loop.
  if (!available() && clock_.ticks() - tried_at_ < clock_.ticks_from_ms(kSyncMs)) return false;
  say_what_was_lost();
  const size_t taken = collect();
  return write() && taken != 0;
}

size_t Writer::collect() {
  size_t all = 0;
  for (auto& ring : rings_) {
    if (batch_.size() >= kBatch) break;
    const size_t before = batch_.size();
    batch_.resize(kBatch);
    const size_t n = ring->take(std::span(batch_).subspan(before));
    batch_.resize(before + n);
    all += n;
  }
  return all;
}

bool Writer::write() {
  // Control hands over the feed again from where the log ends, which it may not know yet.
  uint64_t last = log_->last_change().sequence;
  std::erase_if(batch_, [&](const Record& r) {
    if (header_of(r).kind != Kind::kChange) return false;
    const uint64_t sequence = sequence_of(r);
    if (sequence <= last) return true;
    last = sequence;
    return false;
  });
  if (batch_.empty()) return true;
  if (auto ok = log_->append(batch_); !ok) {
    failed(ok.error());
    return false;
  }
  if (!available()) spdlog::info("the audit log is written again");
  available_.store(true, std::memory_order_relaxed);
  unsynced_ = true;
  batch_.clear();
  last_change_.store(log_->last_change().sequence, std::memory_order_release);
  return true;
}

void Writer::say_what_was_lost() {
  uint64_t lost = 0;
  for (const auto& ring : rings_) lost += ring->lost();
  if (lost == lost_told_ || batch_.size() >= kBatch) return;
  batch_.push_back(gap_record(gap_reason_, clock_.unix_ms(),
                              gap_since_ms_ != 0 ? gap_since_ms_ : clock_.unix_ms(),
                              lost - lost_told_));
  lost_told_ = lost;
  gap_reason_ = Gap::kRingFull;
  gap_since_ms_ = 0;
}

void Writer::keep_time(bool last) {
  const uint64_t now = clock_.ticks();
  if (!log_) return;
  if (last) {
    const Record closed = make_record({.kind = Kind::kClosed, .time_ms = clock_.unix_ms()});
    auto ok = batch_.empty() ? Result<void>() : log_->append(batch_);
    if (ok) ok = log_->append(std::span(&closed, 1));
    if (ok) ok = log_->close();
    if (!ok) spdlog::error("the audit log could not be closed: {}", ok.error().message);
    set_status();
    return;
  }
  if (unsynced_ && now - synced_at_ >= clock_.ticks_from_ms(kSyncMs)) {
    synced_at_ = now;
    unsynced_ = false;
    if (auto ok = log_->sync(); !ok) return failed(ok.error());
  }
  if (now - published_at_ < clock_.ticks_from_ms(kPublishMs)) return;
  published_at_ = now;
  const uint64_t before = log_->published().size;
  if (auto ok = log_->publish(); !ok) return failed(ok.error());
  set_status();
  if (log_->published().size == before || !options_.published) return;
  options_.post([f = options_.published, c = log_->published()] { f(c); });
}

void Writer::failed(const Error& why) {
  tried_at_ = clock_.ticks();
  if (available()) {
    spdlog::error("the audit log cannot be written: {}", why.message);
    gap_since_ms_ = clock_.unix_ms();
  }
  gap_reason_ = Gap::kUnwritable;
  available_.store(false, std::memory_order_relaxed);
  if (log_->broken()) log_.reset();
  set_status();
  const std::lock_guard guard(mutex_);
  status_.problem = why.message;
}

void Writer::reopen() {
  tried_at_ = clock_.ticks();
  auto log = Log::open(options_.folder, origin_);
  if (!log) {
    const std::lock_guard guard(mutex_);
    status_.problem = log.error().message;
    return;
  }
  log_ = std::move(*log);
  // What was appended and not yet synced may be missing now, and nobody counted it.
  batch_.insert(batch_.begin(), gap_record(Gap::kUnwritable, clock_.unix_ms(), gap_since_ms_, 0));
  last_change_.store(log_->last_change().sequence, std::memory_order_release);
  reopened_.fetch_add(1, std::memory_order_release);
}

void Writer::set_status() {
  struct statvfs disk {};
  const bool known = statvfs(options_.folder.c_str(), &disk) == 0;
  const std::lock_guard guard(mutex_);
  status_.available = available();
  if (status_.available) status_.problem.clear();
  status_.lost = 0;
  for (const auto& ring : rings_) status_.lost += ring->lost();
  if (known) status_.free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (!log_) return;
  status_.published = log_->published();
  status_.size = log_->size();
  status_.written = log_->size() - std::min(log_->size(), start_size_);
  status_.written_bytes = status_.written * kBytesOnDisk;
  status_.verifier = log_->verifier().text();
}

}  // namespace sluice::audit
