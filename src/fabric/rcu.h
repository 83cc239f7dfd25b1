// Quiescent-state-based reclamation: when every registered thread has passed a quiescent point
// after a token was taken, nobody can hold what was unpublished before it. Whoever unpublishes
// takes and checks tokens; each worker reports its own thread number. Wraps rte_rcu_qsbr.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include <rte_rcu_qsbr.h>

namespace sluice::fabric {

// A proof that takes longer is given up, and said so: a worker stands still.
inline constexpr uint64_t kProofMs = 1000;

class Qsbr {
 public:
  explicit Qsbr(unsigned threads) : threads_(threads) {
    const size_t size = rte_rcu_qsbr_get_memsize(threads);
    v_.reset(static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, (size + 63) / 64 * 64)));
    if (!v_ || rte_rcu_qsbr_init(v_.get(), threads) != 0) std::abort();
    for (unsigned t = 0; t < threads; ++t) rte_rcu_qsbr_thread_register(v_.get(), t);
  }

  // Worker side.
  void online(unsigned t) noexcept { rte_rcu_qsbr_thread_online(v_.get(), t); }
  void offline(unsigned t) noexcept { rte_rcu_qsbr_thread_offline(v_.get(), t); }
  void quiesce(unsigned t) noexcept { rte_rcu_qsbr_quiescent(v_.get(), t); }

  // Any thread. rte_rcu_qsbr_check keeps the last token that it found passed, without order between
  // the threads that ask; this looks at each reader, and so sees what it did before.
  uint64_t start() noexcept { return rte_rcu_qsbr_start(v_.get()); }
  bool passed(uint64_t token) const noexcept {
    for (unsigned t = 0; t < threads_; ++t) {
      const uint64_t seen = __atomic_load_n(&v_->qsbr_cnt[t].cnt, __ATOMIC_ACQUIRE);
      if (seen != kOffline && seen < token) return false;
    }
    return true;
  }

  // The last token taken, and the last one that thread `t` reported: what a bench that watches a
  // proof from outside needs to know. Any thread.
  uint64_t latest() const noexcept { return __atomic_load_n(&v_->token, __ATOMIC_ACQUIRE); }
  uint64_t reported(unsigned t) const noexcept {
    return __atomic_load_n(&v_->qsbr_cnt[t].cnt, __ATOMIC_ACQUIRE);
  }

 private:
  struct Free {
    void operator()(rte_rcu_qsbr* p) const { std::free(p); }
  };
  std::unique_ptr<rte_rcu_qsbr, Free> v_;
  static constexpr uint64_t kOffline = 0;  // as DPDK writes it
  const unsigned threads_;
};

}  // namespace sluice::fabric
