// What a token is asked for with: the fields of wire/credential.h that stay at the relay, and those
// that go to the target beside the token. Views into the bytes that it keeps. Move-only.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "crypto/secret_buffer.h"
#include "wire/credential.h"

namespace sluice::oauth2 {

// Stands in a header's value where the token belongs.
inline constexpr std::string_view kTokenPlace = "{token}";

enum class ClientAuth : uint8_t { kBasic, kPost };

struct ClientRecord {
  crypto::SecretBuffer content;
  std::string_view url, id, secret, scope, audience, authority;
  ClientAuth auth = ClientAuth::kBasic;
  std::vector<wire::CredentialPart> target;  // in their order

  // kUsage: what is wrong with it, without any of it.
  static Result<ClientRecord> parse(crypto::SecretBuffer content);
  // The credential with `token` in it: in the place of {token} of a header's value, or, where there
  // is none, as `Authorization: Bearer`. Empty: it is larger than a credential may be.
  crypto::SecretBuffer with_token(std::string_view token) const;
};

}  // namespace sluice::oauth2
