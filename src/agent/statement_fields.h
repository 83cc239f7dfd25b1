// Keys, digests and signatures in the fields of statements, which are strings there.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"

namespace sluice::agent {

inline std::string text(Bytes bytes) {
  return std::string(as_text(bytes));
}

// None: the field has another size.
inline std::optional<ByteArray<32>> key_of(const std::string& bytes) {
  if (bytes.size() != 32) return std::nullopt;
  return take<32>(as_bytes(bytes).data());
}

}  // namespace sluice::agent
