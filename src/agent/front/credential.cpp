#include "agent/front/credential.h"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "wire/credential.h"

namespace sluice::agent {
namespace {

using wire::CredentialField;

// As servers compare names that they have turned into variables: no case, and one of "-_. " for
// the other.
std::string folded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool joint = c == '-' || c == '.' || c == ' ';
    out += upper ? static_cast<char>(c - 'A' + 'a') : joint ? '_' : c;
  }
  return out;
}

// Whole names, folded.
constexpr auto kAuthorizationFields = std::to_array<std::string_view>({
    "authentication",
    "circle_token",
    "client_cert",
    "client_cert_chain",
    "cf_access_jwt_assertion",
    "dpop",
    "job_token",
    "ocp_apim_subscription_key",
    "private_token",
    "remote_user",
    "signature",
    "signature_input",
    "token",
    "x_access_key",
    "x_access_token",
    "x_amz_security_token",
    "x_amzn_oidc_data",
    "x_api_secret",
    "x_api_token",
    "x_app_key",
    "x_auth",
    "x_auth_email",
    "x_auth_key",
    "x_auth_token",
    "x_client_cert",
    "x_figma_token",
    "x_forwarded_access_token",
    "x_forwarded_client_cert",
    "x_forwarded_email",
    "x_forwarded_groups",
    "x_forwarded_preferred_username",
    "x_forwarded_user",
    "x_functions_key",
    "x_gitlab_token",
    "x_goog_authenticated_user_email",
    "x_id_token",
    "x_ms_client_principal",
    "x_rapidapi_key",
    "x_redmine_api_key",
    "x_remote_user",
    "x_secret_key",
    "x_session_token",
    "x_shopify_access_token",
    "x_ssl_client_cert",
    "x_subscription_token",
    "x_token",
    "x_vault_token",
});
// Parts of names, folded: X-API-Key, Api-Key, X-Goog-Api-Key, Proxy-Authorization …
constexpr auto kAuthorizationParts = std::to_array<std::string_view>({
    "authorization",
    "api_key",
    "apikey",
    "auth_token",
    "access_token",
});
// RFC 6750, 2.3, and what APIs have made of it.
constexpr auto kAuthorizationParameters = std::to_array<std::string_view>({
    "access_token",
    "api_key",
    "api_token",
    "apikey",
    "auth_token",
    "authorization",
    "client_secret",
    "jwt",
    "sig",
    "subscription_key",
    "x_amz_credential",
    "x_amz_security_token",
    "x_amz_signature",
    "x_api_key",
    "x_goog_api_key",
});
// What an API wants beside a credential and says again itself: no secret.
constexpr auto kPublicFields = std::to_array<std::string_view>({
    "accept",
    "accept_charset",
    "accept_language",
    "anthropic_beta",
    "anthropic_version",
    "api_version",
    "cache_control",
    "content_type",
    "openai_beta",
    "user_agent",
    "x_ms_version",
});
template <typename Names>
bool is_among(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_value(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
  });
}

bool is_authorization(const std::string& name) {
  return is_among(kAuthorizationFields, name) ||
         std::any_of(kAuthorizationParts.begin(), kAuthorizationParts.end(),
                     [&](std::string_view part) { return name.find(part) != std::string::npos; });
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A parameter's name as the most lenient server reads it: decoded, whatever is broken left as it
// is, up to a NUL or the bracket of an array, without space around it.
std::string parameter_name(std::string_view piece) {
  piece = piece.substr(0, piece.find('='));
  std::string out;
  for (size_t i = 0; i < piece.size(); ++i) {
    char c = piece[i] == '+' ? ' ' : piece[i];
    if (c == '%' && i + 2 < piece.size() && digit_of(piece[i + 1]) >= 0 &&
        digit_of(piece[i + 2]) >= 0) {
      c = static_cast<char>(digit_of(piece[i + 1]) << 4 | digit_of(piece[i + 2]));
      i += 2;
    }
    if (c == '\0' || c == '[') break;
    out += c;
  }
  const size_t first = out.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return folded(out.substr(first, out.find_last_not_of(" \t\r\n") - first + 1));
}

// Without the parameters that `is_bad` names. Some servers separate them by semicolons too.
template <typename IsBad>
std::string without_parameters(std::string_view target, const IsBad& is_bad) {
  const size_t mark = target.find('?');
  if (mark == std::string_view::npos) return std::string(target);
  std::string query;
  std::string_view rest = target.substr(mark + 1);
  bool dropped = false;
  for (char before = '\0';;) {
    const size_t end = std::min(rest.find_first_of("&;"), rest.size());
    const std::string_view piece = rest.substr(0, end);
    if (is_bad(parameter_name(piece))) {
      dropped = true;
    } else {
      if (before != '\0' && !query.empty()) query += before;
      query += piece;
    }
    if (end == rest.size()) break;
    before = rest[end];
    rest.remove_prefix(end + 1);
  }
  if (!dropped) return std::string(target);
  std::string out(target.substr(0, mark));
  return query.empty() ? out : out + "?" + query;
}

}  // namespace

Result<Credential> Credential::parse(std::shared_ptr<const crypto::SecretBuffer> content) {
  const auto wrong = [](const char* what) {
    return fail(ErrorCode::kUsage,
                fmt::format("the credential that the relay sent with the call {}; the relay's "
                            "operator has to set it anew",
                            what));
  };
  Credential out;
  out.content_ = std::move(content);
  wire::CredentialReader reader(out.content_->view());
  wire::CredentialPart part;
  Pair* open = nullptr;  // its value follows
  CredentialField awaited{};
  while (reader.next(part)) {
    const std::string_view text = as_text(part.bytes);
    if (open != nullptr && part.type != awaited) return wrong("has a name without its value");
    switch (part.type) {
      case CredentialField::kHeaderName:
        if (!wire::is_credential_header(text)) return wrong("sets a field that is none");
        open = &out.headers_.emplace_back(Pair{text, std::string_view{}});
        awaited = CredentialField::kHeaderValue;
        break;
      case CredentialField::kQueryName:
        if (text.empty()) return wrong("sets a parameter without a name");
        open = &out.queries_.emplace_back(Pair{text, std::string_view{}});
        awaited = CredentialField::kQueryValue;
        break;
      case CredentialField::kHeaderValue:
      case CredentialField::kQueryValue:
        if (open == nullptr) return wrong("has a value without its name");
        if (part.type == CredentialField::kHeaderValue && !is_value(text))
          return wrong("sets a field to what no field can be");
        open->value = text;
        open = nullptr;
        break;
      case CredentialField::kEndpoint:
        out.endpoint_ = text;
        break;
      case CredentialField::kWebhook:
        out.webhook_ = text;
        break;
      case CredentialField::kClientChain:
        out.client_chain_ = text;
        break;
      case CredentialField::kClientKey:
        out.client_key_ = text;
        break;
      case CredentialField::kAuthority:
        out.authority_ = text;
        break;
      default:
        return wrong("has a part that this agent does not know");
    }
  }
  if (!reader.sound() || open != nullptr) return wrong("is broken off");
  if (out.client_chain_.empty() != out.client_key_.empty())
    return wrong("has a certificate without its key, or a key without its certificate");
  return out;
}

ByteArray<16> Credential::tag() const {
  static const ByteArray<32> key = [] {
    ByteArray<32> drawn{};
    crypto::random_bytes(drawn);
    return drawn;
  }();
  return crypto::blake2b_128(key, {content_->view()});
}

Redactor Credential::redactor() const {
  Redactor out;
  for (const Pair& p : headers_) {
    if (is_among(kPublicFields, folded(p.name))) continue;
    out.add(p.value);
    // A server may say the token alone, without its scheme.
    const size_t space = p.value.find(' ');
    if (space == std::string_view::npos) continue;
    const std::string_view token = p.value.substr(space + 1);
    out.add(token);
    if (folded(p.value.substr(0, space)) == "basic") out.add_basic(token);
  }
  for (const Pair& p : queries_) out.add(p.value);
  out.add(endpoint_);
  // The caller's path stands between the endpoint's and its query.
  const size_t mark = std::min(endpoint_.find('?'), endpoint_.size());
  std::string_view base = endpoint_.substr(0, mark);
  while (base.ends_with('/')) base.remove_suffix(1);
  out.add(base);
  std::string_view rest = endpoint_.substr(std::min(mark + 1, endpoint_.size()));
  while (!rest.empty()) {
    const std::string_view piece = rest.substr(0, rest.find_first_of("&;"));
    out.add(piece.substr(piece.find('=') + 1));
    rest.remove_prefix(std::min(piece.size() + 1, rest.size()));
  }
  out.add(webhook_);
  // The secret of a webhook is its path.
  const size_t host = webhook_.find("://");
  const size_t path = host == std::string_view::npos ? host : webhook_.find('/', host + 3);
  if (path != std::string_view::npos) out.add(webhook_.substr(path));
  return out;
}

void strip_authorization(RequestHead& head, const Credential* credential, StripRules rules) {
  if (credential == nullptr && !rules.authorization && !rules.cookies) return;
  std::vector<std::string> fields, parameters;
  if (credential != nullptr) {
    for (const auto& p : credential->headers()) fields.push_back(folded(p.name));
    for (const auto& p : credential->queries()) parameters.push_back(folded(p.name));
  }
  for (auto it = head.begin(); it != head.end();) {
    const std::string name = folded(view(it->name_string()));
    const bool bad = (rules.authorization && is_authorization(name)) || is_among(fields, name) ||
                     (rules.cookies && (name == "cookie" || name == "cookie2"));
    it = bad ? head.erase(it) : std::next(it);
  }
  head.target(without_parameters(view(head.target()), [&](const std::string& name) {
    return (rules.authorization && is_among(kAuthorizationParameters, name)) ||
           is_among(parameters, name);
  }));
}

void write_target(crypto::SecretText& out, std::string_view target, const Credential* credential) {
  out << target;
  if (credential == nullptr) return;
  bool has_query = target.find('?') != std::string_view::npos;
  for (const auto& p : credential->queries()) {
    out << (has_query ? '&' : '?');
    out.append_percent_encoded(p.name);
    out << '=';
    out.append_percent_encoded(p.value);
    has_query = true;
  }
}

crypto::SecretText request_text(const RequestHead& head, const Credential* credential) {
  // Guarded memory is slow to come by: once, for all of it.
  size_t room = head.method_string().size() + head.target().size() + 16;
  for (const auto& f : head) room += f.name_string().size() + f.value().size() + 4;
  if (credential != nullptr) {
    for (const auto& p : credential->headers()) room += p.name.size() + p.value.size() + 4;
    for (const auto& p : credential->queries()) room += 3 * (p.name.size() + p.value.size()) + 2;
  }
  crypto::SecretText out(room);
  out << view(head.method_string()) << ' ';
  write_target(out, view(head.target()), credential);
  out << " HTTP/1.1\r\n";
  for (const auto& f : head) {
    out << view(f.name_string()) << ": " << view(f.value()) << "\r\n";
  }
  if (credential != nullptr) {
    for (const auto& p : credential->headers()) out << p.name << ": " << p.value << "\r\n";
  }
  out << "\r\n";
  return out;
}

}  // namespace sluice::agent
