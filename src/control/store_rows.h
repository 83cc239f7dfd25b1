// What the store keeps, as plain values, and what may happen to it. Owned by whoever holds them.
// Times are Unix milliseconds of the relay's clock.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "control/vault_rows.h"

namespace sluice::control {

using Digest = ByteArray<32>;  // SHA-256 of a statement's bytes

// Whose word an agent's enrolment is: numbers in the store, never reused.
enum class AgentSource : uint8_t {
  kConfig = 0,    // the trust: section's; without it the row only keeps the address
  kOperator = 1,  // sluicectl agent add
  kToken = 2,
};
constexpr const char* name_of(AgentSource s) {
  return s == AgentSource::kConfig ? "config" : s == AgentSource::kOperator ? "operator" : "token";
}
enum class Visibility : uint8_t {
  kPrivate = 0,
  kPublic = 1,  // others of its tenant may look it up by name
};

// An enrolled agent. Its virtual address (tenant, node) is its own for good.
struct AgentRow {
  ByteArray<32> identity{};
  uint16_t tenant = 0;
  uint32_t node = 0;
  std::string name;
  uint64_t created_ms = 0;
  AgentSource source = AgentSource::kConfig;
  Visibility visibility = Visibility::kPrivate;
  Buffer enrol;             // Signed Enrol statement; empty: not told yet
  uint64_t expires_ms = 0;  // it is admitted until then; 0: no end
};

// What of an agent's row may change.
struct AgentUpdate {
  ByteArray<32> identity{};
  std::string name;
  AgentSource source = AgentSource::kConfig;
  Visibility visibility = Visibility::kPrivate;
  Buffer enrol;
  uint64_t expires_ms = 0;
};

struct RevocationRow {
  ByteArray<32> identity{};
  std::string reason;
  uint64_t at_ms = 0;
};

struct TenantRow {
  uint16_t id = 0;
  std::string name;
  uint64_t created_ms = 0;
};

// An enrolment token, known by its hash alone.
struct TokenRow {
  Digest hash{};  // SHA-256 of the token
  uint16_t tenant = 0;
  uint32_t uses = 1;
  uint32_t used = 0;
  uint64_t created_ms = 0;
  uint64_t expires_ms = 0;
  bool ended = false;  // taken back by the operator
};
// Spends the token once for that identity; an error when none is left.
struct TokenUse {
  Digest hash{};
  ByteArray<32> identity{};
  uint64_t at_ms = 0;
};
struct TokenEnd {
  Digest hash{};
};

// A TrustRequest that waits for its receiver.
struct RequestRow {
  Digest digest{};
  ByteArray<32> requester{};
  ByteArray<32> receiver{};  // need not be enrolled
  uint64_t received_ms = 0;
  uint64_t expires_ms = 0;
  Buffer statement;  // Signed
};
enum class RequestState : uint8_t { kPending = 0, kGranted = 1, kRejected = 2, kExpired = 3 };
struct RequestEnd {
  Digest digest{};
  RequestState state = RequestState::kExpired;
  Digest answer{};
  Buffer statement;  // the Signed answer; empty when it expired
  uint64_t at_ms = 0;
};

// The operators of one tenant let a request across tenants be shown to its receiver.
struct ConsentRow {
  Digest request{};
  uint16_t tenant = 0;
  uint64_t at_ms = 0;
};

// Two agents that agreed, from the moment of the grant on. Rights are wire numbers (1 may_send, 2
// may_open, 3 reply_only).
struct PairRow {
  Digest request{};
  Digest grant{};
  ByteArray<32> requester{};
  ByteArray<32> approver{};
  uint8_t forward = 1;   // requester to approver
  uint8_t backward = 1;  // approver to requester
  uint64_t made_ms = 0;
  uint64_t expires_ms = 0;  // 0: no end
  // What calls may use, each way: capabilities in the low byte, protocols in the other, as bits of
  // wire/call.h.
  uint16_t forward_calls = 0;
  uint16_t backward_calls = 0;
  // And scopes, as envelopes name them.
  std::vector<uint64_t> forward_scopes;
  std::vector<uint64_t> backward_scopes;
  // What the approver lets the requester call in a period; 0: any number.
  uint32_t quota_calls = 0;
  uint32_t quota_s = 0;
};
struct PairEnd {
  Digest request{};
  uint64_t at_ms = 0;  // if revoked, the pair's floor: what was issued before is refused for good
  std::string reason;
  bool revoked = false;  // else it expired, or a later agreement took its place
  Digest revocation{};
  Buffer statement;  // Signed TrustRevoke; empty where an agent was revoked, or nobody
};

// The operator's policy, whole, as it was written; the last one is in force.
struct PolicyRow {
  uint64_t number = 0;  // from 1 on
  std::string yaml;
  uint64_t at_ms = 0;
};

// An agent goes on under another identity; address, name and pairs are the same agent's.
struct RotationRow {
  ByteArray<32> former{};
  ByteArray<32> successor{};
  Digest digest{};   // of the statement
  Buffer statement;  // Signed IdentityRotate; left empty in a snapshot
  uint64_t at_ms = 0;
};

// The relay has another tunnel key from then on; the one before is answered for a time. Public
// halves: the secrets are files beside the store.
struct RelayKeyRow {
  uint64_t number = 0;  // from 1 on
  ByteArray<32> key{};
  ByteArray<32> replaced{};  // of number 1: the relay's first key, which names it for good
  uint64_t told_ms = 0;      // what agents are told of it was issued then
  uint64_t replaced_until_ms = 0;
};
// The one before is not answered any more, whatever a clock says later.
struct RelayKeyRetired {
  uint64_t number = 0;
  ByteArray<32> replaced{};
  uint64_t at_ms = 0;
};

// The audit log's tree, as it was published then: a log that holds less, or another, was put back.
// Not in the feed.
struct AuditCheckpointRow {
  uint64_t size = 0;
  ByteArray<32> root{};
  uint64_t at_ms = 0;
};
// The operator gave up the audit log that ended so, and another begins.
struct AuditForgotten {
  uint64_t size = 0;
  ByteArray<32> root{};
};
// What a restored store knows of the audit log, whatever the backup knew. At 0 ms: nothing. Not in
// the feed.
struct AuditKnown {
  uint64_t size = 0;
  ByteArray<32> root{};
  uint64_t at_ms = 0;
};
// A scope's name that stands in an agreement of that tenant's agents, by what envelopes say in its
// place: no other name may be taken for it. Not in the feed.
struct ScopeNameRow {
  uint16_t tenant = 0;
  uint64_t hash = 0;
  std::string name;
};
// What one agent has used of a quota of calls to another, by virtual addresses. Not in the feed.
struct QuotaUseRow {
  uint64_t from = 0;
  uint64_t to = 0;
  uint32_t period_s = 0;
  uint32_t used = 0;
  uint64_t ends_ms = 0;
};
// A backup was restored that does not know of the changes between: numbers go on behind them.
struct ChangesForgotten {
  uint64_t kept = 0;       // the last one that is known
  uint64_t forgotten = 0;  // the last one that is not
};

using Change =
    std::variant<AgentRow, AgentUpdate, RevocationRow, TenantRow, TokenRow, TokenUse, TokenEnd,
                 RequestRow, RequestEnd, ConsentRow, PairRow, PairEnd, PolicyRow, RelayKeyRow,
                 RelayKeyRetired, RotationRow, AuditCheckpointRow, AuditForgotten, AuditKnown,
                 ChangesForgotten, ScopeNameRow, QuotaUseRow, VaultMasterSet, VaultKeyAdded,
                 VaultKeyWrapped, VaultKeyRemoved, CredentialRow, CredentialSealed, CredentialEnd,
                 BindingRow, BindingSealed, BindingEnd>;

// One transaction's part: all of it or nothing.
struct Changes {
  std::string actor;  // who did it, for the feed: "config", "uid 0", an agent's DID
  uint64_t at_ms = 0;
  std::vector<Change> list;
};

// The change feed: one entry for every change, numbered in the order of the commits, without gaps
// but for those that a restore forgot.
struct FeedEntry {
  uint64_t sequence = 0;
  uint64_t at_ms = 0;
  std::string actor;
  std::string kind;
  // An identity, a hash or a digest; of a tenant two bytes and of a policy eight, its number,
  // little-endian; so is that of a credential or a key of the vault.
  Buffer subject;
  Buffer object;  // the other identity, where there is one; a credential's name or number

  bool operator==(const FeedEntry&) const = default;
};

// The same with whom it concerns, where subject and object are digests.
struct AuditFeedEntry {
  FeedEntry entry;
  ByteArray<32> from{};
  ByteArray<32> to{};
};

// The last revocation of a pair, by identities in ascending order.
struct FloorRow {
  ByteArray<32> low{};
  ByteArray<32> high{};
  uint64_t at_ms = 0;
};

// Identities are those that agents have now, whatever they had when a row was written.
struct Snapshot {
  std::vector<AgentRow> agents;            // by address
  std::vector<RevocationRow> revocations;  // in the order in which they were made
  std::vector<TenantRow> tenants;
  std::vector<TokenRow> tokens;      // that can still be spent
  std::vector<RequestRow> requests;  // pending, in the order in which they came
  std::vector<ConsentRow> consents;  // of pending requests
  std::vector<PairRow> pairs;        // not ended, in the order in which they were made
  std::vector<FloorRow> floors;
  PolicyRow policy;                     // number 0: there is none
  std::vector<RotationRow> rotations;   // in the order in which they were made
  std::vector<RelayKeyRow> relay_keys;  // in the order in which they were made
  AuditCheckpointRow audit;             // the last one; at 0 ms: there is none
  std::vector<ScopeNameRow> scope_names;
  std::vector<QuotaUseRow> quota_uses;
  VaultRows vault;
};

}  // namespace sluice::control
