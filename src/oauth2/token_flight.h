// One question to a token endpoint and its answer, by libcurl: bounded in time and size, over
// verified TLS, without redirects. The keeper's thread's.
#pragma once

#include <string>

#include "http/curl.h"
#include "oauth2/token_request.h"

namespace sluice::oauth2 {

struct FlightLimits {
  long connect_ms = 5'000;
  long whole_ms = 15'000;
};

class TokenFlight {
 public:
  static constexpr size_t kMostBytes = 64u << 10;

  // `record` outlives it.
  TokenFlight(const ClientRecord& record, const FlightLimits& limits);
  TokenFlight(const TokenFlight&) = delete;
  TokenFlight& operator=(const TokenFlight&) = delete;

  CURL* handle() const { return easy_.get(); }
  // Once curl is through with it.
  long status() const;
  Bytes body() const { return as_bytes(body_.view()); }
  bool too_large() const { return too_large_; }
  uint64_t retry_after_ms() const;

 private:
  static size_t on_body(char* data, size_t, size_t n, void* self);

  TokenRequest request_;
  crypto::SecretText body_;
  bool too_large_ = false;
  http::CurlLines lines_;
  http::CurlEasy easy_;  // uses what stands above
};

// Whether a token may be asked for there: https, or http of this very host, for trials.
bool is_token_url(std::string_view url);

}  // namespace sluice::oauth2
