// A backup put in a store's place, while no relay uses the state directory. The store that stood
// there is kept beside it under another name, and what the backup does not know of is never
// forgotten silently: it may be a revocation. Killed at any moment it leaves the old store, the new
// one, or a directory that no relay starts on until the restore is repeated. Command-line thread;
// waits for the disk.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace sluice::control {

struct RestoreReport {
  // Later changes of agents' identities and of the relay's key: who knows the new one is a
  // stranger.
  uint64_t forgotten_keys = 0;
  std::string missing_key;  // a file of the relay's key, without which it does not start
  uint64_t changes = 0;     // the restored store's last change
  uint64_t agents = 0;
  uint64_t revoked = 0;            // identities
  std::string replaced;            // where the store that stood there is now; empty: there was none
  std::string damage;              // why that one could not be read
  bool forked = false;             // it was of another relay, or of another branch
  uint64_t forgotten_changes = 0;  // made after the backup
  uint64_t forgotten_revocations = 0;  // among those, of agents and pairs
  uint64_t present = 0;       // the last change of the store that stood there that is forgotten
  bool present_read = false;  // the store that stood there, whole
  // The audit log's last checkpoint that the store that stood there knew; at 0 ms: none.
  uint64_t audit_size = 0;
  ByteArray<32> audit_root{};
  uint64_t audit_ms = 0;
  uint64_t audited = 0;  // the last change that the audit log in the directory recorded
};

struct AuditGivenUp {
  std::string kept;   // where its folder is now; empty: there was none
  uint64_t size = 0;  // records of it that the store knew of
};
// While no relay runs: the audit log in that folder is moved into a folder within it, and the store
// no longer asks for it. The log that begins says so. kConflict: a relay uses one of them.
// kNotFound: there is no log, which has to be said (`lost`).
Result<AuditGivenUp> give_up_audit_log(const std::string& directory, const std::string& folder,
                                       bool lost);

// kStore: the backup is damaged, or no store. kConflict: a relay uses the directory. kRefused: the
// store that stands there knows what the backup does not, or cannot be read; `forget` allows it.
// `audit`: the audit log's folder.
Result<RestoreReport> restore_store(const std::string& backup, const std::string& directory,
                                    const std::string& audit, bool forget);

}  // namespace sluice::control
