// Signed statements (wire.md §5): strict parsing of exactly the bytes that were signed, and the
// limits and text rules that both ends hold them to.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace sluice::pb {
class Signed;
class Statement;
}  // namespace sluice::pb

namespace sluice::wire {

// Refuses unknown fields, repeated singular fields, fields out of order, default values written
// out, trailing bytes: whatever is not what a canonical encoder writes.
Result<void> parse_statement(Bytes bytes, pb::Statement& out);
Result<void> parse_signed(Bytes bytes, pb::Signed& out);

std::string encode_statement(const pb::Statement& statement);

// What the successor of an IdentityRotate signs: the statement without its consent.
std::string encode_without_consent(const pb::Statement& statement);

// The envelope of a statement; `sign` signs bytes under the statements' label.
pb::Signed sign_statement(const pb::Statement& statement, const ByteArray<32>& signer,
                          const std::function<ByteArray<64>(Bytes)>& sign);

inline constexpr size_t kMostSignedBytes = 1'000;  // of an envelope: it fits one CONTROL frame
inline constexpr size_t kMostJustification = 256;  // bytes of UTF-8, as the next two
inline constexpr size_t kMostReason = 256;
inline constexpr size_t kMostTermBytes = 64;  // a scope, protocol or capability
inline constexpr int kMostTerms = 16;         // of each kind
inline constexpr size_t kRequestNonceBytes = 16;

// One line for people, at most `most` bytes of what is known to be UTF-8: no control characters of
// either kind, no line separators, and nothing that changes the direction of what surrounds it
// (Unicode Technical Report 36, §2): what is shown must be what was signed.
bool is_plain_text(std::string_view text, size_t most);
// The name of an agent: 1 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or digit.
bool is_agent_name(std::string_view name);

}  // namespace sluice::wire
