// The agent's edges as its relay tells them: EdgeSync parts put together, and every peer's Enrol
// statement verified before its end-to-end key is believed (wire.md §5). No I/O, one thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/pins.h"
#include "base/address.h"
#include "base/error.h"

namespace sluice::pb {
class Edge;
class EdgeSync;
class Signed;
class Statement;
}  // namespace sluice::pb

namespace sluice::agent {

enum class Right : uint8_t { kUnknown = 0, kMaySend = 1, kMayOpen = 2, kReplyOnly = 3 };
// No message passes over it outside of a call.
constexpr bool is_for_calls_alone(Right r) {
  return r == Right::kMayOpen || r == Right::kReplyOnly;
}
const char* to_string(Right right);

// Which seals the relay takes on an edge. Where it takes any, the agent seals fully: packets cannot
// be matched by their content on both sides of the relay.
enum class SealPolicy : uint8_t { kFull = 0, kHeader = 1, kAny = 2, kUnknown = 255 };
const char* to_string(SealPolicy seal);

struct PeerEdge {
  crypto::PublicKey identity{};
  uint32_t label = 0;
  VirtualAddress address;
  std::string name;
  Right right = Right::kUnknown;
  SealPolicy seal = SealPolicy::kFull;
  ByteArray<32> e2e_key{};
  // Digests of the statements that made the pair; none: the relay's operator set it.
  std::optional<ByteArray<32>> request, grant;
  std::vector<ByteArray<32>> rotations;  // statements by which the peer became `identity`
  uint64_t expires_ms = 0;               // of the trust; 0: no end
  std::string refused;                   // why the edge is not used; empty when it is

  bool usable() const { return refused.empty(); }
};

// Checks form, signature (by `signer_key` when given, else by the signer it names) and that the
// statement was made for this relay. On success `out` is the statement.
Result<void> verify_signed(const pb::Signed& signed_statement, const ByteArray<32>& relay_id,
                           const std::optional<crypto::PublicKey>& signer_key, pb::Statement& out);

// The envelope of this agent's own statement.
pb::Signed sign_statement(const pb::Statement& statement, const crypto::Identity& identity);

// An edge whose Enrol cannot be verified, or is older than one seen before, comes back refused. A
// newer Enrol is remembered in `pins`. Nothing for a record that does not even name a peer.
std::optional<PeerEdge> verify_edge(const pb::Edge& edge, const ByteArray<32>& relay_id,
                                    Pins& pins);

// Collects the parts of the newest sync. Parts of older ones are told apart by their id.
class EdgeAssembler {
 public:
  static constexpr uint32_t kMaxParts = 1u << 16;

  // The whole set, serialized edge by edge, once its last part is there. An error is a part that
  // contradicts itself; parts seen before and old syncs are fine and change nothing.
  Result<std::optional<std::vector<std::string>>> add(const pb::EdgeSync& part);
  // After a new relay epoch sync ids start again.
  void reset();

 private:
  std::optional<uint64_t> applied_;
  uint64_t collecting_ = 0;
  uint32_t parts_expected_ = 0;
  std::map<uint32_t, std::vector<std::string>> parts_;
};

}  // namespace sluice::agent
