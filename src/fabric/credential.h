// Credentials that workers give to the targets of calls, and which agent has which (docs/
// credentials.md). The plaintext stands in a mapping of its own, locked, kept out of core dumps,
// between guard pages; a successor process can adopt it as it does the arena. Control fills a slot
// that no agent names, names it, and wipes it after the grace period of whatever named it last.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "wire/credential.h"

namespace sluice::fabric {

// Ticks are of the relay's clock.
struct alignas(64) CredentialSlot {
  uint32_t version = 0;            // of what stands here: no two have the same within a relay epoch
  uint16_t size = 0;               // 0: its window is closed, and nothing stands here
  uint8_t kind = 0;                // wire::CredentialKind
  std::atomic<uint64_t> until{0};  // from then on calls are outside of its window
  std::atomic<uint64_t> opens_at{0};  // 0: not known
  alignas(64) uint8_t bytes[wire::kCredentialMax] = {};
};

// What calls by one protocol to an agent need. Control writes, the callers' owners read.
inline constexpr uint32_t kNoCredential = 0xffffffff;           // nothing
inline constexpr uint32_t kCredentialUnavailable = 0xfffffffe;  // one that cannot be had now
inline constexpr size_t kCredentialProtocols = 8;
struct alignas(32) AgentCredentials {
  std::array<std::atomic<uint32_t>, kCredentialProtocols> of;  // by protocol: a slot, or as above
  AgentCredentials() {
    for (auto& c : of) c.store(kNoCredential, std::memory_order_relaxed);
  }
};
static_assert(sizeof(AgentCredentials) == 32);

class CredentialTable {
 public:
  // Bytes that `create` maps in 2 MB pages.
  static size_t needed(uint32_t slots);
  // `huge`: of 2 MB pages, where there are free ones; thousands of credentials would cost a worker
  // a walk through the page tables each. kResource: the memory cannot be had, or not be locked.
  static Result<std::unique_ptr<CredentialTable>> create(uint32_t slots, bool huge);
  ~CredentialTable();
  CredentialTable(const CredentialTable&) = delete;
  CredentialTable& operator=(const CredentialTable&) = delete;

  std::span<CredentialSlot> slots() const { return {slots_, count_}; }
  int fd() const { return fd_.get(); }

 private:
  CredentialTable() = default;

  Fd fd_;
  uint8_t* base_ = nullptr;  // of the reservation: the guard before the slots
  size_t size_ = 0;          // of everything
  CredentialSlot* slots_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace sluice::fabric
