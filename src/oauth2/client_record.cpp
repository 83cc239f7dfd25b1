#include "oauth2/client_record.h"

#include <algorithm>

#include <fmt/format.h>

#include "crypto/secret_text.h"

namespace sluice::oauth2 {
namespace {

using wire::CredentialField;

constexpr std::string_view kDefaultName = "Authorization";
constexpr std::string_view kDefaultValue = "Bearer {token}";

void append_field(crypto::SecretText& out, CredentialField type, std::string_view text) {
  const size_t size = wire::kCredentialFieldHead + text.size();
  auto* at = reinterpret_cast<uint8_t*>(out.extend(size));
  wire::write_credential_field({at, size}, type, as_bytes(text));
}

}  // namespace

Result<ClientRecord> ClientRecord::parse(crypto::SecretBuffer content) {
  const auto wrong = [](std::string_view what) {
    return fail(ErrorCode::kUsage,
                fmt::format("the record {}; set it anew with sluicectl credential set", what));
  };
  ClientRecord out;
  out.content = std::move(content);
  wire::CredentialReader reader(out.content.view());
  wire::CredentialPart part;
  while (reader.next(part)) {
    const std::string_view text = as_text(part.bytes);
    switch (part.type) {
      case CredentialField::kTokenUrl:
        out.url = text;
        break;
      case CredentialField::kClientId:
        out.id = text;
        break;
      case CredentialField::kClientSecret:
        out.secret = text;
        break;
      case CredentialField::kTokenScope:
        out.scope = text;
        break;
      case CredentialField::kTokenAudience:
        out.audience = text;
        break;
      case CredentialField::kTokenAuthority:
        out.authority = text;
        break;
      case CredentialField::kTokenAuth:
        if (text != "basic" && text != "post")
          return wrong("says neither basic nor post of how the client shows who it is");
        out.auth = text == "post" ? ClientAuth::kPost : ClientAuth::kBasic;
        break;
      default:
        if (wire::stays_at_relay(part.type)) return wrong("has a part that is not known");
        out.target.push_back(part);
    }
  }
  if (!reader.sound()) return wrong("is broken off");
  if (out.url.empty()) return wrong("names no token endpoint");
  if (out.id.empty()) return wrong("names no client");
  if (out.secret.empty()) return wrong("has no client secret");
  const bool plain =
      std::all_of(out.url.begin(), out.url.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain) return wrong("has a token endpoint that is no URL");
  return out;
}

crypto::SecretBuffer ClientRecord::with_token(std::string_view token) const {
  crypto::SecretText out(1'024);
  bool placed = false;
  crypto::SecretText value;
  const auto fill = [&](std::string_view form) {
    const size_t at = form.find(kTokenPlace);
    value.cut(0);
    value << form.substr(0, at) << token << form.substr(at + kTokenPlace.size());
    placed = true;
    return value.view();
  };
  for (const wire::CredentialPart& part : target) {
    const std::string_view text = as_text(part.bytes);
    const bool takes_it =
        (part.type == CredentialField::kHeaderValue || part.type == CredentialField::kQueryValue) &&
        text.find(kTokenPlace) != std::string_view::npos;
    append_field(out, part.type, takes_it ? fill(text) : text);
  }
  if (!placed) {
    append_field(out, CredentialField::kHeaderName, kDefaultName);
    append_field(out, CredentialField::kHeaderValue, fill(kDefaultValue));
  }
  if (out.size() > wire::kCredentialMax) return {};
  return out.take();
}

}  // namespace sluice::oauth2
