// OAuth2 client credentials without a network: records, requests, answers and the pace, with the
// clock and the dice in the test's hand. The keeper itself meets a real provider in
// tests/system/oauth2_test.py.
#include <gtest/gtest.h>

#include "credential_fields.h"
#include "oauth2/client_record.h"
#include "oauth2/schedule.h"
#include "oauth2/token_answer.h"
#include "oauth2/token_flight.h"
#include "oauth2/token_request.h"
#include "ready.h"

namespace sluice::oauth2 {
namespace {

using Field = wire::CredentialField;

const CredentialFields kRecord = {{Field::kTokenUrl, "https://as.example/token"},
                                  {Field::kClientId, "relay 1"},
                                  {Field::kClientSecret, "s3:cr/t"}};

CredentialFields with(CredentialFields more) {
  CredentialFields out = kRecord;
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

Result<ClientRecord> record_of(const CredentialFields& fields) {
  return ClientRecord::parse(crypto::SecretBuffer(credential_of(fields)->view()));
}

TEST(ClientRecordTest, WhatIsNone) {
  const CredentialFields bad[] = {
      {},
      {{Field::kTokenUrl, "https://as.example/"}, {Field::kClientId, "a"}},
      {{Field::kTokenUrl, "https://as.example/"}, {Field::kClientSecret, "a"}},
      {{Field::kClientId, "a"}, {Field::kClientSecret, "a"}},
      with({{Field::kTokenAuth, "digest"}}),
      with({{static_cast<Field>(60), "later"}}),
      with({{Field::kTokenUrl, "https://as.example/a b"}}),
      with({{Field::kTokenUrl, "https://as.example/\r\n"}}),
  };
  for (const auto& fields : bad) {
    const auto out = record_of(fields);
    ASSERT_FALSE(out);
    EXPECT_EQ(out.error().message.find("s3:cr/t"), std::string::npos);
    EXPECT_EQ(out.error().message.find("as.example"), std::string::npos);
  }
  const auto cut = credential_of(kRecord);
  EXPECT_FALSE(ClientRecord::parse(crypto::SecretBuffer(cut->view().first(cut->size() - 1))));
}

TEST(ClientRecordTest, EndpointsAreHttps) {
  for (const char* good : {"https://as.example/token", "https://10.0.0.1:8443/t",
                           "http://localhost:9/t", "http://127.0.0.1/t", "http://[::1]:1/t"}) {
    EXPECT_TRUE(is_token_url(good)) << good;
  }
  for (const char* bad : {"", "as.example", "http://as.example/token", "http://10.0.0.1/",
                          "http://localhost.example/", "http://127.0.0.1.example/",
                          "ftp://localhost/", "file:///etc/passwd",
                          "https://user:password@as.example/", "http://localhost@as.example/"}) {
    EXPECT_FALSE(is_token_url(bad)) << bad;
  }
}

TEST(TokenRequestTest, BothWaysToShowWhoItIs) {
  const auto basic = record_of(with({{Field::kTokenScope, "a b"}}));
  ASSERT_TRUE(basic);
  TokenRequest r = token_request(*basic);
  EXPECT_EQ(r.body.view(), "grant_type=client_credentials&scope=a%20b");
  // base64 of relay%201:s3%3Acr%2Ft
  EXPECT_EQ(r.authorization.view(),
            std::string_view("Authorization: Basic cmVsYXklMjAxOnMzJTNBY3IlMkZ0\0", 50));
  const auto post = record_of(with({{Field::kTokenAuth, "post"}, {Field::kTokenAudience, "api"}}));
  r = token_request(*post);
  EXPECT_EQ(r.body.view(),
            "grant_type=client_credentials&audience=api&client_id=relay%201&client_secret="
            "s3%3Acr%2Ft");
  EXPECT_EQ(r.authorization.size(), 0u);
  const auto uri = record_of(with({{Field::kTokenAudience, "https://a/"}}));
  EXPECT_EQ(
      token_request(*uri).body.view(),
      "grant_type=client_credentials&audience=https%3A%2F%2Fa%2F&resource=https%3A%2F%2Fa%2F");
}

TEST(TokenRequestTest, Base64) {
  const char* rows[][2] = {{"", ""},
                           {"f", "Zg=="},
                           {"fo", "Zm8="},
                           {"foo", "Zm9v"},
                           {"foob", "Zm9vYg=="},
                           {"fooba", "Zm9vYmE="},
                           {"foobar", "Zm9vYmFy"},
                           {"\xff\xfe", "//4="}};
  for (const auto& row : rows) {
    crypto::SecretText out;
    out.append_base64(row[0]);
    EXPECT_EQ(out.view(), row[1]);
  }
}

std::string fields_of(const crypto::SecretBuffer& content) {
  std::string out;
  wire::CredentialReader reader(content.view());
  wire::CredentialPart part;
  while (reader.next(part)) {
    out += std::to_string(int(part.type)) + "=" + std::string(as_text(part.bytes)) + ";";
  }
  return reader.sound() ? out : "unsound";
}

TEST(ClientRecordTest, TheTokensPlace) {
  EXPECT_EQ(fields_of(record_of(kRecord)->with_token("tok")), "1=Authorization;2=Bearer tok;");
  EXPECT_EQ(fields_of(record_of(with({{Field::kHeaderName, "X-Own"},
                                      {Field::kHeaderValue, "fixed"},
                                      {Field::kEndpoint, "https://api/"}}))
                          ->with_token("tok")),
            "1=X-Own;2=fixed;5=https://api/;1=Authorization;2=Bearer tok;");
  EXPECT_EQ(fields_of(record_of(with({{Field::kHeaderName, "X-Token"},
                                      {Field::kHeaderValue, "<{token}>"},
                                      {Field::kQueryName, "q"},
                                      {Field::kQueryValue, "{token}"}}))
                          ->with_token("tok")),
            "1=X-Token;2=<tok>;3=q;4=tok;");
  EXPECT_TRUE(record_of(kRecord)->with_token(std::string(8'192, 'x')).empty());
  EXPECT_FALSE(record_of(kRecord)->with_token(std::string(8'000, 'x')).empty());
}

TEST(TokenAnswerTest, Tokens) {
  const struct {
    const char* body;
    const char* token;
    uint64_t life_s;
  } rows[] = {
      {R"({"access_token":"abc","token_type":"Bearer","expires_in":3600})", "abc", 3600},
      {R"( { "token_type" : "bearer" , "access_token" : "a\/b\u002Bc" } )", "a/b+c", 300},
      {R"({"token_type":"BEARER","expires_in":"599","access_token":"x","n":null})", "x", 599},
      {R"({"token_type":"Bearer","expires_in":60.0,"access_token":"x"})", "x", 60},
      {R"({"token_type":"Bearer","expires_in":null,"access_token":"x"})", "x", 300},
      {R"({"token_type":"Bearer","expires_in":999999999999,"access_token":"x"})", "x",
       kLongestLifeS},
      {R"({"a":{"access_token":"no","b":["}",{}]},"access_token":"yes","token_type":"Bearer"})",
       "yes", 300},
      {R"({"list":[1,"]",[2]],"t":true,"access_token":"yes","token_type":"Bearer","z":-1.5e3})",
       "yes", 300},
  };
  for (const auto& row : rows) {
    const auto t = read_answer(200, as_bytes(row.body));
    ASSERT_TRUE(t) << row.body << t.error().reason;
    EXPECT_EQ(as_text(t->text.view()), row.token) << row.body;
    EXPECT_EQ(t->life_s, row.life_s) << row.body;
  }
}

TEST(TokenAnswerTest, WhatIsNoToken) {
  const struct {
    long status;
    const char* body;
    const char* says;
    bool lasting;
  } rows[] = {
      {401, R"({"error":"invalid_client"})", "secret is another", true},
      {400, R"({"error":"invalid_scope","error_description":"x"})", "that scope", true},
      {400, R"({"error":"invalid_target"})", "that audience", true},
      {400, R"({"error":"unauthorized_client"})", "in this way", true},
      {400, R"({"error":"unsupported_grant_type"})", "client credentials", true},
      {400, R"({"error":"something_else"})", "status 400", false},
      {200, R"({"error":"invalid_client"})", "secret is another", true},
      {200, R"({"error":"x","access_token":"y","token_type":"Bearer"})", "status 200", false},
      {401, "<html>", "status 401", true},
      {403, "", "status 403", true},
      {404, "", "status 404", false},
      {429, R"({"access_token":"y","token_type":"Bearer"})", "fewer", false},
      {500, R"({"access_token":"y","token_type":"Bearer"})", "status 500", false},
      {503, "", "status 503", false},
      {302, "", "redirect", true},
      {307, R"({"access_token":"y","token_type":"Bearer"})", "redirect", true},
      {201, R"({"access_token":"y","token_type":"Bearer"})", "status 201", false},
      {200, "", "no JSON", false},
      {200, "[]", "no JSON", false},
      {200, R"({"access_token":"y","token_type":"Bearer")", "no JSON", false},
      {200, R"({"access_token":"y","token_type":"Bearer"} x)", "no JSON", false},
      {200, R"({"access_token":"y","token_type":"Bearer",})", "no JSON", false},
      {200, R"({"access_token":"y)", "no JSON", false},
      {200, R"({"a":]})", "no JSON", false},
      {200, R"({"a":"\x"})", "no JSON", false},
      {200, R"({"a":"\u12"})", "no JSON", false},
      {200, "{}", "without an access token", false},
      {200, R"({"access_token":5,"token_type":"Bearer"})", "without an access token", false},
      {200, R"({"access_token":"","token_type":"Bearer"})", "without an access token", false},
      {200, R"({"access_token":"y"})", "of what type", true},
      {200, R"({"access_token":"y","token_type":"DPoP"})", "not Bearer", true},
      {200, R"({"access_token":"y","token_type":"mac"})", "not Bearer", true},
      {200, R"({"access_token":"a b","token_type":"Bearer"})", "no header", true},
      {200, R"({"access_token":"a\r\nX: y","token_type":"Bearer"})", "no header", true},
      {200, R"({"access_token":"a\u0000","token_type":"Bearer"})", "no header", true},
      {200, R"({"access_token":"a\u00e9","token_type":"Bearer"})", "no header", true},
      {200, R"({"access_token":"y","token_type":"Bearer","expires_in":0})", "how long", true},
      {200, R"({"access_token":"y","token_type":"Bearer","expires_in":-5})", "how long", true},
      {200, R"({"access_token":"y","token_type":"Bearer","expires_in":"soon"})", "how long", true},
  };
  for (const auto& row : rows) {
    const auto t = read_answer(row.status, as_bytes(row.body));
    ASSERT_FALSE(t) << row.body;
    EXPECT_NE(t.error().reason.find(row.says), std::string::npos) << row.body << t.error().reason;
    EXPECT_EQ(t.error().lasting, row.lasting) << row.body;
    EXPECT_EQ(t.error().reason.find("something_else"), std::string::npos);
  }
}

TEST(ScheduleTest, AheadOfTheEnd) {
  const uint64_t rows[][2] = {{3'600, 2'880}, {300, 240}, {150, 120}, {100, 70},       {60, 30},
                              {40, 20},       {10, 5},    {2, 1},     {86'400, 69'120}};
  for (const auto& [life, after] : rows) EXPECT_EQ(refresh_after_ms(life * 1000), after * 1000);
}

TEST(ScheduleTest, PausesGrowAndVary) {
  RetryPace pace;
  uint64_t full = 1'000;
  for (int i = 0; i < 80; ++i) {
    EXPECT_EQ(pace.next(false, 0, 0), full / 2);
    full = std::min<uint64_t>(full * 2, 60'000);
  }
  EXPECT_EQ(pace.next(false, 0, 30'000), 60'000u);
  EXPECT_EQ(pace.next(false, 0, 30'001), 30'000u);
  EXPECT_EQ(pace.next(false, 90'000, 0), 90'000u);
  EXPECT_EQ(pace.next(false, 999'999'999, 0), 3'600'000u);
  EXPECT_EQ(pace.next(true, 0, 0), 300'000u);
  pace.succeeded();
  EXPECT_EQ(pace.next(false, 0, 500), 1'000u);
  pace.succeeded();
  EXPECT_EQ(pace.next(true, 0, 15'000), 30'000u);
}

}  // namespace
}  // namespace sluice::oauth2
