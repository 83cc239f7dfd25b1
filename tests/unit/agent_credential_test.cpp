// What the target does with a credential, without sockets: parsed, the caller's own authorization
// stripped, the injected one written, and none of it in an answer.
#include <gtest/gtest.h>

#include <random>

#include "agent/front/credential.h"
#include "agent/front/redactor.h"
#include "credential_fields.h"
#include "ready.h"

namespace sluice::agent {
namespace {

using Field = wire::CredentialField;

Credential parsed(const CredentialFields& fields) {
  auto out = Credential::parse(credential_of(fields));
  EXPECT_TRUE(out) << (out ? "" : out.error().message);
  return out ? std::move(*out) : Credential();
}

RequestHead head_of(std::string_view text) {
  auto out = parse_request(text);
  EXPECT_TRUE(out) << text;
  return out ? out->head : RequestHead();
}

std::string applied(std::string_view text, const CredentialFields& fields,
                    StripRules rules = {true, false}) {
  const Credential credential = parsed(fields);
  RequestHead head = head_of(text);
  strip_authorization(head, &credential, rules);
  return std::string(request_text(head, &credential).view());
}

TEST(CredentialTest, HeaderTakesThePlaceOfTheCallersOwn) {
  EXPECT_EQ(
      applied("GET /v1/x?a=1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer mine\r\nA: b\r\n\r\n",
              {{Field::kHeaderName, "Authorization"}, {Field::kHeaderValue, "Bearer key"}}),
      "GET /v1/x?a=1 HTTP/1.1\r\nHost: h\r\nA: b\r\nAuthorization: Bearer key\r\n\r\n");
}

TEST(CredentialTest, EveryFormOfAuthorizationGoes) {
  const char* fields[] = {
      "Authorization: Bearer evil",
      "authorization: Basic evil",
      "AUTHORIZATION: evil",
      "aUtHoRiZaTiOn:evil",
      "Proxy-Authorization: Basic evil",
      "proxy_authorization: evil",
      "X-API-Key: evil",
      "x-api-key: evil",
      "X_API_KEY: evil",
      "X-Api_Key: evil",
      "X.Api.Key: evil",
      "api-key: evil",
      "Api-Key: evil",
      "ApiKey: evil",
      "X-ApiKey: evil",
      "x-goog-api-key: evil",
      "X-Goog-Api-Key: evil",
      "X-Auth-Token: evil",
      "x_auth_token: evil",
      "X-Auth-Key: evil",
      "X-Access-Token: evil",
      "Access-Token: evil",
      "X-Forwarded-Authorization: evil",
      "X-Original-Authorization: evil",
      "x-ms-authorization-auxiliary: evil",
      "X-Serverless-Authorization: evil",
      "Private-Token: evil",
      "JOB-TOKEN: evil",
      "X-Vault-Token: evil",
      "Ocp-Apim-Subscription-Key: evil",
      "X-Functions-Key: evil",
      "DPoP: evil",
      "Signature: evil",
      "Signature-Input: evil",
      "X-Amz-Security-Token: evil",
      "X-Forwarded-Client-Cert: evil",
      "Client-Cert: evil",
      "X-SSL-Client-Cert: evil",
      "X-RapidAPI-Key: evil",
      "X-Own-Place: evil",
      "x_own_place: evil",
      "X-OWN-PLACE: evil",
  };
  std::string all = "POST /x HTTP/1.1\r\nHost: h\r\n";
  for (const char* field : fields) {
    const std::string text =
        applied(std::string("POST /x HTTP/1.1\r\n") + field + "\r\n" + field +
                    "\r\nContent-Type: text/plain\r\n\r\n",
                {{Field::kHeaderName, "X-Own-Place"}, {Field::kHeaderValue, "k"}});
    EXPECT_EQ(text, "POST /x HTTP/1.1\r\nContent-Type: text/plain\r\nX-Own-Place: k\r\n\r\n")
        << field;
    all += std::string(field) + "\r\n";
  }
  EXPECT_EQ(
      applied(all + "\r\n", {{Field::kHeaderName, "X-Own-Place"}, {Field::kHeaderValue, "k"}}),
      "POST /x HTTP/1.1\r\nHost: h\r\nX-Own-Place: k\r\n\r\n");
}

TEST(CredentialTest, WhatIsNoAuthorizationStays) {
  const std::string text =
      "POST /x?key=1&token=2&q=a%26api_key%3Db HTTP/1.1\r\nHost: h\r\nIdempotency-Key: 1\r\n"
      "X-CSRF-Token: 2\r\nOpenAI-Beta: 3\r\nanthropic-version: 2023-06-01\r\nCookie: a=b\r\n"
      "If-Match: x\r\nX-Request-Id: 9\r\n\r\n";
  EXPECT_EQ(applied(text, {}), text);
  RequestHead head = head_of(text);
  strip_authorization(head, nullptr, {false, false});
  EXPECT_EQ(request_text(head, nullptr).view(), text);
}

TEST(CredentialTest, CookiesWhereConfigured) {
  const std::string text = "GET / HTTP/1.1\r\nCookie: a=b\r\nCOOKIE: c=d\r\nCookie2: e\r\n\r\n";
  EXPECT_EQ(applied(text, {}, {true, true}), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(applied(text, {{Field::kHeaderName, "Cookie"}, {Field::kHeaderValue, "s=1"}}),
            "GET / HTTP/1.1\r\nCookie2: e\r\nCookie: s=1\r\n\r\n");
}

// Without a credential, where nothing is configured, all goes on as it came.
TEST(CredentialTest, RulesAreRules) {
  const std::string text =
      "GET /?api_key=1 HTTP/1.1\r\nAuthorization: a\r\nX-API-Key: b\r\nCookie: c\r\n\r\n";
  RequestHead head = head_of(text);
  strip_authorization(head, nullptr, {false, true});
  EXPECT_EQ(to_text(head), "GET /?api_key=1 HTTP/1.1\r\nAuthorization: a\r\nX-API-Key: b\r\n\r\n");
  strip_authorization(head, nullptr, {true, false});
  EXPECT_EQ(to_text(head), "GET / HTTP/1.1\r\n\r\n");
}

TEST(CredentialTest, QueryTakesThePlaceOfTheCallersOwn) {
  const struct {
    const char* target;
    const char* want;
  } rows[] = {
      {"/x", "/x?tok%20en=s%26%3D%2F"},
      {"/x?", "/x?&tok%20en=s%26%3D%2F"},
      {"/x?a=1", "/x?a=1&tok%20en=s%26%3D%2F"},
      {"/x?tok%20en=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok+en=evil&a=1", "/x?a=1&tok%20en=s%26%3D%2F"},
      {"/x?a=1&tok%20en=evil&b=2", "/x?a=1&b=2&tok%20en=s%26%3D%2F"},
      {"/x?TOK%20EN=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?%74%6f%6B%20%65%6e=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok%20en", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok_en=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok.en=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?+tok+en=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok%20en%20=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok%20en[]=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok%20en%5B0%5D=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?tok%20en%00x=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?a=1;tok%20en=evil;b=2", "/x?a=1;b=2&tok%20en=s%26%3D%2F"},
      {"/x?tok%20en=evil&tok%20en=evil&tok%20en=evil", "/x?tok%20en=s%26%3D%2F"},
      {"/x?access_token=evil&api_key=evil&API-KEY=evil&apikey=evil&%61pi_key=evil",
       "/x?tok%20en=s%26%3D%2F"},
      {"/x?a=tok%20en=1", "/x?a=tok%20en=1&tok%20en=s%26%3D%2F"},
      {"/x?token=1&%zz=2&%4", "/x?token=1&%zz=2&%4&tok%20en=s%26%3D%2F"},
  };
  for (const auto& row : rows) {
    const std::string text = applied(std::string("GET ") + row.target + " HTTP/1.1\r\n\r\n",
                                     {{Field::kQueryName, "tok en"}, {Field::kQueryValue, "s&=/"}});
    EXPECT_EQ(text, std::string("GET ") + row.want + " HTTP/1.1\r\n\r\n") << row.target;
  }
}

TEST(CredentialTest, WhatIsNone) {
  const CredentialFields bad[] = {
      {{Field::kHeaderName, "A"}},
      {{Field::kHeaderValue, "a"}},
      {{Field::kHeaderName, "A"}, {Field::kQueryValue, "a"}},
      {{Field::kHeaderName, "A"}, {Field::kHeaderName, "B"}, {Field::kHeaderValue, "a"}},
      {{Field::kHeaderName, "A"}, {Field::kEndpoint, "https://x"}, {Field::kHeaderValue, "a"}},
      {{Field::kHeaderName, ""}, {Field::kHeaderValue, "a"}},
      {{Field::kHeaderName, "A B"}, {Field::kHeaderValue, "a"}},
      {{Field::kHeaderName, "A:"}, {Field::kHeaderValue, "a"}},
      {{Field::kHeaderName, "Host"}, {Field::kHeaderValue, "a"}},
      {{Field::kHeaderName, "content-length"}, {Field::kHeaderValue, "5"}},
      {{Field::kHeaderName, "Transfer-Encoding"}, {Field::kHeaderValue, "chunked"}},
      {{Field::kHeaderName, "A"}, {Field::kHeaderValue, "a\r\nB: c"}},
      {{Field::kHeaderName, "A"}, {Field::kHeaderValue, "a\nB: c"}},
      {{Field::kHeaderName, "A"}, {Field::kHeaderValue, std::string("a\0b", 3)}},
      {{Field::kQueryName, ""}, {Field::kQueryValue, "a"}},
      {{Field::kClientKey, "k"}},
      {{Field::kClientChain, "c"}},
      {{Field::kTokenUrl, "https://x"}},
      {{Field::kClientSecret, "very-secret-words"}},
      {{static_cast<Field>(20), "later"}},
  };
  for (const auto& fields : bad) {
    const auto out = Credential::parse(credential_of(fields));
    ASSERT_FALSE(out) << int(fields[0].first) << fields[0].second;
    EXPECT_EQ(out.error().message.find("very-secret-words"), std::string::npos);
  }
  for (const size_t cut : {1u, 3u, 5u}) {
    const auto whole = credential_of({{Field::kHeaderName, "A"}, {Field::kHeaderValue, "abc"}});
    EXPECT_FALSE(Credential::parse(
        std::make_shared<const crypto::SecretBuffer>(whole->view().first(whole->size() - cut))));
  }
  EXPECT_TRUE(Credential::parse(std::make_shared<const crypto::SecretBuffer>()));
}

TEST(CredentialTest, TagsTellThemApart) {
  const CredentialFields one{{Field::kHeaderName, "A"}, {Field::kHeaderValue, "1"}};
  const CredentialFields two{{Field::kHeaderName, "A"}, {Field::kHeaderValue, "2"}};
  EXPECT_EQ(parsed(one).tag(), parsed(one).tag());
  EXPECT_NE(parsed(one).tag(), parsed(two).tag());
  EXPECT_NE(parsed(one).tag(), ByteArray<16>{});
}

// In every split of the text into pieces, every byte of the secret is covered and nothing else.
std::string streamed(Redactor redactor, std::string_view text, const std::vector<size_t>& cuts) {
  std::string out;
  size_t from = 0;
  for (const size_t cut : cuts) {
    redactor.push(as_bytes(text.substr(from, cut - from)), out);
    from = cut;
  }
  redactor.push(as_bytes(text.substr(from)), out);
  redactor.finish(out);
  return out;
}

TEST(RedactorTest, AcrossTheEdgesOfPieces) {
  const std::string secret = "sk-abab-abac";
  const std::string text = "x sk-abab-abab-abac sk-abab-abac! sk-abab-aba";
  const std::string want = "x sk-abab-abab-abac ************! sk-abab-aba";
  for (size_t a = 0; a <= text.size(); ++a) {
    for (size_t b = a; b <= text.size(); ++b) {
      Redactor r;
      r.add(secret);
      EXPECT_EQ(streamed(std::move(r), text, {a, b}), want) << a << " " << b;
    }
  }
  std::vector<size_t> each;
  for (size_t i = 1; i < text.size(); ++i) each.push_back(i);
  Redactor r;
  r.add(secret);
  EXPECT_EQ(streamed(std::move(r), text, each), want);
}

// Overlapping and nested secrets, against a search of the whole text.
TEST(RedactorTest, ManySecretsInRandomPieces) {
  std::mt19937 rng(7);
  for (int round = 0; round < 500; ++round) {
    std::string text(200, ' ');
    for (char& c : text) c = "ab"[rng() % 2];
    Redactor r;
    for (int i = 0; i < 3; ++i) r.add(text.substr(rng() % 150, 8 + rng() % 12));
    std::string whole = text;
    r.redact({reinterpret_cast<uint8_t*>(whole.data()), whole.size()});
    EXPECT_NE(whole, text);
    std::vector<size_t> cuts;
    for (size_t at = rng() % 20; at < text.size(); at += 1 + rng() % 40) cuts.push_back(at);
    r.hold_from(rng() % 2 == 0 ? 1 : 1 + rng() % 5);
    std::string out;
    size_t from = 0;
    for (const size_t cut : cuts) {
      r.push(as_bytes(std::string_view(text).substr(from, cut - from)), out);
      from = cut;
    }
    r.push(as_bytes(std::string_view(text).substr(from)), out);
    r.finish(out);
    ASSERT_EQ(out.size(), text.size());
    // What left before it could be told may stand there uncovered, but only at a secret's
    // beginning.
    for (size_t i = 0; i < out.size(); ++i) ASSERT_TRUE(out[i] == whole[i] || out[i] == text[i]);
    std::string covered = out;
    EXPECT_FALSE(r.redact({reinterpret_cast<uint8_t*>(covered.data()), covered.size()})) << out;
  }
}

TEST(RedactorTest, ADialogueDoesNotStandStill) {
  Redactor r;
  r.add("Bearer token-of-mine");
  r.hold_from(4);
  std::string out;
  r.push(as_bytes("hello Bea"), out);
  EXPECT_EQ(out, "hello Bea");
  r.push(as_bytes("r"), out);
  EXPECT_EQ(out, "hello Bea");
  r.push(as_bytes("er token-of-mine."), out);
  EXPECT_EQ(out, "hello Bea*****************.");
}

TEST(RedactorTest, FormsOfOneSecret) {
  Redactor r;
  r.add("p/w\"s+1\\2=");
  const char* forms[] = {"p/w\"s+1\\2=", "p%2Fw%22s%2B1%5C2%3D", "p%2fw%22s%2b1%5c2%3d",
                         "p/w\\\"s+1\\\\2=", "p\\/w\\\"s+1\\\\2="};
  for (std::string text : forms) {
    const size_t size = text.size();
    EXPECT_TRUE(r.redact({reinterpret_cast<uint8_t*>(text.data()), size})) << text;
    EXPECT_EQ(text, std::string(size, '*'));
  }
}

TEST(RedactorTest, OfACredential) {
  Redactor r = parsed({{Field::kHeaderName, "Authorization"},
                       {Field::kHeaderValue, "Bearer sk-0123456789"},
                       {Field::kHeaderName, "X-Other"},
                       {Field::kHeaderValue, "Basic YWxpY2U6b3Blbi1zZXNhbWU="},
                       {Field::kQueryName, "k"},
                       {Field::kQueryValue, "query secret"},
                       {Field::kEndpoint, "https://api.example/v1"},
                       {Field::kWebhook, "https://hooks.example/services/T0/B0/xyz"}})
                   .redactor();
  const char* rows[][2] = {
      {"Bearer sk-0123456789", "********************"},
      {"token sk-0123456789.", "token *************."},
      {"alice:open-sesame", "*****************"},
      {"your password open-sesame", "your password ***********"},
      {"YWxpY2U6b3Blbi1zZXNhbWU=", "************************"},
      {"?k=query%20secret", "?k=**************"},
      {"at https://api.example/v1/x", "at **********************/x"},
      {"no /services/T0/B0/xyz here", "no ******************* here"},
      {"hooks.example says Bearer", "hooks.example says Bearer"},
  };
  for (const auto& row : rows) {
    std::string text = row[0];
    r.redact({reinterpret_cast<uint8_t*>(text.data()), text.size()});
    EXPECT_EQ(text, row[1]);
  }
  Redactor none;
  none.add("short");
  EXPECT_TRUE(none.idle());
  std::string out;
  none.push(as_bytes("short"), out);
  EXPECT_EQ(out, "short");
}

}  // namespace
}  // namespace sluice::agent
