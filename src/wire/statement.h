// Signed statements (wire.md §5): strict parsing of exactly the bytes that were signed.
#pragma once

#include <string>

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

}  // namespace sluice::wire
