// The HTTP side without sockets: where a request goes, what of its head goes along, the daemon's
// configuration.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "agent/front/message.h"
#include "agent/front/route.h"
#include "agent/settings.h"

namespace sluice::agent {
namespace {

using wire::CallProtocol;

TEST(RouteTest, PeerAndProtocolInThePath) {
  const struct {
    const char* target;
    const char* peer;
    CallProtocol protocol;
    const char* rest;
  } rows[] = {
      {"/bob/x/y?z=1", "bob", CallProtocol::kRaw, "/x/y?z=1"},
      {"/bob", "bob", CallProtocol::kRaw, "/"},
      {"/bob/", "bob", CallProtocol::kRaw, "/"},
      {"/bob?q", "bob", CallProtocol::kRaw, "/?q"},
      {"/bob/mcp", "bob", CallProtocol::kMcp, "/"},
      {"/bob/mcp?s=1", "bob", CallProtocol::kMcp, "/?s=1"},
      {"/bob/mcp/tools", "bob", CallProtocol::kMcp, "/tools"},
      {"/bob/mcpx/tools", "bob", CallProtocol::kRaw, "/mcpx/tools"},
      {"/bob/a2a/", "bob", CallProtocol::kA2a, "/"},
      {"/bob/openai-responses/v1/responses", "bob", CallProtocol::kOpenai, "/v1/responses"},
      {"/bob/openai/v1", "bob", CallProtocol::kOpenai, "/v1"},
      {"/bob/anp/ad.json", "bob", CallProtocol::kAnp, "/ad.json"},
      {"/bob/acp/runs", "bob", CallProtocol::kAcp, "/runs"},
      {"/bob/x/mcp", "bob", CallProtocol::kRaw, "/x/mcp"},
      {"/bob//mcp", "bob", CallProtocol::kRaw, "//mcp"},
      {"/did:key:z6Mk/a", "did:key:z6Mk", CallProtocol::kRaw, "/a"},
      {"/did%3Akey%3Az6Mk/a%2Fb", "did:key:z6Mk", CallProtocol::kRaw, "/a%2Fb"},
      {"/7:0001.a3f0/a", "7:0001.a3f0", CallProtocol::kRaw, "/a"},
  };
  for (const auto& row : rows) {
    const auto r = find_route(row.target, "127.0.0.1:7480");
    ASSERT_TRUE(r) << row.target;
    EXPECT_EQ(r->peer, row.peer) << row.target;
    EXPECT_EQ(r->protocol, row.protocol) << row.target;
    EXPECT_EQ(r->target, row.rest) << row.target;
  }
  for (const char* none : {"", "/", "//x", "bob/x", "/%zz/x", "/?q", "*"}) {
    EXPECT_FALSE(find_route(none, "localhost")) << none;
  }
}

TEST(RouteTest, PeerAndProtocolInTheHost) {
  const auto r = find_route("/tools?x", "mcp.Bob.sluice.localhost:7480");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->peer, "bob");
  EXPECT_EQ(r->protocol, CallProtocol::kMcp);
  EXPECT_EQ(r->target, "/tools?x");
  const auto plain = find_route("/a2a/x", "bob.sluice.localhost");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->peer, "bob");
  EXPECT_EQ(plain->protocol, CallProtocol::kA2a);
  EXPECT_EQ(plain->target, "/x");
  EXPECT_EQ(find_route("/x", "two.words.sluice.localhost")->peer, "two.words");
}

TEST(RouteTest, NamesOfThisHostAlone) {
  for (const char* own : {"localhost", "LOCALHOST:7480", "127.0.0.1", "127.0.0.1:7480",
                          "[::1]:7480", "bob.sluice.localhost", "mcp.bob.sluice.localhost:1"}) {
    EXPECT_TRUE(is_own_host(own)) << own;
  }
  for (const char* foreign : {"", "example.com", "localhost.example.com", "127.0.0.1.example.com",
                              "sluice.localhost.example", ".sluice.localhost", "127.0.0.2",
                              "localhost@example.com", "[::1].example.com"}) {
    EXPECT_FALSE(is_own_host(foreign)) << foreign;
    EXPECT_FALSE(may_ask(std::string("https://") + foreign, "localhost:7480")) << foreign;
  }
  for (const char* page : {"http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]:1"}) {
    EXPECT_TRUE(may_ask(page, "localhost:7480")) << page;
  }
  // What came through the front itself is a peer's page.
  for (const char* page :
       {"null", "localhost", "http://localhost:7480", "http://127.0.0.1:7480",
        "http://bob.sluice.localhost:7480", "http://bob.sluice.localhost:3000"}) {
    EXPECT_FALSE(may_ask(page, "localhost:7480")) << page;
  }
}

TEST(HttpMessageTest, HeadsGoOnWithoutWhatIsBetweenNeighbours) {
  auto parsed = parse_request(
      "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop, Host\r\nX-Hop: 1\r\nTE: "
      "trailers\r\n"
      "Connection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nX-Own: 1\r\nsluice-caller: me\r\n"
      "Sluice_Caller: me\r\nSLUICE-caller_Name: me\r\nHTTP2-Settings: x\r\nTransfer-Encoding: "
      "chunked\r\n"
      "Cookie: a=b\r\nCookie: c=d\r\n\r\n");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->framing.chunked);
  EXPECT_FALSE(parsed->framing.length);
  RequestHead& head = parsed->head;
  drop_hop_fields(head);
  EXPECT_EQ(to_text(head),
            "POST /x HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n");
  set_framing(head, {true, 7});
  EXPECT_NE(to_text(head).find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_EQ(to_text(head).find("Content-Length"), std::string::npos);
  set_framing(head, {false, 7});
  EXPECT_NE(to_text(head).find("Content-Length: 7"), std::string::npos);
  EXPECT_EQ(to_text(head).find("Transfer-Encoding"), std::string::npos);
}

TEST(HttpMessageTest, Upgrades) {
  auto parsed = parse_request(
      "GET /x HTTP/1.1\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: "
      "websocket\r\n\r\n");
  RequestHead& head = parsed->head;
  EXPECT_EQ(upgrade_of(head), "websocket");
  drop_hop_fields(head);
  EXPECT_EQ(upgrade_of(head), "");
  set_upgrade(head, "websocket");
  EXPECT_EQ(upgrade_of(head), "websocket");
  EXPECT_EQ(
      upgrade_of(
          parse_request("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: H2C\r\n\r\n")->head),
      "");
  EXPECT_EQ(upgrade_of(parse_request("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")->head), "");
}

// How long a body is, is what the parser found, whatever the fields could also mean.
TEST(HttpMessageTest, FramingIsOne) {
  const auto twice = parse_request(
      "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\nConnection: content-length\r\n\r\n");
  if (twice) {
    EXPECT_EQ(twice->framing.length, 5u);
    RequestHead head = twice->head;
    drop_hop_fields(head);
    set_framing(head, twice->framing);
    EXPECT_EQ(to_text(head), "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
  }
  for (const char* odd :
       {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"}) {
    EXPECT_FALSE(parse_request(odd)) << odd;
  }
}

TEST(HttpMessageTest, SegmentsThatMeanAnotherPlace) {
  for (const char* bad : {"/..", "/../x", "/x/../y", "/./x", "/x/.", "/%2e%2e/x", "/.%2E/x",
                          "/x/%2e", "/x%2f..%2fy", "/x\\..\\y", "/x%5c..%5Cy", "/..?q"}) {
    EXPECT_TRUE(has_dot_segments(bad)) << bad;
  }
  for (const char* good : {"/", "/x", "/...", "/x..", "/..x/y", "/.well-known/x", "/x?../y",
                           "/%2e%2e%2e", "/x%20y", "/%2"}) {
    EXPECT_FALSE(has_dot_segments(good)) << good;
  }
}

TEST(HttpMessageTest, WhatIsNoHead) {
  for (const char* bad : {"", "x", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nbad\r\n\r\n",
                          "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                          "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                          "GET / HTTP/1.1\r\nA: b\x01\r\n\r\n", "\r\n\r\n"}) {
    EXPECT_FALSE(parse_request(bad)) << bad;
  }
  EXPECT_FALSE(parse_response("HTTP/1.1 20 x\r\n\r\n"));
  EXPECT_FALSE(parse_response("GET / HTTP/1.1\r\n\r\n"));
  const auto good = parse_response("HTTP/1.1 299 Odd Word\r\nContent-Length: 7\r\n\r\n");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->head.result_int(), 299u);
  EXPECT_EQ(good->framing.length, 7u);
  EXPECT_EQ(to_text(good->head), "HTTP/1.1 299 Odd Word\r\nContent-Length: 7\r\n\r\n");
  EXPECT_EQ(head_size(as_bytes("a\r\n\r\nb")), 5u);
  EXPECT_FALSE(head_size(as_bytes("a\r\n\r")));
}

TEST(HttpMessageTest, ProblemsAreJson) {
  const ProblemText text =
      to_text({429, "rate_limited", "too many \"calls\"", "wait", 1'500, "ab"}, false);
  EXPECT_NE(text.head.find("HTTP/1.1 429 Too Many Requests\r\n"), std::string::npos) << text.head;
  EXPECT_NE(text.head.find("Retry-After: 2\r\n"), std::string::npos) << text.head;
  EXPECT_NE(text.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_NE(text.body.find("\"reason\":\"rate_limited\""), std::string::npos) << text.body;
  EXPECT_NE(text.body.find("too many \\\"calls\\\""), std::string::npos);
  EXPECT_NE(text.head.find("Content-Length: " + std::to_string(text.body.size())),
            std::string::npos);
}

TEST(UpstreamTest, Urls) {
  const auto url = parse_upstream("http://127.0.0.1:3000/mcp/");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->host, "127.0.0.1");
  EXPECT_EQ(url->port, 3000);
  EXPECT_EQ(url->path, "/mcp");
  EXPECT_EQ(url->authority(), "127.0.0.1:3000");
  EXPECT_EQ(parse_upstream("http://[::1]:8080")->authority(), "[::1]:8080");
  EXPECT_EQ(parse_upstream("http://localhost")->authority(), "localhost");
  for (const char* bad : {"", "localhost:80", "https://a", "http://", "http://:80",
                          "http://a:", "http://a:0", "http://a:99999", "http://a:x", "http://a/?q",
                          "http://a/#f", "http://u@a/", "http://a b/"}) {
    EXPECT_FALSE(parse_upstream(bad)) << bad;
  }
}

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() { std::filesystem::create_directories(folder_); }
  ~SettingsTest() override { std::filesystem::remove_all(folder_); }
  Result<Settings> load(const std::string& text) {
    std::ofstream(path_) << text;
    return load_settings(path_);
  }
  const std::string folder_ = testing::TempDir() + "/settings-" + std::to_string(getpid());
  const std::string path_ = folder_ + "/agent.yaml";
};

TEST_F(SettingsTest, WithoutAFileAllIsDefault) {
  const auto s = load_settings(path_);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->front.listen, "127.0.0.1:7480");
  EXPECT_TRUE(s->serve.empty());
  EXPECT_TRUE(load("# nothing\n"));
}

TEST_F(SettingsTest, WhatItSays) {
  const auto s = load(
      "front: { listen: \"127.0.0.1:0\" }\n"
      "serve:\n"
      "  - { protocol: mcp, upstream: \"http://127.0.0.1:3000/mcp\" }\n"
      "  - { upstream: \"http://localhost:8080\", path: /app/, timeout: 30s }\n");
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(s->front.listen, "127.0.0.1:0");
  ASSERT_EQ(s->serve.size(), 2u);
  EXPECT_EQ(s->serve[0].protocol, CallProtocol::kMcp);
  EXPECT_EQ(s->serve[0].url.path, "/mcp");
  EXPECT_EQ(s->serve[1].protocol, CallProtocol::kRaw);
  EXPECT_EQ(s->serve[1].prefix, "/app");
  EXPECT_EQ(s->serve[1].timeout_s, 30u);
}

TEST_F(SettingsTest, EgressAndWhatIsStripped) {
  const auto s = load(
      "serve:\n"
      "  - { upstream: \"http://localhost:8080\", strip_authorization: true, strip_cookies: true "
      "}\n"
      "egress:\n"
      "  allow: [Tools.Internal., \"[::1]\"]\n"
      "  serve:\n"
      "    - { protocol: openai-responses, path: /v1, timeout: 30m }\n");
  ASSERT_TRUE(s) << s.error().message;
  ASSERT_EQ(s->serve.size(), 2u);
  EXPECT_TRUE(s->serve[0].strip_authorization && s->serve[0].strip_cookies && !s->serve[0].egress);
  const UpstreamConfig& egress = s->serve[1];
  EXPECT_TRUE(egress.egress && egress.strip_authorization && egress.strip_cookies);
  EXPECT_EQ(egress.protocol, CallProtocol::kOpenai);
  EXPECT_EQ(egress.prefix, "/v1");
  EXPECT_EQ(egress.timeout_s, 1'800u);
  EXPECT_EQ(s->egress_allow, (std::vector<std::string>{"tools.internal", "::1"}));
  const auto wrong = load(
      "serve: [{ protocol: mcp, upstream: \"http://localhost\", strip_cookies: often }]\n"
      "egress:\n"
      "  allow: [\"https://a/\"]\n"
      "  deny: [b]\n"
      "  serve:\n"
      "    - { protocol: mcp }\n"
      "    - { protocol: acp, upstream: \"http://localhost\" }\n");
  ASSERT_FALSE(wrong);
  for (const char* part :
       {":1: serve[0].strip_cookies is neither", ":3: egress.allow[0]: a host is",
        "egress has no key \"deny\"", ":6: egress.serve[0] has the protocol",
        "egress.serve[1] has no key \"upstream\""}) {
    EXPECT_NE(wrong.error().message.find(part), std::string::npos) << part << wrong.error().message;
  }
}

TEST_F(SettingsTest, AllThatIsWrongAtOnce) {
  const auto s = load(
      "fronts: 1\n"
      "serve:\n"
      "  - { protocol: smtp, upstream: \"ftp://x\", colour: red }\n"
      "  - { path: x, timeout: never }\n"
      "  - 7\n");
  ASSERT_FALSE(s);
  const std::string& m = s.error().message;
  for (const char* part :
       {":1: the file has no key \"fronts\"", ":3: ", "smtp", "ftp://x", "colour",
        "names no upstream", "path \"x\" does not begin", "timeout is not", ":5: serve[2]"}) {
    EXPECT_NE(m.find(part), std::string::npos) << part << "\n" << m;
  }
  const auto broken = load("serve: [\n");
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("agent.yaml:"), std::string::npos);
}

}  // namespace
}  // namespace sluice::agent
