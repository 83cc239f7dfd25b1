#include "vault/content.h"

#include <algorithm>

#include <fmt/format.h>

#include "wire/credential.h"

namespace sluice::vault {
namespace {

using wire::CredentialField;

constexpr size_t kLongestUrl = 2048;

bool is_visible(Bytes text) {
  return std::all_of(text.begin(), text.end(), [](uint8_t c) { return c > ' ' && c < 0x7f; });
}

// A field value of RFC 9110, 5.5.
bool is_value(Bytes text) {
  return !text.empty() && text.front() != ' ' && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(), [](uint8_t c) { return c >= ' ' && c < 0x7f; });
}

bool is_url(Bytes text) {
  const std::string_view t = as_text(text);
  return t.size() <= kLongestUrl && is_visible(text) &&
         (t.starts_with("https://") || t.starts_with("http://"));
}

bool is_pem(Bytes text) {
  return as_text(text).find("-----BEGIN ") != std::string_view::npos;
}

// Empty: it is fit; else what it should be.
std::string_view unfit(CredentialField type, Bytes text) {
  switch (type) {
    case CredentialField::kHeaderName:
      return wire::is_credential_header(as_text(text))
                 ? ""
                 : "a header's name is a token, and none that frames messages";
    case CredentialField::kHeaderValue:
      return is_value(text) ? "" : "a header's value is one line of ASCII without spaces around it";
    case CredentialField::kQueryName:
      return !text.empty() && is_visible(text) ? "" : "a query's name is visible ASCII";
    case CredentialField::kQueryValue:
      return is_value(text) ? "" : "a query's value is one line of ASCII";
    case CredentialField::kEndpoint:
    case CredentialField::kWebhook:
    case CredentialField::kTokenUrl:
      return is_url(text) ? "" : "a URL begins with https:// or http:// and has no spaces";
    case CredentialField::kClientChain:
    case CredentialField::kClientKey:
    case CredentialField::kAuthority:
    case CredentialField::kTokenAuthority:
      return is_pem(text) ? "" : "certificates and keys are PEM";
    case CredentialField::kClientId:
    case CredentialField::kClientSecret:
    case CredentialField::kTokenScope:
    case CredentialField::kTokenAudience:
      return is_value(text) ? "" : "what OAuth2 asks with is one line of ASCII";
    case CredentialField::kTokenAuth:
      return as_text(text) == "basic" || as_text(text) == "post" ? "" : "auth is basic or post";
  }
  return "a field is of a type that this program does not know";
}

tl::unexpected<Error> malformed(std::string_view why) {
  return fail(ErrorCode::kUsage, fmt::format("not a credential: {}", why));
}

constexpr bool repeats(CredentialField type) {
  return type == CredentialField::kHeaderName || type == CredentialField::kHeaderValue ||
         type == CredentialField::kQueryName || type == CredentialField::kQueryValue;
}

}  // namespace

Result<uint8_t> check_content(Bytes text) {
  if (text.size() > wire::kCredentialMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("a credential has at most {} bytes, this one {}",
                                                  wire::kCredentialMax, text.size()));
  }
  std::array<bool, 256> there{};
  const auto has = [&](CredentialField f) { return there[static_cast<uint8_t>(f)]; };
  wire::CredentialReader reader(text);
  wire::CredentialPart part{};
  CredentialField wanted{};  // what must come next
  while (reader.next(part)) {
    if (const auto why = unfit(part.type, part.bytes); !why.empty()) return malformed(why);
    const bool value =
        part.type == CredentialField::kHeaderValue || part.type == CredentialField::kQueryValue;
    if (value ? wanted != part.type : wanted != CredentialField{}) {
      return malformed("a name is followed by its value");
    }
    wanted = part.type == CredentialField::kHeaderName  ? CredentialField::kHeaderValue
             : part.type == CredentialField::kQueryName ? CredentialField::kQueryValue
                                                        : CredentialField{};
    bool& known = there[static_cast<uint8_t>(part.type)];
    if (known && !repeats(part.type)) return malformed("a field stands in it twice");
    known = true;
  }
  if (!reader.sound() || wanted != CredentialField{}) return malformed("it ends within a field");
  if (has(CredentialField::kEndpoint) && has(CredentialField::kWebhook)) {
    return malformed("it is for an endpoint or a webhook, not both");
  }
  if (has(CredentialField::kClientChain) != has(CredentialField::kClientKey)) {
    return malformed("a client's certificate and its key come together");
  }
  const bool oauth2 = has(CredentialField::kTokenUrl) && has(CredentialField::kClientId) &&
                      has(CredentialField::kClientSecret);
  for (unsigned f = 32; f < 256 && !oauth2; ++f) {
    if (there[f]) return malformed("OAuth2 needs a token URL, a client id and a client secret");
  }
  const uint8_t parts = static_cast<uint8_t>(
      (has(CredentialField::kHeaderName) ? kHeaderPart : 0) |
      (has(CredentialField::kQueryName) ? kQueryPart : 0) |
      (has(CredentialField::kEndpoint) ? kEndpointPart : 0) |
      (has(CredentialField::kWebhook) ? kWebhookPart : 0) |
      (has(CredentialField::kClientChain) ? kClientCertificatePart : 0) |
      (has(CredentialField::kAuthority) ? kAuthorityPart : 0) | (oauth2 ? kOauth2Part : 0));
  if ((parts & ~kAuthorityPart) == 0) return malformed("there is nothing in it");
  return parts;
}

std::vector<std::string> part_names(uint8_t parts) {
  constexpr const char* kNames[] = {
      "header", "query", "endpoint", "webhook", "client_certificate", "authority", "oauth2"};
  std::vector<std::string> out;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if ((parts >> i & 1) != 0) out.emplace_back(kNames[i]);
  }
  return out;
}

}  // namespace sluice::vault
