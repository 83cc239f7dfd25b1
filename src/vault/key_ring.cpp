#include "vault/key_ring.h"

#include <fmt/format.h>

#include "crypto/secret.h"

namespace sluice::vault {
namespace {

constexpr std::string_view kKeyLabel = "sluice vault key 1";

Buffer bound_to(const WrappedKey& key) {
  Buffer out = to_buffer(as_bytes(kKeyLabel));
  out.resize(out.size() + 24);
  uint8_t* at = out.data() + kKeyLabel.size();
  store_le(at, key.number);
  store_le(at + 8, key.master);
  store_le(at + 16, key.made_ms);
  return out;
}

Result<crypto::SecretBuffer> unwrap(const SealKey& master, const WrappedKey& key) {
  crypto::SecretBuffer out(kKeySize);
  if (master.open(key.wrapped, bound_to(key), out.bytes())) return out;
  return fail(ErrorCode::kStore,
              fmt::format("the vault's data key {} was changed in the store: restore it from a "
                          "backup",
                          key.number));
}

}  // namespace

Result<KeyRing> KeyRing::open(const crypto::SecretBuffer& master, uint64_t master_number,
                              std::span<const WrappedKey> keys) {
  KeyRing out;
  out.master_ = std::make_shared<SealKey>(master.view());
  out.master_number_ = master_number;
  return out.with(keys);
}

Result<KeyRing> KeyRing::with(std::span<const WrappedKey> keys) const {
  KeyRing out;
  out.master_ = master_;
  out.master_number_ = master_number_;
  for (const WrappedKey& key : keys) {
    const auto raw = unwrap(*out.master_, key);
    if (!raw) return tl::unexpected(raw.error());
    out.keys_[key.number] = std::make_shared<SealKey>(raw->view());
  }
  return out;
}

const SealKey* KeyRing::at(uint64_t number) const {
  const auto it = keys_.find(number);
  return it == keys_.end() ? nullptr : it->second.get();
}

WrappedKey KeyRing::add(uint64_t at_ms) {
  crypto::SecretBuffer raw(kKeySize);
  crypto::random_bytes(raw.bytes());
  WrappedKey out{newest() + 1, master_number_, at_ms, {}};
  out.wrapped = master_->seal(raw.view(), bound_to(out));
  keys_[out.number] = std::make_shared<SealKey>(raw.view());
  return out;
}

Result<std::vector<WrappedKey>> KeyRing::wrap_anew(std::span<const WrappedKey> keys,
                                                   const crypto::SecretBuffer& master,
                                                   uint64_t master_number) const {
  const SealKey under(master.view());
  std::vector<WrappedKey> out;
  for (const WrappedKey& key : keys) {
    const auto raw = unwrap(*master_, key);
    if (!raw) return tl::unexpected(raw.error());
    WrappedKey& fresh = out.emplace_back(WrappedKey{key.number, master_number, key.made_ms, {}});
    fresh.wrapped = under.seal(raw->view(), bound_to(fresh));
  }
  return out;
}

}  // namespace sluice::vault
