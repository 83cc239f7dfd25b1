// Credentials as tests write them: fields in the form of wire/credential.h.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crypto/secret_buffer.h"
#include "wire/credential.h"

namespace sluice {

using CredentialFields = std::vector<std::pair<wire::CredentialField, std::string>>;

inline std::shared_ptr<crypto::SecretBuffer> credential_of(const CredentialFields& fields) {
  Buffer text(64u << 10);
  MutBytes rest = text;
  for (const auto& [type, bytes] : fields) {
    rest = wire::write_credential_field(rest, type, as_bytes(bytes));
  }
  return std::make_shared<crypto::SecretBuffer>(Bytes(text).first(text.size() - rest.size()));
}

}  // namespace sluice
