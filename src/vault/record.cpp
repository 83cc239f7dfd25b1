#include "vault/record.h"

#include <cstdlib>

#include "crypto/hash.h"

namespace sluice::vault {
namespace {

constexpr std::string_view kRecordLabel = "sluice credential 1";
constexpr std::string_view kBindingLabel = "sluice binding 1";

Buffer bound_to(const RecordName& n, uint64_t key) {
  const auto name = crypto::sha256({as_bytes(n.name)});
  const auto life = crypto::sha256({as_bytes(n.life)});
  Buffer out = to_buffer(as_bytes(kRecordLabel));
  out.resize(out.size() + 31 + name.size() + life.size());
  uint8_t* at = out.data() + kRecordLabel.size();
  store_le(at, n.id);
  store_le(at + 8, n.tenant);
  store_le(at + 10, n.version);
  store_le(at + 14, n.set_ms);
  at[22] = n.parts;
  store_le(at + 23, key);
  std::memcpy(at + 31, name.data(), name.size());
  std::memcpy(at + 31 + name.size(), life.data(), life.size());
  return out;
}

Buffer bound_to(const BindingName& n, uint64_t key) {
  Buffer out = to_buffer(as_bytes(kBindingLabel));
  out.resize(out.size() + 27);
  uint8_t* at = out.data() + kBindingLabel.size();
  store_le(at, n.target);
  at[8] = n.protocol;
  store_le(at + 9, n.id);
  store_le(at + 17, n.tenant);
  store_le(at + 19, key);
  return out;
}

const SealKey& key_of(const KeyRing& keys, uint64_t number) {
  const SealKey* key = keys.at(number);
  if (key == nullptr) std::abort();  // callers seal with the newest
  return *key;
}

}  // namespace

Buffer seal_record(const KeyRing& keys, uint64_t key, const RecordName& name, Bytes text) {
  return key_of(keys, key).seal(text, bound_to(name, key));
}

std::optional<crypto::SecretBuffer> open_record(const KeyRing& keys, uint64_t key,
                                                const RecordName& name, Bytes sealed) {
  const SealKey* under = keys.at(key);
  if (under == nullptr || sealed.size() < kSealOverhead) return std::nullopt;
  crypto::SecretBuffer out(sealed.size() - kSealOverhead);
  if (!under->open(sealed, bound_to(name, key), out.bytes())) return std::nullopt;
  return out;
}

Buffer seal_binding(const KeyRing& keys, uint64_t key, const BindingName& name) {
  return key_of(keys, key).seal({}, bound_to(name, key));
}

bool binding_holds(const KeyRing& keys, uint64_t key, const BindingName& name, Bytes proof) {
  const SealKey* under = keys.at(key);
  return under != nullptr && under->open(proof, bound_to(name, key), {});
}

}  // namespace sluice::vault
