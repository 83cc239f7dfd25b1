// The vault's master key, which opens all others: where it comes from and how it is known again.
// The store keeps a MasterRecord, nothing of which is secret; the key itself is in a file of its
// own, in somebody's head, or in a TPM. Waits for files, the TPM or Argon2id: a thread beside the
// control thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/passphrase_key.h"
#include "crypto/secret_buffer.h"
#include "vault/tpm.h"

namespace sluice::vault {

// Numbers in the store, never reused.
enum class KeySource : uint8_t { kFile = 1, kPassphrase = 2, kTpm = 3 };
constexpr const char* name_of(KeySource s) {
  return s == KeySource::kFile ? "file" : s == KeySource::kPassphrase ? "passphrase" : "tpm";
}

inline constexpr size_t kLeastPassphrase = 12;  // bytes
inline constexpr size_t kLongestPassphrase = 1024;

struct KeySourceOptions {
  KeySource source = KeySource::kFile;  // of keys that are made; known ones have their own
  std::string key_file;
  crypto::Argon2Costs argon2;  // likewise
  TpmOptions tpm;
};

struct MasterRecord {
  uint64_t number = 0;  // from 1 on; 0: there is none
  KeySource source = KeySource::kFile;
  Buffer parameters;  // of the source: Argon2id's salt and costs; what the TPM sealed
  Buffer check;       // opens under this key and no other
  uint64_t made_ms = 0;
};

struct NewMaster {
  MasterRecord record;
  crypto::SecretBuffer key;
};

// A file that is there already is taken for the first one; a later one waits beside it, under the
// name of next_key_file(), until settle_master(). kUsage: the passphrase is too short.
Result<NewMaster> make_master(const KeySourceOptions& options, uint64_t number, uint64_t at_ms,
                              Bytes passphrase);

// The key of that record. kKeyFile: it is not there, or another one is. kRefused: the passphrase or
// the TPM says no. kUsage: it takes a passphrase, and there is none.
Result<crypto::SecretBuffer> recover_master(const KeySourceOptions& options,
                                            const MasterRecord& record, Bytes passphrase);

// Once the record is durable: its file takes the place of the one before.
Result<void> settle_master(const KeySourceOptions& options, const MasterRecord& record);

std::string next_key_file(const std::string& key_file);

}  // namespace sluice::vault
