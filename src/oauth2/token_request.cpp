#include "oauth2/token_request.h"

namespace sluice::oauth2 {

TokenRequest token_request(const ClientRecord& record) {
  TokenRequest out;
  const auto parameter = [&](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    if (out.body.size() > 0) out.body << '&';
    out.body << name << '=';
    out.body.append_percent_encoded(value);
  };
  parameter("grant_type", "client_credentials");
  parameter("scope", record.scope);
  parameter("audience", record.audience);
  // RFC 8707 knows URIs alone, and servers that know it refuse anything else.
  if (record.audience.find("://") != std::string_view::npos) parameter("resource", record.audience);
  if (record.auth == ClientAuth::kPost) {
    parameter("client_id", record.id);
    parameter("client_secret", record.secret);
    return out;
  }
  // RFC 6749, 2.3.1: encoded as in a form first.
  crypto::SecretText pair;
  pair.append_percent_encoded(record.id);
  pair << ':';
  pair.append_percent_encoded(record.secret);
  out.authorization << "Authorization: Basic ";
  out.authorization.append_base64(pair.view());
  out.authorization << '\0';
  return out;
}

}  // namespace sluice::oauth2
