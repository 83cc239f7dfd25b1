// What a token endpoint answers (RFC 6749, 5): read where it lies, so that the token is copied into
// guarded memory alone. No I/O; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "crypto/secret_buffer.h"

namespace sluice::oauth2 {

// Of a token whose endpoint does not say how long it lives.
inline constexpr uint64_t kUnsaidLifeS = 300;
inline constexpr uint64_t kLongestLifeS = 10u * 366 * 86'400;

struct Token {
  crypto::SecretBuffer text;
  uint64_t life_s = kUnsaidLifeS;
};

struct AnswerFailure {
  std::string reason;    // a sentence's end, without anything of the answer but its status
  bool lasting = false;  // the same question will get the same answer until somebody acts
};

// Either a token, or why there is none.
tl::expected<Token, AnswerFailure> read_answer(long status, Bytes body);

}  // namespace sluice::oauth2
