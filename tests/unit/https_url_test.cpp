// Where sluicectl --url leads.
#include <gtest/gtest.h>

#include "http/tls_client.h"

namespace sluice::http {
namespace {

TEST(HttpsUrl, NamesAHostAndAPort) {
  const struct {
    const char* url;
    const char* host;
    uint16_t port;
  } good[] = {{"https://relay.example.net", "relay.example.net", 7443},
              {"https://relay.example.net/", "relay.example.net", 7443},
              {"https://192.0.2.1:1", "192.0.2.1", 1},
              {"https://[2001:db8::1]:65535", "2001:db8::1", 65535},
              {"https://[::1]", "::1", 7443}};
  for (const auto& c : good) {
    const auto r = parse_https_url(c.url, 7443);
    ASSERT_TRUE(r) << c.url << ": " << r.error().message;
    EXPECT_EQ(r->host, c.host);
    EXPECT_EQ(r->port, c.port);
  }
}

TEST(HttpsUrl, NothingElsePasses) {
  for (const char* url : {"",
                          "relay",
                          "http://relay",
                          "https://",
                          "https:///",
                          "https://relay:",
                          "https://relay:0",
                          "https://relay:65536",
                          "https://relay:7x",
                          "https://relay:-1",
                          "https://relay/v1",
                          "https://ops@relay",
                          "https://relay?x",
                          "https://[::1",
                          "https://[::1]x",
                          "https://[::1]7443",
                          "https://::1",
                          "https://re lay",
                          "https://relay\n",
                          "https://[]"}) {
    const auto r = parse_https_url(url, 7443);
    ASSERT_FALSE(r) << url;
    EXPECT_EQ(r.error().code, ErrorCode::kUsage);
  }
}

}  // namespace
}  // namespace sluice::http
