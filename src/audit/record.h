// What the log remembers of one event, in 128 bytes: who, whom, when, what was decided and why;
// never a payload, never free text. Little-endian. Numbers are for good: a log outlives programs.
//
//   0 layout (1): 1    1 kind (1)    2 detail (1)    3 detail (1)    4 source (2)    6 zero (2)
//   8 time: Unix ms of the relay's clock    16 subject: virtual address (8)    24 object (8)
//  32 what the kind needs (96)
//
// The source is a worker's number, or 0xffff: the control thread. An address of zero is nobody's.
// Plain values, any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"

namespace sluice::audit {

constexpr size_t kRecordSize = 128;
using Record = ByteArray<kRecordSize>;

constexpr uint8_t kLayout = 1;
constexpr uint16_t kControl = 0xffff;

// X(enumerator, number, name, sentence)
#define SLUICE_AUDIT_KINDS(X)                                                                   \
  X(kOpened, 1, "opened", "the relay started to write")                                         \
  X(kClosed, 2, "closed", "the relay stopped, having written all it had")                       \
  X(kGap, 3, "gap", "records may be, or are, missing before this one")                          \
  X(kChange, 4, "change", "trust or its administration changed: one entry of the feed")         \
  X(kSession, 5, "session", "an agent proved who it is and confirmed a session")                \
  X(kHandshakes, 6, "handshakes", "how many HELLOs had one outcome that let nobody in, lately") \
  X(kAct, 7, "act", "an operator's act that the feed does not hold")                            \
  X(kProof, 8, "proof", "a revocation was answered: what was proven, and how fast")             \
  X(kCall, 9, "call", "a call was decided on; the reason is its detail")                        \
  X(kCallClosed, 10, "call_closed", "a call ended that had been let through")                   \
  X(kPruned, 11, "pruned", "the records before one are removed, by what the configuration keeps")

enum class Kind : uint8_t {
#define X(id, number, name, text) id = number,
  SLUICE_AUDIT_KINDS(X)
#undef X
};

// The feed's kinds (control/store_feed.h), as the log numbers them. 0 is one that is newer.
#define SLUICE_AUDIT_CHANGES(X)  \
  X(1, "agent_enrolled")         \
  X(2, "agent_updated")          \
  X(3, "agent_revoked")          \
  X(4, "tenant_added")           \
  X(5, "token_created")          \
  X(6, "token_used")             \
  X(7, "token_ended")            \
  X(8, "trust_requested")        \
  X(9, "request_granted")        \
  X(10, "request_rejected")      \
  X(11, "request_expired")       \
  X(12, "request_consented")     \
  X(13, "pair_made")             \
  X(14, "pair_ended")            \
  X(15, "pair_revoked")          \
  X(16, "policy_applied")        \
  X(17, "relay_key_replaced")    \
  X(18, "relay_key_retired")     \
  X(19, "identity_rotated")      \
  X(20, "changes_forgotten")     \
  X(21, "audit_log_forgotten")   \
  X(22, "vault_made")            \
  X(23, "vault_master_replaced") \
  X(24, "vault_key_added")       \
  X(25, "vault_key_removed")     \
  X(26, "credential_set")        \
  X(27, "credential_deleted")    \
  X(28, "credential_bound")      \
  X(29, "credential_unbound")

// Outcomes of HELLOs that let nobody in (control/handshake_outcome.h), as the log numbers them.
#define SLUICE_AUDIT_HANDSHAKES(X) \
  X(1, "retry_sent")               \
  X(2, "bad_cookie")               \
  X(3, "noise_failed")             \
  X(4, "malformed")                \
  X(5, "unknown_identity")         \
  X(6, "revoked_identity")         \
  X(7, "bad_signature")            \
  X(8, "bad_time")                 \
  X(9, "no_slot")                  \
  X(10, "queue_full")              \
  X(11, "no_answer_path")
// 0: none of them.
uint8_t handshake_number(std::string_view outcome) noexcept;

// Why there is a gap.
#define SLUICE_AUDIT_GAPS(X)                                                                \
  X(kCrash, 1, "crash", "the relay did not stop by itself: its last 100 ms may be missing") \
  X(kRingFull, 2, "ring_full", "more happened than was written; counted")                   \
  X(kUnwritable, 3, "unwritable", "the log could not be written; counted")

enum class Gap : uint8_t {
#define X(id, number, name, text) id = number,
  SLUICE_AUDIT_GAPS(X)
#undef X
};

// Why records are removed.
#define SLUICE_AUDIT_PRUNES(X)                            \
  X(kAge, 1, "age", "they are older than audit.keep_for") \
  X(kBytes, 2, "bytes", "the log is larger than audit.keep_bytes")

enum class Prune : uint8_t {
#define X(id, number, name, text) id = number,
  SLUICE_AUDIT_PRUNES(X)
#undef X
};

// Who acted.
enum class Actor : uint8_t { kRelay = 0, kConfig = 1, kUid = 2, kCertificate = 3, kAgent = 4 };

// Acts of operators that change no table.
enum class Act : uint8_t {
  kReload = 1,
  kBackup = 2,
  kApprove = 3,
  kDeny = 4,
  kVaultUnlock = 5,
  kVaultLock = 6
};

struct Header {
  Kind kind = Kind::kOpened;
  uint8_t detail = 0;
  uint8_t detail2 = 0;
  uint16_t source = kControl;
  uint64_t time_ms = 0;
  VirtualAddress subject;
  VirtualAddress object;
};
Record make_record(const Header& header) noexcept;
Header header_of(const Record& record) noexcept;

// One entry of the store's feed of changes.
struct Change {
  uint64_t sequence = 0;
  uint64_t at_ms = 0;
  std::string_view actor;
  std::string_view kind;
  Bytes subject;
  Bytes object;
  VirtualAddress subject_address;
  VirtualAddress object_address;
};
Record record_of(const Change& change) noexcept;
uint64_t sequence_of(const Record& change) noexcept;
// Over all of the entry, the actor's text too: what the record itself has no room for.
ByteArray<16> digest_of(const Change& change) noexcept;
ByteArray<16> digest_of(const Record& change) noexcept;

// `actor` as the feed has it: "uid 0", "certificate NAME", a DID, "config".
struct ActorNumber {
  Actor actor = Actor::kRelay;
  uint64_t value = 0;  // the uid, or what a name's or key's SHA-256 begins with
};
ActorNumber number_of(std::string_view actor) noexcept;

Record opened_record(uint64_t time_ms, const ByteArray<32>& relay, uint64_t epoch) noexcept;
// `count`: of what is missing, where that is known.
Record gap_record(Gap gap, uint64_t time_ms, uint64_t since_ms, uint64_t count) noexcept;

// The records before `to` are removed; those before `from` were already.
struct Pruning {
  Prune why = Prune::kAge;
  uint64_t time_ms = 0;
  uint64_t from = 0;
  uint64_t to = 0;
  uint64_t limit = 0;  // what may stay: milliseconds, or bytes

  bool operator==(const Pruning&) const = default;
};
Record record_of(const Pruning& pruning) noexcept;
// Of a record of that kind.
Pruning pruning_of(const Record& record) noexcept;

struct Session {
  uint64_t time_ms = 0;
  VirtualAddress agent;
  ByteArray<32> identity{};
  ByteArray<16> remote_ip{};  // IPv4 mapped into IPv6
  uint16_t remote_port = 0;
  uint8_t nic_port = 0;
  bool renewed = false;  // of a session that stood
};
Record record_of(const Session& session) noexcept;

// `outcome`: a handshake_number.
Record handshakes_record(uint8_t outcome, uint64_t time_ms, uint64_t count,
                         uint64_t since_ms) noexcept;
Record act_record(Act act, uint64_t time_ms, std::string_view actor) noexcept;
// What somebody said of a call that waited for an approval.
Record approval_record(bool approved, uint64_t time_ms, std::string_view actor,
                       VirtualAddress caller, VirtualAddress callee, const ByteArray<16>& trace,
                       uint64_t counter) noexcept;

struct Proof {
  uint64_t time_ms = 0;
  uint8_t state = 0;  // 0 cut, 1 not durable, 2 not proven
  std::string_view actor;
  uint64_t agents = 0, pairs = 0;
  uint64_t cut_us = 0, sync_us = 0, ack_us = 0;
  VirtualAddress agent;  // where it is one
};
Record record_of(const Proof& proof) noexcept;

// What a worker decided on a CALL_OPEN (wire/call.h). Subject: the caller; object: the callee,
// where the caller has an edge to it.
struct CallDecision {
  uint16_t source = 0;
  uint64_t time_ms = 0;
  uint64_t caller = 0, callee = 0;  // virtual addresses
  uint8_t reason = 0;               // wire::CallReason
  uint8_t capability = 0, protocol = 0, scope_count = 0;
  uint16_t service = 0;
  ByteArray<16> trace{};
  uint64_t counter = 0;  // the caller's; with the relay's epoch it is the message id
  uint64_t issued_ms = 0;
  uint64_t grant = 0;
  ByteArray<16> commitment{};
  ByteArray<32> scopes{};
};
Record record_of(const CallDecision& call) noexcept;

struct CallClosed {
  uint16_t source = 0;
  uint64_t time_ms = 0;
  uint64_t caller = 0, callee = 0;
  uint8_t why = 0;  // 0 both sides closed it, 1 idle, 2 its edge ended
  ByteArray<16> trace{};
  uint64_t counter = 0;
  uint64_t duration_ms = 0;
  uint64_t packets = 0, bytes = 0;            // CALL_DATA to the callee
  uint64_t packets_back = 0, bytes_back = 0;  // and from it
  uint32_t answered = 0;                      // 0: no CALL_ACCEPT; else 1 + its status
  uint16_t status = 0, status_back = 0;       // of each side's CALL_CLOSE
};
Record record_of(const CallClosed& call) noexcept;

}  // namespace sluice::audit
