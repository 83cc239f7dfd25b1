// What a credential consists of (wire/credential.h), checked once before it is sealed: no word of
// it is quoted in an error. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace sluice::vault {

// Bits in the store and in what records are bound to; never reused.
enum ContentPart : uint8_t {
  kHeaderPart = 1,
  kQueryPart = 2,
  kEndpointPart = 4,
  kWebhookPart = 8,
  kClientCertificatePart = 16,
  kAuthorityPart = 32,
  kOauth2Part = 64,
};

// Its parts. kUsage: it is not of the documented form, or does not fit together. kTooLarge.
Result<uint8_t> check_content(Bytes text);

// "header", "query", "endpoint", "webhook", "client_certificate", "authority", "oauth2".
std::vector<std::string> part_names(uint8_t parts);

}  // namespace sluice::vault
