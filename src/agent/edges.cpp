#include "agent/edges.h"

#include <fmt/format.h>

#include "control.pb.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

bool equal(const std::string& text, Bytes bytes) {
  return as_text(bytes) == text;
}

// The peer's own words about its end-to-end key, or why they do not count.
Result<EnrolPin> verify_enrol(const pb::Edge& edge, const crypto::PublicKey& identity,
                              const ByteArray<32>& relay_id, std::string& name) {
  if (!edge.has_peer_enrol()) {
    return fail(ErrorCode::kRefused, "the relay sent no statement of the peer about its key");
  }
  pb::Statement statement;
  if (auto ok = verify_signed(edge.peer_enrol(), relay_id, identity, statement); !ok) {
    return tl::unexpected(ok.error());
  }
  if (!statement.has_enrol() || statement.enrol().e2e_key().size() != 32) {
    return fail(ErrorCode::kRefused, "the peer's statement certifies no end-to-end key");
  }
  if (name.empty()) name = statement.enrol().name();
  return EnrolPin{statement.issued_ms(), take<32>(as_bytes(statement.enrol().e2e_key()).data())};
}

}  // namespace

const char* to_string(Right right) {
  switch (right) {
    case Right::kMaySend:
      return "may_send";
    case Right::kMayOpen:
      return "may_open";
    case Right::kReplyOnly:
      return "reply_only";
    case Right::kUnknown:
      break;
  }
  return "unknown";
}

const char* to_string(SealPolicy seal) {
  switch (seal) {
    case SealPolicy::kFull:
      return "full";
    case SealPolicy::kHeader:
      return "header";
    case SealPolicy::kAny:
      return "any";
    case SealPolicy::kUnknown:
      break;
  }
  return "unknown";
}

pb::Signed sign_statement(const pb::Statement& statement, const crypto::Identity& identity) {
  return wire::sign_statement(statement, identity.public_key(), [&](Bytes bytes) {
    return identity.sign(crypto::kLabelStatement, {bytes});
  });
}

Result<void> verify_signed(const pb::Signed& signed_statement, const ByteArray<32>& relay_id,
                           const std::optional<crypto::PublicKey>& signer_key, pb::Statement& out) {
  pb::Signed strict;
  if (auto ok = wire::parse_signed(as_bytes(signed_statement.SerializeAsString()), strict); !ok) {
    return ok;
  }
  if (signer_key && !equal(strict.signer(), *signer_key)) {
    return fail(ErrorCode::kRefused, "the statement is signed by another key");
  }
  const auto signer = take<32>(as_bytes(strict.signer()).data());
  const auto signature = take<64>(as_bytes(strict.signature()).data());
  if (!crypto::verify(signer, crypto::kLabelStatement, {as_bytes(strict.statement())}, signature)) {
    return fail(ErrorCode::kRefused, "the statement's signature does not hold");
  }
  if (auto ok = wire::parse_statement(as_bytes(strict.statement()), out); !ok) return ok;
  if (!equal(out.relay_key(), relay_id)) {
    return fail(ErrorCode::kRefused, "the statement was made for another relay");
  }
  return {};
}

std::optional<PeerEdge> verify_edge(const pb::Edge& edge, const ByteArray<32>& relay_id,
                                    Pins& pins) {
  if (edge.peer().size() != 32 || edge.address() >> 48 != 0) return std::nullopt;
  PeerEdge out;
  out.identity = take<32>(as_bytes(edge.peer()).data());
  out.label = edge.label();
  out.address = VirtualAddress::from_u64(edge.address());
  out.name = edge.name();
  if (edge.request().size() == 32 && edge.grant().size() == 32) {
    out.request = take<32>(as_bytes(edge.request()).data());
    out.grant = take<32>(as_bytes(edge.grant()).data());
  }
  out.expires_ms = edge.expires_ms();
  for (const std::string& digest : edge.rotations()) {
    if (digest.size() == 32) out.rotations.push_back(take<32>(as_bytes(digest).data()));
  }
  const int right = edge.right();
  out.right = right >= 1 && right <= 3 ? static_cast<Right>(right) : Right::kUnknown;
  const int seal = edge.seal();
  out.seal = seal >= 0 && seal <= 2 ? static_cast<SealPolicy>(seal) : SealPolicy::kUnknown;
  if (out.seal == SealPolicy::kUnknown) {
    out.refused = "the relay asks for a seal that this version does not know: update sluice-agent";
    return out;
  }

  const auto enrol = verify_enrol(edge, out.identity, relay_id, out.name);
  if (!enrol) {
    out.refused = enrol.error().message;
    return out;
  }
  const auto pin = pins.enrols.find(out.identity);
  if (pin != pins.enrols.end()) {
    if (enrol->issued_ms < pin->second.issued_ms) {
      out.refused = "the relay sent an older statement of the peer than one seen before";
      return out;
    }
    if (enrol->issued_ms == pin->second.issued_ms && enrol->e2e_key != pin->second.e2e_key) {
      out.refused = "two statements of the peer with one time name different keys";
      return out;
    }
  }
  if (pin == pins.enrols.end() || enrol->issued_ms > pin->second.issued_ms) {
    pins.enrols[out.identity] = *enrol;
    pins.changed = true;
  }
  out.e2e_key = enrol->e2e_key;
  return out;
}

Result<std::optional<std::vector<std::string>>> EdgeAssembler::add(const pb::EdgeSync& part) {
  if (part.parts() == 0 || part.parts() > kMaxParts || part.part() >= part.parts()) {
    return fail(ErrorCode::kRefused,
                fmt::format("the relay sent part {} of {} of its list of edges", part.part(),
                            part.parts()));
  }
  const uint64_t id = part.sync_id();
  if ((applied_ && id <= *applied_) || (!parts_.empty() && id < collecting_)) return std::nullopt;
  if (parts_.empty() || id > collecting_ || part.parts() != parts_expected_) {
    parts_.clear();
    collecting_ = id;
    parts_expected_ = part.parts();
  }
  std::vector<std::string> edges;
  for (const pb::Edge& e : part.edges()) edges.push_back(e.SerializeAsString());
  parts_[part.part()] = std::move(edges);
  if (parts_.size() < parts_expected_) return std::nullopt;

  std::vector<std::string> whole;
  for (auto& [number, list] : parts_) {
    for (std::string& e : list) whole.push_back(std::move(e));
  }
  parts_.clear();
  applied_ = id;
  return whole;
}

void EdgeAssembler::reset() {
  applied_.reset();
  parts_.clear();
}

}  // namespace sluice::agent
