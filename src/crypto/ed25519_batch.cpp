#include "crypto/ed25519_batch.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "crypto/group_order.h"
#include "crypto/lanes/engine.h"
#include "crypto/sha512_batch.h"

namespace sluice::crypto {
namespace {

constexpr uint64_t kNoSign = ~uint64_t{0} >> 1;
constexpr uint64_t kOnes = ~uint64_t{0};

// The y of the points of order 1, 2, 4 and 8 in every spelling below 2^255: what libsodium refuses
// as R and as a key, whatever the sign bit.
constexpr uint64_t kSmallOrder[][4] = {
    {0, 0, 0, 0},
    {1, 0, 0, 0},
    {0xb027b2c28f95e826, 0xf098eff289f4c345, 0x3933c6d305acdfd5, 0x05fc536d880238b1},
    {0x4fd84d3d706a17c7, 0x0f67100d760b3cba, 0xc6cc392cfa53202a, 0x7a03ac9277fdc74e},
    {0xffffffffffffffec, kOnes, kOnes, kNoSign},
    {0xffffffffffffffed, kOnes, kOnes, kNoSign},
    {0xffffffffffffffee, kOnes, kOnes, kNoSign},
};

bool small_order(const uint64_t w[4]) noexcept {
  return std::any_of(std::begin(kSmallOrder), std::end(kSmallOrder), [&](const uint64_t(&s)[4]) {
    return w[0] == s[0] && w[1] == s[1] && w[2] == s[2] && (w[3] & kNoSign) == s[3];
  });
}

// y below p = 2^255 - 19.
bool canonical(const uint64_t w[4]) noexcept {
  return (w[3] & kNoSign) != kNoSign || w[2] != kOnes || w[1] != kOnes || w[0] < 0xffffffffffffffed;
}

bool acceptable_encodings(const lanes::VerifyItem& item) noexcept {
  return below_order(item.s) && !small_order(item.r) && canonical(item.key) &&
         !small_order(item.key);
}

}  // namespace

struct Ed25519BatchVerifier::Workspace {
  lanes::VerifyItem items[kMaxJobs];
  uint8_t job_of[kMaxJobs];
  ByteArray<64> heads[kMaxJobs];  // R || A
  ByteArray<64> digests[kMaxJobs];
  Sha512Job hashes[kMaxJobs];
};

void Ed25519BatchVerifier::FreeAligned::operator()(void* p) const noexcept {
  std::free(p);
}

Ed25519BatchVerifier::Ed25519BatchVerifier(const lanes::Engine* engine)
    : engine_(engine), work_(std::make_unique<Workspace>()) {
  if (engine_ == nullptr) return;
  memory_.reset(std::aligned_alloc(64, engine_->ed25519_bytes));
  if (memory_ == nullptr) throw std::bad_alloc();
  engine_->ed25519_start(memory_.get());
}

Ed25519BatchVerifier::~Ed25519BatchVerifier() = default;

uint64_t Ed25519BatchVerifier::verify(std::span<const VerifyJob> jobs) noexcept {
  jobs = jobs.first(std::min(jobs.size(), kMaxJobs));
  uint64_t good = 0;
  if (engine_ == nullptr) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      const VerifyJob& job = jobs[i];
      good |= uint64_t{verify_raw(*job.key, job.message, *job.signature)} << i;
    }
    return good;
  }

  // Keys without a preparation from the front, prepared ones from the back.
  Workspace& w = *work_;
  size_t any = 0, prepared = 0, hashes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const VerifyJob& job = jobs[i];
    lanes::VerifyItem item{};
    std::memcpy(item.key, job.key->data(), sizeof item.key);
    std::memcpy(item.r, job.signature->data(), sizeof item.r);
    std::memcpy(item.s, job.signature->data() + sizeof item.r, sizeof item.s);
    if (!acceptable_encodings(item)) continue;
    const bool ready = job.prepared != nullptr &&
                       std::memcmp(job.prepared->key, job.key->data(), sizeof item.key) == 0;
    if (ready) item.prepared = job.prepared;
    const size_t at = ready ? kMaxJobs - ++prepared : any++;
    w.items[at] = item;
    w.job_of[at] = static_cast<uint8_t>(i);
    std::memcpy(w.heads[at].data(), item.r, sizeof item.r);
    std::memcpy(w.heads[at].data() + sizeof item.r, item.key, sizeof item.key);
    w.hashes[hashes++] = {w.heads[at], job.message, &w.digests[at]};
  }
  sha512_batch({w.hashes, hashes}, engine_);

  // Free lanes of the last group take what would cost the prepared ones a group of their own.
  const size_t spare = (lanes::kLanes - any % lanes::kLanes) % lanes::kLanes;
  size_t first_prepared = kMaxJobs - prepared;
  if (prepared % lanes::kLanes != 0 && prepared % lanes::kLanes <= spare) {
    for (size_t left = prepared % lanes::kLanes; left > 0; --left, ++any, ++first_prepared) {
      w.items[any] = w.items[first_prepared];
      w.job_of[any] = w.job_of[first_prepared];
      w.digests[any] = w.digests[first_prepared];
    }
  }
  const auto run = [&](size_t from, size_t n, auto&& function) {
    for (size_t i = from; i < from + n; ++i) {
      uint64_t digest[8];
      std::memcpy(digest, w.digests[i].data(), sizeof digest);
      reduce_by_order(digest, w.items[i].h);
    }
    const uint64_t verdicts = n == 0 ? 0 : function(memory_.get(), w.items + from, n);
    for (size_t i = 0; i < n; ++i) good |= ((verdicts >> i) & 1) << w.job_of[from + i];
  };
  run(0, any, engine_->verify);
  run(first_prepared, kMaxJobs - first_prepared, engine_->verify_prepared);
  return good;
}

uint8_t Ed25519BatchVerifier::prepare(std::span<const PublicKey> keys,
                                      std::span<PreparedKey* const> out) noexcept {
  if (engine_ == nullptr || keys.empty()) return 0;
  const size_t n = std::min({keys.size(), out.size(), kMaxPrepare});
  uint64_t words[kMaxPrepare][4];
  PreparedKey* wanted[kMaxPrepare];
  uint8_t index[kMaxPrepare];
  size_t taken = 0;
  for (size_t i = 0; i < n; ++i) {
    std::memcpy(words[taken], keys[i].data(), sizeof words[taken]);
    if (!canonical(words[taken]) || small_order(words[taken])) continue;
    wanted[taken] = out[i];
    index[taken++] = static_cast<uint8_t>(i);
  }
  if (taken == 0) return 0;
  const uint8_t ok = engine_->prepare(memory_.get(), words, taken, wanted);
  uint8_t filled = 0;
  for (size_t i = 0; i < taken; ++i) {
    if (((ok >> i) & 1) == 0) continue;
    std::memcpy(wanted[i]->key, keys[index[i]].data(), sizeof wanted[i]->key);
    filled = static_cast<uint8_t>(filled | 1u << index[i]);
  }
  return filled;
}

}  // namespace sluice::crypto
