#include "dataplane/verifier.h"

#include <ctime>

namespace sluice::dataplane {
namespace {

constexpr unsigned kEmptyRoundsBeforeSleep = 256;
constexpr long kSleepNs = 50'000;

}  // namespace

unsigned Verifier::poll_once() noexcept {
  crypto::VerifyJob jobs[kSlice];
  VerifyRequest* of[kSlice];
  unsigned count = 0;
  for (size_t i = 0; i < queues_.size() && count < kSlice; ++i) {
    VerifyQueue& queue = *queues_[(first_ + i) % queues_.size()];
    unsigned taken = 0;
    while (count < kSlice && taken < fabric::kWaitingCalls) {
      VerifyRequest* r = queue.oldest(taken);
      if (r == nullptr) break;
      ++taken;
      jobs[count] = job_of(arena_, *r);
      of[count++] = r;
    }
    queue.answered(taken);
  }
  first_ = queues_.empty() ? 0 : (first_ + 1) % static_cast<unsigned>(queues_.size());
  if (count != 0) {
    const uint64_t good = verifier_.verify({jobs, count});
    for (unsigned i = 0; i < count; ++i) {
      const AskState verdict = (good >> i & 1) != 0 ? AskState::kGood : AskState::kBad;
      of[i]->state.store(uint32_t(verdict), std::memory_order_release);
    }
  }
  qsbr_.quiesce(number_);
  return count;
}

void Verifier::run(const std::atomic<bool>& stop) noexcept {
  qsbr_.online(number_);
  unsigned empty = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    empty = poll_once() == 0 ? empty + 1 : 0;
    if (!may_sleep_ || empty < kEmptyRoundsBeforeSleep) continue;
    qsbr_.offline(number_);
    const timespec pause{0, kSleepNs};
    nanosleep(&pause, nullptr);
    qsbr_.online(number_);
  }
  qsbr_.offline(number_);
}

}  // namespace sluice::dataplane
