#include "vault/master_key.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "crypto/secret_file.h"
#include "vault/seal_key.h"

namespace sluice::vault {
namespace {

using crypto::SecretBuffer;

constexpr std::string_view kCheckLabel = "sluice vault master 1";
// Of a passphrase: salt, passes, MiB.
constexpr size_t kArgon2Parameters = crypto::kPassphraseSalt + 8;

// The check is refused where the record's source or parameters were changed.
Buffer bound_to(const MasterRecord& r) {
  const auto parameters = crypto::sha256({Bytes(r.parameters)});
  Buffer out = to_buffer(as_bytes(kCheckLabel));
  out.resize(out.size() + 17 + parameters.size());
  uint8_t* at = out.data() + kCheckLabel.size();
  store_le(at, r.number);
  store_le(at + 8, r.made_ms);
  at[16] = static_cast<uint8_t>(r.source);
  std::memcpy(at + 17, parameters.data(), parameters.size());
  return out;
}

bool fits(const MasterRecord& record, const SecretBuffer& key) {
  return key.size() == kKeySize && SealKey(key.view()).open(record.check, bound_to(record), {});
}

Result<SecretBuffer> read_key_file(const std::string& path) {
  auto key = crypto::read_secret(path, 4096);
  if (!key && key.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound,
                fmt::format("the vault's master key is not at {}: put its file back", path));
  }
  if (!key) return key;
  if (key->size() != kKeySize) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("{} holds {} bytes, a master key has {}", path, key->size(), kKeySize));
  }
  return key;
}

// One that is there stays: the store may have come to know it without saying so.
Result<SecretBuffer> keep_or_make(const std::string& path) {
  auto key = read_key_file(path);
  if (key || key.error().code != ErrorCode::kNotFound) return key;
  SecretBuffer fresh(kKeySize);
  crypto::random_bytes(fresh.bytes());
  if (auto ok = write_file(path, fresh.view(), 0600); !ok) return tl::unexpected(ok.error());
  return fresh;
}

Result<SecretBuffer> from_passphrase(const Buffer& parameters, Bytes passphrase) {
  if (parameters.size() != kArgon2Parameters) {
    return fail(ErrorCode::kStore,
                "how the vault's passphrase becomes a key is damaged in the store: restore it from "
                "a backup");
  }
  const uint8_t* p = parameters.data();
  const crypto::Argon2Costs costs{load_le<uint32_t>(p + crypto::kPassphraseSalt),
                                  load_le<uint32_t>(p + crypto::kPassphraseSalt + 4)};
  SecretBuffer key(kKeySize);
  if (!crypto::key_from_passphrase(passphrase, take<crypto::kPassphraseSalt>(p), costs,
                                   key.bytes())) {
    return fail(ErrorCode::kResource,
                fmt::format("Argon2id needs {} MiB, which this host does not give: free some, or "
                            "lower vault.passphrase.memory_mb before the key is made",
                            costs.memory_mb));
  }
  return key;
}

Result<SecretBuffer> auth_value(const TpmOptions& tpm, bool make) {
  auto auth = make ? keep_or_make(tpm.auth_file) : crypto::read_secret(tpm.auth_file, 4096);
  if (!auth && auth.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("the TPM's auth value is not at {}: put vault.tpm.auth_file back",
                            tpm.auth_file));
  }
  if (auth && auth->size() != kTpmAuthSize) {
    return fail(ErrorCode::kKeyFile, fmt::format("{} holds {} bytes, an auth value has {}",
                                                 tpm.auth_file, auth->size(), kTpmAuthSize));
  }
  return auth;
}

Result<SecretBuffer> make_key(const KeySourceOptions& o, MasterRecord& record, Bytes passphrase) {
  switch (o.source) {
    case KeySource::kFile:
      return keep_or_make(record.number == 1 ? o.key_file : next_key_file(o.key_file));
    case KeySource::kPassphrase: {
      if (passphrase.size() < kLeastPassphrase) {
        return fail(ErrorCode::kUsage,
                    fmt::format("a passphrase has at least {} bytes", kLeastPassphrase));
      }
      record.parameters.resize(kArgon2Parameters);
      uint8_t* p = record.parameters.data();
      crypto::random_bytes({p, crypto::kPassphraseSalt});
      store_le(p + crypto::kPassphraseSalt, o.argon2.passes);
      store_le(p + crypto::kPassphraseSalt + 4, o.argon2.memory_mb);
      return from_passphrase(record.parameters, passphrase);
    }
    case KeySource::kTpm: {
      const auto auth = auth_value(o.tpm, true);
      if (!auth) return tl::unexpected(auth.error());
      SecretBuffer key(kKeySize);
      crypto::random_bytes(key.bytes());
      auto sealed = tpm_seal(o.tpm, auth->view(), key.view());
      if (!sealed) return tl::unexpected(sealed.error());
      record.parameters = std::move(*sealed);
      return key;
    }
  }
  return fail(ErrorCode::kInternal, "a master key of an unknown source");
}

Result<SecretBuffer> recover_file(const KeySourceOptions& o, const MasterRecord& record) {
  auto key = read_key_file(o.key_file);
  if (key && fits(record, *key)) return key;
  // A rotation was cut off between the store and the file's name.
  if (auto next = read_key_file(next_key_file(o.key_file)); next && fits(record, *next)) {
    return next;
  }
  if (!key) {
    const bool gone = key.error().code == ErrorCode::kNotFound;
    return fail(gone ? ErrorCode::kKeyFile : key.error().code, key.error().message);
  }
  return fail(ErrorCode::kKeyFile,
              fmt::format("{} holds another master key than this vault's: put the vault's own back",
                          o.key_file));
}

}  // namespace

std::string next_key_file(const std::string& key_file) {
  return key_file + ".next";
}

Result<NewMaster> make_master(const KeySourceOptions& options, uint64_t number, uint64_t at_ms,
                              Bytes passphrase) {
  NewMaster out;
  out.record = {.number = number, .source = options.source, .made_ms = at_ms};
  auto key = make_key(options, out.record, passphrase);
  if (!key) return tl::unexpected(key.error());
  out.record.check = SealKey(key->view()).seal({}, bound_to(out.record));
  out.key = std::move(*key);
  return out;
}

Result<SecretBuffer> recover_master(const KeySourceOptions& options, const MasterRecord& record,
                                    Bytes passphrase) {
  switch (record.source) {
    case KeySource::kFile:
      return recover_file(options, record);
    case KeySource::kPassphrase: {
      if (passphrase.empty()) {
        return fail(ErrorCode::kUsage, "the vault opens with a passphrase: sluicectl vault unlock");
      }
      auto key = from_passphrase(record.parameters, passphrase);
      if (!key || fits(record, *key)) return key;
      return fail(ErrorCode::kRefused, "that is not the vault's passphrase");
    }
    case KeySource::kTpm: {
      const auto auth = auth_value(options.tpm, false);
      if (!auth) return tl::unexpected(auth.error());
      auto key = tpm_unseal(options.tpm, auth->view(), record.parameters);
      if (!key || fits(record, *key)) return key;
      return fail(
          ErrorCode::kKeyFile,
          "what the TPM gives is not this vault's master key: the store is damaged, restore "
          "it from a backup");
    }
  }
  return fail(ErrorCode::kStore,
              "the vault's master key is of a source that this program does not "
              "know: run the newer one");
}

Result<void> settle_master(const KeySourceOptions& options, const MasterRecord& record) {
  if (record.source != KeySource::kFile) return {};
  const std::string next = next_key_file(options.key_file);
  const auto waiting = read_key_file(next);
  if (!waiting && waiting.error().code == ErrorCode::kNotFound) return {};
  if (!waiting) return tl::unexpected(waiting.error());
  // Of a rotation that never reached the store, or of one that the store did not say it has: the
  // next rotation takes it up.
  if (!fits(record, *waiting)) return {};
  if (rename(next.c_str(), options.key_file.c_str()) != 0) {
    return fail(ErrorCode::kResource, fmt::format("cannot rename {} to {}: {}", next,
                                                  options.key_file, std::strerror(errno)));
  }
  const std::string folder = std::filesystem::path(options.key_file).parent_path().string();
  const Fd dir(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || fsync(dir.get()) != 0) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot sync {}: {}", folder, std::strerror(errno)));
  }
  return {};
}

}  // namespace sluice::vault
