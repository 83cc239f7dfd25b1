// Access tokens for OAuth2 clients (RFC 6749, 4.4), kept fresh: asked for at once, again ahead of
// their end, and with growing pauses where that fails. A thread of its own with libcurl; what it
// finds comes through `Post` to the thread that owns the keeper. Secrets and tokens stay in guarded
// memory, but for what curl has under way, which it wipes.
//
// set(), remove() and the destructor are the owner thread's. After set() or remove() of a key, and
// after the destructor, nothing is told any more of what was there before.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "crypto/secret_buffer.h"
#include "oauth2/token_flight.h"

namespace sluice::oauth2 {

struct TokenEvents {
  // `content`: the credential for the target, in the form of wire/credential.h.
  std::function<void(uint64_t key, crypto::SecretBuffer content, int64_t expires_unix_ms)> on_token;
  // A token that was told of before stays good until its end. `reason` begins "the token endpoint
  // …" or "the record …" and has nothing of either in it. 0: it is not tried again.
  std::function<void(uint64_t key, std::string reason, int64_t retry_at_unix_ms)> on_failure;
};

class TokenKeeper {
 public:
  // Runs what it is given on the owner's thread, later, in order. Called on the keeper's thread.
  using Post = std::function<void(std::function<void()>)>;

  // kResource: curl does not start.
  static Result<std::unique_ptr<TokenKeeper>> start(Post post, TokenEvents events,
                                                    FlightLimits limits = {});
  ~TokenKeeper();
  TokenKeeper(const TokenKeeper&) = delete;
  TokenKeeper& operator=(const TokenKeeper&) = delete;

  // In place of what `key` had.
  void set(uint64_t key, crypto::SecretBuffer record);
  void remove(uint64_t key);

 private:
  struct Parts;
  explicit TokenKeeper(std::shared_ptr<Parts> parts);
  std::shared_ptr<Parts> parts_;
};

}  // namespace sluice::oauth2
