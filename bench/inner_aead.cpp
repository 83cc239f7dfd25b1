// AES-256-GCM in bursts, as `open` and `seal` call it: by size, with keys out of the cache and with
// keys out of memory.
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include "crypto/aead.h"

namespace sluice::bench {
namespace {

constexpr size_t kBurst = 64;
constexpr size_t kHot = 64;
constexpr size_t kMany = 100'000;
constexpr size_t kBuffer = 2048;

// Key schedules on 2 MB pages, as in the relay's arena: on ordinary ones each key out of memory
// would cost a page walk more.
class Keys {
 public:
  explicit Keys(size_t n) : size_((n * sizeof(crypto::GcmKey) + kPage - 1) / kPage * kPage) {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    void* p = mmap(nullptr, size_, PROT_READ | PROT_WRITE, kFlags | MAP_HUGETLB, -1, 0);
    huge_ = p != MAP_FAILED;
    if (!huge_) p = mmap(nullptr, size_, PROT_READ | PROT_WRITE, kFlags, -1, 0);
    if (p == MAP_FAILED) return;
    keys_ = {static_cast<crypto::GcmKey*>(p), n};
    for (size_t i = 0; i < n; ++i) {
      uint8_t key[32] = {};
      store_le(key, uint64_t{i});
      crypto::aead().expand(key, keys_[i]);
    }
    order_.resize(n);
    std::iota(order_.begin(), order_.end(), 0u);
    std::shuffle(order_.begin(), order_.end(), std::mt19937(12345));
  }
  ~Keys() {
    if (!keys_.empty()) munmap(keys_.data(), size_);
  }
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  bool good() const { return !keys_.empty(); }
  bool huge() const { return huge_; }
  const crypto::GcmKey* next() {
    at_ = at_ + 1 == order_.size() ? 0 : at_ + 1;
    return &keys_[order_[at_]];
  }

 private:
  static constexpr size_t kPage = 2u << 20;
  size_t size_;
  bool huge_ = false;
  std::span<crypto::GcmKey> keys_;
  std::vector<uint32_t> order_;
  size_t at_ = 0;
};

struct Burst {
  alignas(64) uint8_t text[kBurst][kBuffer] = {};
  uint8_t aad[16] = {};
  uint8_t tags[kBurst][crypto::kTagSize] = {};
  crypto::AeadOp ops[kBurst] = {};

  explicit Burst(uint32_t size) {
    for (size_t i = 0; i < kBurst; ++i) {
      crypto::AeadOp& op = ops[i];
      op.aad = aad;
      op.aad_size = sizeof aad;
      op.text = text[i];
      op.text_size = size;
      op.tag = tags[i];
    }
  }
  void take_keys(Keys& keys) {
    for (auto& op : ops) op.key = keys.next();
  }
};

template <typename Run>
void aead(benchmark::State& state, Run run) {
  const auto size = static_cast<uint32_t>(state.range(0));
  Keys keys(static_cast<size_t>(state.range(1)));
  if (!keys.good()) return state.SkipWithError("no memory for the keys");
  state.SetLabel(keys.huge() ? "2 MB pages" : "ordinary pages: no hugepages were free");
  const auto burst = std::make_unique<Burst>(size);
  for (auto _ : state) {
    burst->take_keys(keys);
    run(std::span<crypto::AeadOp>(burst->ops));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * int64_t{kBurst});
  state.SetBytesProcessed(state.iterations() * int64_t{kBurst} * size);
}

void seal_burst(benchmark::State& state) {
  aead(state, [](auto ops) { crypto::aead().seal(ops); });
}
// The tags do not fit, which takes the same time: they are compared without a branch.
void open_burst(benchmark::State& state) {
  aead(state, [](auto ops) { benchmark::DoNotOptimize(crypto::aead().open(ops)); });
}

void sizes_and_keys(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bytes", "keys"});
  for (const int64_t keys : {kHot, kMany}) {
    for (const int64_t bytes : {16, 80, 272, 528, 1040, 1416}) b->Args({bytes, keys});
  }
}
BENCHMARK(seal_burst)->Apply(sizes_and_keys);
BENCHMARK(open_burst)->Apply(sizes_and_keys);

void expand_key(benchmark::State& state) {
  uint8_t key[32] = {1};
  crypto::GcmKey out;
  for (auto _ : state) {
    crypto::aead().expand(key, out);
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(expand_key);

}  // namespace
}  // namespace sluice::bench
