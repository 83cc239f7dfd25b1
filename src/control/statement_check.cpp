#include "control/statement_check.h"

#include <algorithm>

#include "crypto/hash.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

template <typename Names>
bool good_names(const Names& names) {
  return names.size() <= wire::kMostTerms &&
         std::all_of(names.begin(), names.end(), [](const std::string& n) {
           return !n.empty() && wire::is_plain_text(n, wire::kMostTermBytes);
         });
}

template <typename Names>
bool all_in(const Names& part, const Names& all) {
  return std::all_of(part.begin(), part.end(), [&](const std::string& n) {
    return std::find(all.begin(), all.end(), n) != all.end();
  });
}

// reply_only, may_open, may_send: each has what the one before has.
int rank(const pb::Terms& terms) {
  switch (right_of(terms)) {
    case EdgeRight::kReplyOnly:
      return 0;
    case EdgeRight::kMayOpen:
      return 1;
    case EdgeRight::kMaySend:
      return 2;
  }
  return 0;
}

}  // namespace

OutcomeCode check_statement(const pb::Signed& envelope, const AgentEntry& agent,
                            const ByteArray<32>& relay_id, CheckedStatement& out) {
  const std::string bytes = envelope.SerializeAsString();
  pb::Signed strict;
  if (bytes.size() > wire::kMostSignedBytes || !wire::parse_signed(as_bytes(bytes), strict)) {
    return OutcomeCode::kMalformed;
  }
  if (as_text(agent.identity) != strict.signer()) return OutcomeCode::kNotYours;
  const Bytes statement = as_bytes(strict.statement());
  out.digest = crypto::sha256({statement});
  out.bytes = to_buffer(as_bytes(bytes));
  if (!crypto::verify(agent.identity, crypto::kLabelStatement, {statement},
                      take<64>(as_bytes(strict.signature()).data()))) {
    return OutcomeCode::kBadSignature;
  }
  if (!wire::parse_statement(statement, out.statement)) return OutcomeCode::kMalformed;
  if (out.statement.relay_key() != as_text(relay_id)) return OutcomeCode::kWrongRelay;
  if (out.statement.tenant() != agent.address.tenant) return OutcomeCode::kWrongTenant;
  return OutcomeCode::kOk;
}

bool is_timely(const pb::Statement& statement, uint64_t now_ms) {
  const uint64_t issued = statement.issued_ms();
  return (issued > now_ms ? issued - now_ms : now_ms - issued) <= kMostSkewMs;
}

bool well_formed(const pb::Terms& terms) {
  return terms.right() >= pb::RIGHT_UNSPECIFIED && terms.right() <= pb::REPLY_ONLY &&
         good_names(terms.scopes()) && good_names(terms.protocols()) &&
         good_names(terms.capabilities());
}

bool covers(const pb::Terms& all, const pb::Terms& part) {
  return rank(part) <= rank(all) && all_in(part.scopes(), all.scopes()) &&
         all_in(part.protocols(), all.protocols()) &&
         all_in(part.capabilities(), all.capabilities());
}

EdgeRight right_of(const pb::Terms& terms) {
  return terms.right() == pb::RIGHT_UNSPECIFIED ? EdgeRight::kReplyOnly
                                                : static_cast<EdgeRight>(terms.right());
}

pb::Signed operator_statement(const RelayKeys& keys, uint16_t tenant, uint64_t now_ms,
                              const std::function<void(pb::Statement&)>& fill) {
  pb::Statement statement;
  statement.set_version(1);
  statement.set_relay_key(keys.id.data(), keys.id.size());
  statement.set_tenant(tenant);
  statement.set_issued_ms(now_ms);
  fill(statement);
  return wire::sign_statement(statement, keys.operator_key.public_key(), [&](Bytes bytes) {
    return keys.operator_key.sign(crypto::kLabelStatement, {bytes});
  });
}

}  // namespace sluice::control
