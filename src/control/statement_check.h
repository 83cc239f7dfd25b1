// What is checked of every statement that an agent submits before anybody acts on it (wire.md §5):
// form, signer, signature, relay, tenant, and its time. No state, control thread.
#pragma once

#include <functional>

#include "control.pb.h"
#include "control/outcome.h"
#include "control/relay_keys.h"
#include "control/trust_table.h"

namespace sluice::control {

struct CheckedStatement {
  pb::Statement statement;
  Digest digest{};  // SHA-256 of the statement's bytes
  Buffer bytes;     // the Signed message, as it is kept
};

inline constexpr uint64_t kMostSkewMs = 120'000;

// kOk: `out` is filled. `out.digest` is there from kBadSignature on.
OutcomeCode check_statement(const pb::Signed& envelope, const AgentEntry& agent,
                            const ByteArray<32>& relay_id, CheckedStatement& out);

// |issued - now| within kMostSkewMs; not asked of Enrol, and only when first received.
bool is_timely(const pb::Statement& statement, uint64_t now_ms);

// The terms' form: known right, bounded lists of names of up to 64 printable characters.
bool well_formed(const pb::Terms& terms);
// Whether who offers or is asked for `all` gives `part` of it.
bool covers(const pb::Terms& all, const pb::Terms& part);
EdgeRight right_of(const pb::Terms& terms);

// A statement of the relay itself, signed with its operator key; `fill` gives it a body.
pb::Signed operator_statement(const RelayKeys& keys, uint16_t tenant, uint64_t now_ms,
                              const std::function<void(pb::Statement&)>& fill);

}  // namespace sluice::control
