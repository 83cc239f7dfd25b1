// The desk's edges against the statements that both agents signed, and the identities that went on
// as others.
#include <algorithm>

#include <fmt/format.h>

#include "agent/statement_fields.h"
#include "agent/trust_desk.h"
#include "crypto/hash.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

constexpr size_t kMostStatements = 4'096;
constexpr size_t kFetchesAtOnce = 8;  // the relay answers ten questions a second

}  // namespace

bool TrustDesk::keep(const ByteArray<32>& digest, const pb::Signed& signed_statement,
                     bool fetched) {
  pb::Statement s;
  if (!verify_signed(signed_statement, party_.relay_id, std::nullopt, s)) return false;
  // The signer speaks for itself.
  if (s.has_trust_request() && s.trust_request().from() != signed_statement.signer()) return false;
  if (s.has_trust_grant() && s.trust_grant().to() != signed_statement.signer()) return false;
  // Those that nobody asked for would only grow the pins.
  if (s.has_identity_rotate() && (!fetched || !keep_rotation(s, signed_statement))) return false;
  if (statements_.size() >= kMostStatements) statements_.erase(statements_.begin());
  statements_[digest] = std::move(s);
  return true;
}

// Both keys signed: what is said of the former is said of the successor.
bool TrustDesk::keep_rotation(const pb::Statement& s, const pb::Signed& signed_statement) {
  const pb::IdentityRotate& r = s.identity_rotate();
  const auto former = key_of(r.former()), successor = key_of(r.successor());
  if (!former || !successor || r.consent().size() != 64 || *former == *successor ||
      r.former() != signed_statement.signer() ||
      !crypto::verify(*successor, crypto::kLabelStatement,
                      {as_bytes(wire::encode_without_consent(s))},
                      take<64>(as_bytes(r.consent()).data()))) {
    return false;
  }
  const bool own = is_self(r.former());
  if (own) return true;
  for (const auto& [after, before] : pins_.formers) {
    if (after == *successor && before == *former) return true;
    if (after != *successor && before != *former) continue;
    hooks_.report(
        Level::kError,
        fmt::format("{} handed over to {}, and is said to have handed over to {} as well: "
                    "not believed",
                    crypto::to_did(before), crypto::to_did(after), crypto::to_did(*successor)));
    return false;
  }
  pins_.formers[*successor] = *former;
  pins_.changed = true;
  hooks_.report(Level::kInfo, fmt::format("{} goes on as {}, as both keys signed",
                                          crypto::to_did(*former), crypto::to_did(*successor)));
  return true;
}

bool TrustDesk::is_self(const std::string& identity) const {
  const auto same = [&](const crypto::PublicKey& key) { return identity == as_text(key); };
  return same(party_.identity->public_key()) ||
         std::any_of(pins_.own_formers.begin(), pins_.own_formers.end(), same);
}

bool TrustDesk::is_peer(const PeerEdge& edge, const std::string& identity) const {
  crypto::PublicKey at = edge.identity;
  for (size_t steps = 0; steps <= pins_.formers.size(); ++steps) {
    if (identity == as_text(at)) return true;
    const auto before = pins_.formers.find(at);
    if (before == pins_.formers.end()) return false;
    at = before->second;
  }
  return false;
}

bool TrustDesk::is_verified(const PeerEdge& edge) const {
  if (!edge.request || !edge.grant) return false;
  const auto it = pins_.agreements.find(edge.identity);
  return it != pins_.agreements.end() && it->second.request == *edge.request &&
         it->second.grant == *edge.grant && it->second.e2e_key == edge.e2e_key;
}

void TrustDesk::check(const std::vector<PeerEdge>& edges, Now now) {
  edges_ = edges;
  fetch_more(now);
}

// What is missing of the statements behind agreed edges, a few at a time.
void TrustDesk::fetch_more(Now now) {
  now_ = now;
  for (const PeerEdge& edge : edges_) {
    if (fetching_.size() >= kFetchesAtOnce) return;
    if (!edge.request || !edge.grant || is_verified(edge)) continue;
    verify(edge);
    if (is_verified(edge)) continue;
    std::vector<ByteArray<32>> needed = edge.rotations;
    needed.insert(needed.end(), {*edge.request, *edge.grant});
    for (const auto& digest : needed) {
      if (!statements_.contains(digest) && !absent_.contains(digest)) fetch(digest, now);
    }
  }
}

void TrustDesk::fetch(const ByteArray<32>& digest, Now now) {
  if (!fetching_.insert(digest).second) return;
  pb::Control message;
  message.mutable_fetch()->set_digest(text(digest));
  put(message, now, kPatienceMs, [this, digest](Result<pb::Control> answer) {
    fetching_.erase(digest);
    if (answer) {
      const pb::Signed& s = answer->fetched();
      if (crypto::sha256({as_bytes(s.statement())}) == digest) (void)keep(digest, s, true);
      // Not asked for again before the next session: the relay does not have it, or lies.
      if (!statements_.contains(digest)) absent_.insert(digest);
    }
    fetch_more(now_);
  });
}

// Both agents signed for this pair: one asked, the other granted, or both asked.
void TrustDesk::verify(const PeerEdge& edge) {
  const auto request = statements_.find(*edge.request);
  const auto grant = statements_.find(*edge.grant);
  if (request == statements_.end() || grant == statements_.end()) return;
  if (!request->second.has_trust_request()) return;
  const pb::TrustRequest& r = request->second.trust_request();
  const bool asked = is_self(r.from()) && is_peer(edge, r.to());
  if (!asked && !(is_peer(edge, r.from()) && is_self(r.to()))) return;
  std::string approver_key;
  if (grant->second.has_trust_grant()) {
    const pb::TrustGrant& g = grant->second.trust_grant();
    if (g.request() != text(*edge.request) || g.from() != r.from() || g.to() != r.to()) return;
    approver_key = g.e2e_key();
  } else if (grant->second.has_trust_request()) {
    const pb::TrustRequest& g = grant->second.trust_request();
    // Each as it was called then.
    if (asked ? !is_peer(edge, g.from()) || !is_self(g.to())
              : !is_self(g.from()) || !is_peer(edge, g.to())) {
      return;
    }
    approver_key = g.e2e_key();
  } else {
    return;
  }
  const auto peer_key = key_of(asked ? approver_key : r.e2e_key());
  if (!peer_key) return;
  if (*peer_key != edge.e2e_key) {
    hooks_.report(
        Level::kError,
        fmt::format("the relay names another end-to-end key for {} than that agent signed "
                    "for: the pair stays unverified",
                    crypto::to_did(edge.identity)));
    return;
  }
  pins_.agreements[edge.identity] = {*edge.request, *edge.grant, *peer_key};
  pins_.changed = true;
}

}  // namespace sluice::agent
