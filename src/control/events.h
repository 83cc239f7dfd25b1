// What happens now, for who watches: each record that goes to the audit log, before it is published
// there, and what the log does not hold because it changes no right. A bounded ring with numbers
// that never repeat while the relay runs; who comes too late is told how many are gone. Nothing of
// it survives the relay: the audit log is what was, this is what is. Control thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <string>

#include "audit/record.h"
#include "base/clock.h"

namespace sluice::control {

// X(enumerator, name, sentence): what is not in the audit log.
#define SLUICE_EVENT_KINDS(X)                                                                     \
  X(kLinkUp, "link_up", "a port's link is up")                                                    \
  X(kLinkDown, "link_down", "a port's link is down")                                              \
  X(kWorkerStalled, "worker_stalled", "a worker has not finished a round for a second")           \
  X(kWorkerRuns, "worker_runs", "it goes on")                                                     \
  X(kControlStalled, "control_stalled",                                                           \
    "the control thread did not run for a time; it does again")                                   \
  X(kHandshakesShed, "handshakes_shed",                                                           \
    "more HELLOs than handshake.under_load_per_s: cookies first")                                 \
  X(kHandshakesCalm, "handshakes_calm", "no longer")                                              \
  X(kAuditUnavailable, "audit_unavailable", "the audit log cannot be written")                    \
  X(kAuditAvailable, "audit_available", "it is written again")                                    \
  X(kAuditLost, "audit_lost", "records found no room and are lost")                               \
  X(kDiskShort, "disk_short",                                                                     \
    "the audit log's disk is full before audit.alert_days, at this rate")                         \
  X(kCircuitOpen, "circuit_open", "calls over an edge are refused: too many failed")              \
  X(kCircuitClosed, "circuit_closed", "they are let through again")                               \
  X(kAdmissionOver, "admission_over",                                                             \
    "the time for which an agent was admitted is over: its sessions end")                         \
  X(kVaultUnlocked, "vault_unlocked", "the vault is open: credentials can be used")               \
  X(kVaultLocked, "vault_locked", "the vault is locked: calls that need a credential are denied") \
  X(kCredentialAging, "credential_aging", "a credential reaches its maximum age soon")            \
  X(kCredentialTooOld, "credential_too_old", "it has: calls that need it are denied")             \
  X(kCredentialDamaged, "credential_damaged",                                                     \
    "a record or binding in the store is not what was sealed: it is not used")                    \
  X(kCallsUnseen, "calls_unseen", "more calls than are shown here; the audit log has them")

enum class EventKind : uint8_t {
#define X(id, name, text) id,
  SLUICE_EVENT_KINDS(X)
#undef X
};

struct EventKindInfo {
  const char* name;
  const char* text;
};
inline constexpr EventKindInfo kEventKindTable[] = {
#define X(id, name, text) {name, text},
    SLUICE_EVENT_KINDS(X)
#undef X
};

struct Event {
  uint64_t time_ms = 0;  // Unix
  std::optional<audit::Record> record;
  EventKind kind = EventKind::kLinkUp;  // where it is no record
  std::string subject;                  // a port's name, a worker's number; empty: the relay
  std::string detail;                   // for people
};

class Events {
 public:
  static constexpr size_t kKept = 8192;
  static constexpr size_t kMostWaiting = 64;

  explicit Events(const Clock& clock) : clock_(clock) {}

  void add(EventKind kind, std::string subject = {}, std::string detail = {});
  void add(const audit::Record& record);

  uint64_t first() const { return next_ - kept_.size(); }  // the number of the oldest that is kept
  uint64_t next() const { return next_; }                  // the number that the next one will have
  const Event& at(uint64_t number) const { return kept_[number - first()]; }

  // Calls `ready` once there is one with that number, or at `until` (ticks). False: too many wait.
  bool wait(uint64_t number, uint64_t until, std::function<void()> ready);
  // Calls who waited for what is there. True if somebody was.
  bool poll();

 private:
  struct Waiting {
    uint64_t number;
    uint64_t until;
    std::function<void()> ready;
  };
  void keep(Event event);

  const Clock& clock_;
  std::deque<Event> kept_;
  uint64_t next_ = 1;
  std::list<Waiting> waiting_;
};

}  // namespace sluice::control
