// Credentials that the relay sends before calls to this agent (docs/protocol.md §7): parts become
// one, once all of the same version are there. No I/O and no clock. One thread, owned by Calls.
//
// The same credential comes with every call: what is whole is kept while calls use it and a little
// longer, and parts of the same version are only compared with it.
#pragma once

#include <map>
#include <memory>

#include "crypto/identity.h"
#include "crypto/secret_buffer.h"
#include "wire/credential.h"

namespace sluice::agent {

class CredentialInbox {
 public:
  using Content = std::shared_ptr<const crypto::SecretBuffer>;
  static constexpr size_t kMost = 1'024;        // calls whose CALL_OPEN has not come
  static constexpr size_t kMostUnknown = 64;    // of them, with parts that are not known yet
  static constexpr uint64_t kKeepMs = 5'000;    // for its CALL_OPEN
  static constexpr uint64_t kKnownMs = 10'000;  // after its last use
  static constexpr uint64_t kTickMs = 1'000;

  // A part for a call of `peer`. False: it is not of the form, or there is no room.
  bool add(const crypto::PublicKey& peer, uint64_t call_id, Bytes extension, uint64_t now_ms);
  // For the call, once; null: parts of it are missing.
  Content take(const crypto::PublicKey& peer, uint64_t call_id, uint64_t now_ms);
  void tick(uint64_t now_ms);
  uint64_t deadline() const;  // kNever while it holds nothing
  // Versions are those of one relay epoch.
  void clear();

 private:
  struct Arriving {
    wire::CredentialHead head{};
    uint8_t parts = 0;  // a bit each
    size_t size = 0;    // as the last part says; 0: it has not come
    crypto::SecretBuffer bytes;
    Content known;  // in place of bytes
    uint64_t since_ms = 0;
  };
  struct Known {
    Content content;
    uint64_t used_ms = 0;
  };
  using Key = std::pair<crypto::PublicKey, uint64_t>;
  bool put(Arriving& a, const wire::CredentialHead& head, Bytes part);

  std::map<Key, Arriving> arriving_;
  size_t unknown_ = 0;               // of those
  std::map<uint32_t, Known> known_;  // by version
  uint64_t next_tick_ms_ = 0;
};

}  // namespace sluice::agent
