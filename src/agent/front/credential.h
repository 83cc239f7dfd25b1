// A credential as a request gets it on the last hop: what of it goes into the request's head, where
// the request goes, and by what certificate (wire/credential.h). Views into the bytes that it keeps
// alive. No I/O; one thread.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "agent/front/message.h"
#include "agent/front/redactor.h"
#include "crypto/secret_buffer.h"
#include "crypto/secret_text.h"

namespace sluice::agent {

class Credential {
 public:
  struct Pair {
    std::string_view name, value;
  };

  // kUsage: what is wrong with it, without any of it.
  static Result<Credential> parse(std::shared_ptr<const crypto::SecretBuffer> content);

  const std::vector<Pair>& headers() const { return headers_; }
  const std::vector<Pair>& queries() const { return queries_; }
  // Empty: none.
  std::string_view endpoint() const { return endpoint_; }
  std::string_view webhook() const { return webhook_; }
  std::string_view client_chain() const { return client_chain_; }
  std::string_view client_key() const { return client_key_; }
  std::string_view authority() const { return authority_; }
  // Tells one from another, for what is kept from one request to the next; of this run alone.
  ByteArray<16> tag() const;

  // What must not come back to the caller.
  Redactor redactor() const;

 private:
  std::shared_ptr<const crypto::SecretBuffer> content_;
  std::vector<Pair> headers_, queries_;
  std::string_view endpoint_, webhook_, client_chain_, client_key_, authority_;
};

struct StripRules {
  bool authorization = true, cookies = false;
};
// Takes from the head every form of authorization that a caller may have written: fields (any case,
// with underscores too, each time they stand there) and parameters of the query (percent-encoded
// too); in any case what goes by a name that `credential` sets.
void strip_authorization(RequestHead& head, const Credential* credential, StripRules rules);

// `target` with the credential's parameters in its query.
void write_target(crypto::SecretText& out, std::string_view target, const Credential* credential);
// The whole head as HTTP/1.1 has it, with the credential's fields and parameters: the one place
// where secret and request meet.
crypto::SecretText request_text(const RequestHead& head, const Credential* credential);

}  // namespace sluice::agent
