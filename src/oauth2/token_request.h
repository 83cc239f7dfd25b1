// What is said to a token endpoint (RFC 6749, 4.4.2), in guarded memory. No I/O; any thread.
#pragma once

#include "crypto/secret_text.h"
#include "oauth2/client_record.h"

namespace sluice::oauth2 {

struct TokenRequest {
  crypto::SecretText body;
  crypto::SecretText authorization;  // a header line with a NUL behind it; empty: none
};
TokenRequest token_request(const ClientRecord& record);

}  // namespace sluice::oauth2
