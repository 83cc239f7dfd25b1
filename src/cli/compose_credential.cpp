#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/file.h"
#include "cli/credential.h"
#include "cli/secret_input.h"
#include "wire/credential.h"

namespace sluice::cli {
namespace {

using crypto::SecretBuffer;
using wire::CredentialField;

constexpr std::string_view kMarks[] = {"{}", "\xe2\x80\xa6"};  // braces, or an ellipsis

// Where in a header's value the secret goes.
struct Mark {
  size_t at = std::string_view::npos;
  size_t size = 0;
};
Mark mark_in(std::string_view text) {
  for (const std::string_view mark : kMarks) {
    if (const size_t at = text.find(mark); at != std::string_view::npos) return {at, mark.size()};
  }
  return {};
}

// What stands there without a mark is a secret that somebody has typed.
bool is_for_secrets(std::string name) {
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  for (const char* part : {"auth", "token", "key", "secret", "cookie", "passw", "signature",
                           "session", "credential"}) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

class Composer {
 public:
  Result<void> field(CredentialField type, Bytes bytes) {
    const MutBytes room = out_.bytes().subspan(used_);
    const MutBytes rest = wire::write_credential_field(room, type, bytes);
    if (rest.data() == nullptr) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("a credential has at most {} bytes", wire::kCredentialMax));
    }
    used_ += room.size() - rest.size();
    return {};
  }
  Result<void> text_field(CredentialField type, const std::string& text) {
    return text.empty() ? Result<void>() : field(type, as_bytes(text));
  }
  Result<void> secret_field(CredentialField type, const std::string& path) {
    if (path.empty()) return {};
    const auto secret = secret_from_file(path, wire::kCredentialMax);
    if (!secret) return tl::unexpected(secret.error());
    return field(type, secret->view());
  }
  Result<void> public_field(CredentialField type, const std::string& path) {
    if (path.empty()) return {};
    const auto content = read_file(path, wire::kCredentialMax);
    if (!content) return tl::unexpected(content.error());
    return field(type, as_bytes(*content));
  }
  SecretBuffer take() {
    out_.shrink(used_);
    return std::move(out_);
  }

 private:
  // One byte more: a field that fills it is not mistaken for one that does not fit.
  SecretBuffer out_{wire::kCredentialMax + 1};
  size_t used_ = 0;
};

Result<void> add_header(Composer& out, const std::string& header, Bytes secret) {
  const size_t colon = header.find(':');
  if (colon == std::string::npos) {
    return fail(ErrorCode::kUsage,
                "one --header is not NAME: VALUE, with {} where the secret goes");
  }
  if (auto ok = out.field(CredentialField::kHeaderName, as_bytes(header.substr(0, colon))); !ok) {
    return ok;
  }
  std::string_view value = std::string_view(header).substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  const Mark mark = mark_in(value);
  if (mark.size == 0 && !is_for_secrets(header.substr(0, colon))) {
    return out.field(CredentialField::kHeaderValue, as_bytes(value));
  }
  if (mark.size == 0) {
    return fail(ErrorCode::kUsage,
                fmt::format("a secret does not belong on the command line: --header '{}: {{}}', "
                            "and the secret on standard input",
                            header.substr(0, colon)));
  }
  const auto before = as_bytes(value.substr(0, mark.at));
  const auto after = as_bytes(value.substr(mark.at + mark.size));
  SecretBuffer whole(before.size() + secret.size() + after.size());
  uint8_t* at = std::copy(before.begin(), before.end(), whole.data());
  at = std::copy(secret.begin(), secret.end(), at);
  std::copy(after.begin(), after.end(), at);
  return out.field(CredentialField::kHeaderValue, whole.view());
}

Result<void> check_options(const CredentialOptions& o, bool marked) {
  if (o.oauth2 && (marked || !o.query.empty())) {
    return fail(ErrorCode::kUsage,
                "with --oauth2 the secret is the client's: no header or query takes it");
  }
  if (o.oauth2 && (o.token_url_file.empty() || o.client_id.empty())) {
    return fail(ErrorCode::kUsage, "--oauth2 needs --token-url-file and --client-id");
  }
  const bool any = !o.headers.empty() || !o.query.empty() || o.oauth2 || !o.endpoint_file.empty() ||
                   !o.webhook_file.empty() || !o.client_cert.empty();
  if (!any) {
    return fail(ErrorCode::kUsage,
                "say what it is: --header, --query, --oauth2, --endpoint-file, --webhook-file or "
                "--client-cert");
  }
  const std::array<const std::string*, 5> files = {
      &o.secret_file, &o.endpoint_file, &o.webhook_file, &o.client_key, &o.token_url_file};
  const bool needs = marked || !o.query.empty() || o.oauth2;
  const auto inputs =
      std::count_if(files.begin(), files.end(), [](const std::string* f) { return *f == "-"; }) +
      (needs && o.secret_file.empty() ? 1 : 0);
  if (inputs > 1) {
    return fail(ErrorCode::kUsage,
                "standard input is one of them: give the others as files, the secret by "
                "--secret-file");
  }
  return {};
}

}  // namespace

Result<SecretBuffer> compose_credential(const CredentialOptions& o) {
  const bool marked = std::any_of(o.headers.begin(), o.headers.end(),
                                  [](const auto& h) { return mark_in(h).size != 0; });
  if (auto ok = check_options(o, marked); !ok) return tl::unexpected(ok.error());
  SecretBuffer secret;
  if (marked || !o.query.empty() || o.oauth2) {
    auto read = o.secret_file.empty()
                    ? secret_from_input(o.oauth2 ? "Client secret" : "Secret", wire::kCredentialMax)
                    : secret_from_file(o.secret_file, wire::kCredentialMax);
    if (!read) return read;
    if (read->empty()) return fail(ErrorCode::kUsage, "the secret is empty");
    secret = std::move(*read);
  }
  Composer out;
  Result<void> ok;
  for (const std::string& header : o.headers) {
    if (ok) ok = add_header(out, header, secret.view());
  }
  if (ok && !o.query.empty()) {
    ok = out.text_field(CredentialField::kQueryName, o.query);
    if (ok) ok = out.field(CredentialField::kQueryValue, secret.view());
  }
  if (ok) ok = out.secret_field(CredentialField::kEndpoint, o.endpoint_file);
  if (ok) ok = out.secret_field(CredentialField::kWebhook, o.webhook_file);
  if (ok) ok = out.public_field(CredentialField::kClientChain, o.client_cert);
  if (ok) ok = out.secret_field(CredentialField::kClientKey, o.client_key);
  if (ok) ok = out.public_field(CredentialField::kAuthority, o.authority);
  if (ok && o.oauth2) {
    ok = out.secret_field(CredentialField::kTokenUrl, o.token_url_file);
    if (ok) ok = out.text_field(CredentialField::kClientId, o.client_id);
    if (ok) ok = out.field(CredentialField::kClientSecret, secret.view());
    if (ok) ok = out.text_field(CredentialField::kTokenScope, o.scope);
    if (ok) ok = out.text_field(CredentialField::kTokenAudience, o.audience);
    if (ok) ok = out.text_field(CredentialField::kTokenAuth, o.auth);
    if (ok) ok = out.public_field(CredentialField::kTokenAuthority, o.token_authority);
  }
  if (!ok) return tl::unexpected(ok.error());
  return out.take();
}

}  // namespace sluice::cli
