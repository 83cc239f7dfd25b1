#include "oauth2/token_answer.h"

#include <algorithm>

#include <fmt/format.h>

#include "crypto/secret_text.h"

namespace sluice::oauth2 {
namespace {

// The members of one JSON object that are asked for. What is nested in it is passed over.
class FlatJson {
 public:
  explicit FlatJson(std::string_view text) : rest_(text) {}

  // `member(name, is_string, text)`: a text decoded, anything else as it stands there. False: it is
  // no JSON object.
  template <typename Member>
  bool read(const Member& member) {
    crypto::SecretText name, value;
    if (!take('{')) return false;
    if (take('}')) return at_end();
    do {
      name.cut(0);
      value.cut(0);
      if (!text(name) || !take(':')) return false;
      skip_space();
      if (!rest_.empty() && rest_.front() == '"') {
        if (!text(value)) return false;
        member(name.view(), true, value.view());
      } else {
        const std::string_view other = pass_over();
        if (other.empty()) return false;
        member(name.view(), false, other);
      }
    } while (take(','));
    return take('}') && at_end();
  }

 private:
  void skip_space() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }
  bool take(char c) {
    skip_space();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool at_end() {
    skip_space();
    return rest_.empty();
  }
  bool text(crypto::SecretText& out) {
    if (!take('"')) return false;
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < ' ') return false;
      if (c != '\\') {
        out << c;
        continue;
      }
      if (rest_.empty()) return false;
      const char escaped = rest_.front();
      rest_.remove_prefix(1);
      if (escaped == 'u') {
        if (!code_point(out)) return false;
        continue;
      }
      constexpr std::string_view kNames = "\"\\/bfnrt";
      constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
      const size_t at = kNames.find(escaped);
      if (at == std::string_view::npos) return false;
      out << kMeant[at];
    }
    return false;
  }
  // Below U+0080 as itself; nothing that is asked for has others, so they become one that it
  // cannot have.
  bool code_point(crypto::SecretText& out) {
    if (rest_.size() < 4) return false;
    unsigned value = 0;
    for (const char c : rest_.substr(0, 4)) {
      const size_t digit = std::string_view("0123456789abcdef")
                               .find(static_cast<char>(c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c));
      if (digit == std::string_view::npos) return false;
      value = value << 4 | unsigned(digit);
    }
    rest_.remove_prefix(4);
    out << (value < 0x80 ? static_cast<char>(value) : '\x7f');
    return true;
  }
  // A number, a word, an array or an object.
  std::string_view pass_over() {
    const std::string_view whole = rest_;
    size_t depth = 0;
    crypto::SecretText ignored;
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (depth == 0 && (c == ',' || c == '}')) break;
      if (c == '"') {
        ignored.cut(0);
        if (!text(ignored)) return {};
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && depth-- == 0) return {};
      rest_.remove_prefix(1);
    }
    std::string_view out = whole.substr(0, whole.size() - rest_.size());
    return out.substr(0, out.find_last_not_of(" \t\r\n") + 1);
  }

  std::string_view rest_;
};

// RFC 6749, 5.2, RFC 8707, 2: what it means for who has to do something about it.
struct KnownError {
  std::string_view name, meaning;
};
constexpr KnownError kKnownErrors[] = {
    {"invalid_client", "it does not know the client, or its secret is another by now"},
    {"unauthorized_client", "it does not let the client ask for tokens in this way"},
    {"access_denied", "it denies the client access"},
    {"invalid_scope", "it does not give the client that scope"},
    {"invalid_target", "it gives no tokens for that audience"},
    {"invalid_grant", "it takes the grant for invalid"},
    {"unsupported_grant_type", "it gives no tokens for client credentials"},
    {"invalid_request", "it does not understand the request"},
};

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

std::optional<uint64_t> seconds_of(std::string_view text) {
  uint64_t out = 0;
  // Some servers say 3600.0, and some "3600".
  const std::string_view whole = text.substr(0, text.find('.'));
  if (whole.empty() || whole.size() > 12) return std::nullopt;
  for (const char c : whole) {
    if (c < '0' || c > '9') return std::nullopt;
    out = out * 10 + uint64_t(c - '0');
  }
  return std::min(out, kLongestLifeS);
}

bool is_token_text(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

tl::expected<Token, AnswerFailure> read_answer(long status, Bytes body) {
  const auto no = [](std::string reason, bool lasting) {
    return tl::unexpected<AnswerFailure>(AnswerFailure{std::move(reason), lasting});
  };
  if (status >= 300 && status < 400)
    return no("answers with a redirect, which is not followed: give the endpoint's own URL", true);
  if (status >= 500) return no(fmt::format("fails with status {}", status), false);
  if (status == 429) return no("wants fewer questions (status 429)", false);

  Token token;
  bool has_type = false, is_bearer = false, good_life = true;
  std::string_view known;
  bool refused = false;
  const bool is_json =
      FlatJson(as_text(body)).read([&](std::string_view name, bool is_string, std::string_view v) {
        if (name == "access_token" && is_string) {
          token.text = crypto::SecretBuffer(as_bytes(v));
        } else if (name == "token_type" && is_string) {
          has_type = true;
          is_bearer = same_word(v, "bearer");
        } else if (name == "expires_in" && v != "null") {
          const auto s = seconds_of(v);
          good_life = s.has_value();
          token.life_s = s.value_or(0);
        } else if (name == "error" && is_string) {
          refused = true;
          for (const KnownError& e : kKnownErrors) {
            if (v == e.name) known = e.meaning;
          }
        }
      });
  if (status != 200 || refused) {
    if (!known.empty()) return no(fmt::format("refuses: {} (status {})", known, status), true);
    return no(fmt::format("refuses with status {}", status), status == 401 || status == 403);
  }
  if (!is_json) return no("answers with what is no JSON object", false);
  if (token.text.empty()) return no("answers without an access token", false);
  if (!has_type) return no("does not say of what type its token is", true);
  if (!is_bearer) return no("gives a token of a type that is not Bearer", true);
  if (!is_token_text(as_text(token.text.view())))
    return no("gives a token that no header can hold", true);
  if (!good_life || token.life_s == 0)
    return no("does not say in whole seconds how long its token lives", true);
  return token;
}

}  // namespace sluice::oauth2
