// The keys of a vault that is open: the master key and the data keys under it. Copies share them;
// the last one to go wipes them. A value that any thread may read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "crypto/secret_buffer.h"
#include "vault/seal_key.h"

namespace sluice::vault {

// A data key as the store keeps it: sealed under the master key, bound to its number and both
// times.
struct WrappedKey {
  uint64_t number = 0;
  uint64_t master = 0;  // number of the master key
  uint64_t made_ms = 0;
  Buffer wrapped;
};

class KeyRing {
 public:
  // kStore: one of them is not what was sealed.
  static Result<KeyRing> open(const crypto::SecretBuffer& master, uint64_t master_number,
                              std::span<const WrappedKey> keys);

  // Others under the same master key; likewise.
  Result<KeyRing> with(std::span<const WrappedKey> keys) const;

  uint64_t master() const { return master_number_; }
  // Of the key that records are sealed with now; 0: there is none.
  uint64_t newest() const { return keys_.empty() ? 0 : keys_.rbegin()->first; }
  const SealKey* at(uint64_t number) const;

  // A fresh data key, the newest from then on.
  WrappedKey add(uint64_t at_ms);
  void remove(uint64_t number) { keys_.erase(number); }
  // The same keys under another master key; kStore where one of `keys` is not what was sealed.
  Result<std::vector<WrappedKey>> wrap_anew(std::span<const WrappedKey> keys,
                                            const crypto::SecretBuffer& master,
                                            uint64_t master_number) const;

 private:
  std::shared_ptr<const SealKey> master_;
  uint64_t master_number_ = 0;
  std::map<uint64_t, std::shared_ptr<const SealKey>> keys_;
};

}  // namespace sluice::vault
