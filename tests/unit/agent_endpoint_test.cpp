// Where a credential's URL may lead: hostile URLs, addresses and what resolvers say. No network.
#include <gtest/gtest.h>

#include "agent/front/address_policy.h"
#include "agent/front/endpoint.h"
#include "ready.h"

namespace sluice::agent {
namespace {

namespace ip = boost::asio::ip;

std::string verdict(const std::string& url, const std::vector<std::string>& resolved,
                    const std::vector<std::string>& allow = {}) {
  const auto endpoint = parse_endpoint(url, false, allow);
  if (!endpoint) {
    EXPECT_EQ(endpoint.error().code, ErrorCode::kRefused) << url;
    return endpoint.error().message;
  }
  std::vector<ip::address> addresses;
  boost::system::error_code ec;
  const auto literal = ip::make_address(endpoint->host, ec);
  if (!ec) addresses.push_back(literal);
  for (const std::string& text : resolved) addresses.push_back(ip::make_address(text));
  const auto ok = check_addresses(*endpoint, addresses);
  return ok ? "" : ok.error().message;
}

TEST(EndpointTest, HostileUrls) {
  const struct {
    const char* url;
    const char* says;
  } rows[] = {
      // Addresses of this host and its network, however they are written.
      {"https://127.0.0.1/", "loopback"},
      {"https://127.0.0.1:8443/x", "loopback"},
      {"https://127.1/", "loopback"},
      {"https://127.0.1/", "loopback"},
      {"https://2130706433/", "loopback"},
      {"https://0x7f000001/", "loopback"},
      {"https://0x7F.0x0.0x0.0x1/", "loopback"},
      {"https://0177.0.0.1/", "loopback"},
      {"https://0177.0.0.01/", "loopback"},
      {"https://017700000001/", "loopback"},
      {"https://127.0.0.1./", "host"},
      {"https://0/", "unspecified"},
      {"https://0.0.0.0/", "unspecified"},
      {"https://0x0/", "unspecified"},
      {"https://10.0.0.1/", "private"},
      {"https://10.255.255.255/", "private"},
      {"https://012.0.0.1/", "private"},
      {"https://167772161/", "private"},
      {"https://172.16.0.1/", "private"},
      {"https://172.31.255.255/", "private"},
      {"https://192.168.1.1/", "private"},
      {"https://3232235777/", "private"},
      {"https://0xc0.0xa8.1.1/", "private"},
      {"https://100.64.0.1/", "carrier"},
      {"https://100.100.100.200/", "carrier"},
      {"https://169.254.0.1/", "link-local"},
      {"https://169.254.169.254/latest/meta-data/", "metadata"},
      {"https://2852039166/", "metadata"},
      {"https://0xA9FEA9FE/", "metadata"},
      {"https://0251.0376.0251.0376/", "metadata"},
      {"https://168.63.129.16/", "metadata"},
      {"https://192.0.0.192/", "reserved"},
      {"https://192.0.2.1/", "documentation"},
      {"https://198.51.100.7/", "documentation"},
      {"https://203.0.113.9/", "documentation"},
      {"https://198.18.0.1/", "benchmarks"},
      {"https://192.88.99.1/", "6to4"},
      {"https://224.0.0.1/", "multicast"},
      {"https://239.255.255.250/", "multicast"},
      {"https://240.0.0.1/", "reserved"},
      {"https://255.255.255.255/", "broadcast"},
      {"https://[::1]/", "loopback"},
      {"https://[0:0:0:0:0:0:0:1]/", "loopback"},
      {"https://[::]/", "unspecified"},
      {"https://[::ffff:127.0.0.1]/", "another form"},
      {"https://[::ffff:7f00:1]/", "another form"},
      {"https://[::ffff:169.254.169.254]/", "another form"},
      {"https://[::ffff:8.8.8.8]/", "another form"},
      {"https://[::127.0.0.1]/", "another form"},
      {"https://[::ffff:0:127.0.0.1]/", "another form"},
      {"https://[64:ff9b::7f00:1]/", "NAT64"},
      {"https://[64:ff9b:1::a9fe:a9fe]/", "NAT64"},
      {"https://[2002:7f00:1::]/", "6to4"},
      {"https://[2002:a9fe:a9fe::1]/", "6to4"},
      {"https://[2001:0:7f00:1::]/", "Teredo"},
      {"https://[2001:2::1]/", "benchmarks"},
      {"https://[2001:db8::1]/", "documentation"},
      {"https://[3fff::1]/", "documentation"},
      {"https://[2001:10::1]/", "reserved"},
      {"https://[2607:f8b0::5efe:a00:1]/", "ISATAP"},
      {"https://[fc00::1]/", "private"},
      {"https://[fd00:ec2::254]/", "private"},
      {"https://[fe80::1]/", "link-local"},
      {"https://[fe80::1%25eth0]/", "percent"},
      {"https://[fec0::1]/", "private"},
      {"https://[ff02::1]/", "multicast"},
      {"https://[100::1]/", "dropped"},
      {"https://[4000::1]/", "reserved"},
      // What is no plain https URL of a plain host.
      {"", "does not begin"},
      {"api.example.com", "does not begin"},
      {"//api.example.com/", "does not begin"},
      {"https:/api.example.com/", "does not begin"},
      {"http://api.example.com/", "plain http"},
      {"HTTP://api.example.com/", "plain http"},
      {"ftp://api.example.com/", "none of https"},
      {"file:///etc/passwd", "endpoint"},
      {"gopher://127.0.0.1:25/x", "none of https"},
      {"dict://127.0.0.1:11211/", "none of https"},
      {"ldap://api.example.com/", "none of https"},
      {"https+unix://x/", "none of https"},
      {"javascript://api.example.com/", "none of https"},
      {"https://user@api.example.com/", "user"},
      {"https://user:password@api.example.com/", "user"},
      {"https://api.example.com@127.0.0.1/", "user"},
      {"https://127.0.0.1#@api.example.com/", "fragment"},
      {"https://127.0.0.1\\@api.example.com/", "characters"},
      {"https://api.example.com\\.evil.example/", "characters"},
      {"https://api.example.com/#x", "fragment"},
      {"https://%31%32%37.0.0.1/", "percent"},
      {"https://127.0.0.1%2f@api.example.com/", "percent"},
      {"https://api.example.com%00.evil.example/", "percent"},
      {"https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", "characters"},
      {"https://\xe2\x93\x9b\xe2\x93\x9e\xe2\x93\x92\xe2\x93\x90\xe2\x93\x9b.example/",
       "characters"},
      {"https://m\xc3\xbcnchen.example/", "characters"},
      {"https://api.example.com /", "characters"},
      {"https://api.example.com\t/", "characters"},
      {"https://api.example.com/\r\nHost: evil", "characters"},
      {"https:///x", "names no host"},
      {"https:////x/", "names no host"},
      {"https://:443/", "URL"},
      {"https://api.example.com:0/", "port"},
      {"https://api.example.com:65536/", "URL"},
      {"https://api.example.com:-1/", "URL"},
      {"https://api.example.com:443x/", "URL"},
      {"https://api.example.com:80:443/", "URL"},
      {"https://api..example.com/", "host"},
      {"https://.example.com/", "host"},
      {"https://api.example.com../", "host"},
      {"https://[::1/", "URL"},
      {"https://[127.0.0.1]/", "URL"},
      {"https://[::1]evil.example/", "URL"},
      {"https://api.example.com,127.0.0.1/", "URL"},
      {"https://api.example.com;127.0.0.1/", "URL"},
      {"https://*.example.com/", "URL"},
  };
  for (const auto& row : rows) {
    const std::string says = verdict(row.url, {});
    EXPECT_NE(says.find(row.says), std::string::npos) << row.url << ": " << says;
    EXPECT_EQ(says.find("example.com"), std::string::npos) << says;
    EXPECT_EQ(says.find("password"), std::string::npos) << says;
  }
}

TEST(EndpointTest, HostileResolvers) {
  const struct {
    const char* host;
    std::vector<std::string> says;
    const char* refused;
  } rows[] = {
      {"localhost", {"127.0.0.1"}, "loopback"},
      {"LOCALHOST.", {"::1"}, "loopback"},
      {"localtest.example", {"127.0.0.1"}, "loopback"},
      {"metadata.google.internal", {"169.254.169.254"}, "metadata"},
      {"instance-data", {"169.254.169.254"}, "metadata"},
      {"mixed.example", {"93.184.215.14", "10.0.0.1"}, "private"},
      {"mixed6.example", {"2606:2800:21f:cb07::1", "fd00:ec2::254"}, "private"},
      {"last.example", {"93.184.215.14", "93.184.215.15", "::ffff:10.0.0.1"}, "another form"},
      {"mapped.example", {"::ffff:169.254.169.254"}, "another form"},
      {"nat64.example", {"64:ff9b::a00:1"}, "NAT64"},
      {"zero.example", {"0.0.0.0"}, "unspecified"},
      {"cgnat.example", {"100.127.255.254"}, "carrier"},
      {"many.example", {"239.1.1.1"}, "multicast"},
      {"xn--bcher-kva.example", {"192.168.0.1"}, "private"},
      {"127.0.0.1.nip.example", {"127.0.0.1"}, "loopback"},
      {"link.example", {"fe80::1%2"}, "one link"},
  };
  for (const auto& row : rows) {
    const std::string said = verdict(std::string("https://") + row.host + "/", row.says);
    EXPECT_NE(said.find(row.refused), std::string::npos) << row.host << ": " << said;
    EXPECT_EQ(said.find(row.says.back()), std::string::npos) << said;
  }
}

TEST(EndpointTest, PublicOnesPass) {
  for (const char* address : {"1.1.1.1",
                              "8.8.8.8",
                              "9.255.255.255",
                              "11.0.0.0",
                              "93.184.215.14",
                              "100.63.255.255",
                              "100.128.0.0",
                              "126.255.255.255",
                              "128.0.0.1",
                              "169.253.255.255",
                              "169.255.0.0",
                              "172.15.255.255",
                              "172.32.0.0",
                              "192.0.1.0",
                              "192.167.255.255",
                              "192.169.0.0",
                              "198.17.255.255",
                              "198.20.0.0",
                              "223.255.255.255",
                              "2001:200::1",
                              "2001:4860:4860::8888",
                              "2606:2800:21f:cb07::1",
                              "2a00:1450:4001:830::200e",
                              "2003::1"}) {
    EXPECT_FALSE(refused_as(ip::make_address(address))) << address;
    EXPECT_EQ(verdict("https://api.example.com/v1", {address}), "") << address;
  }
  EXPECT_EQ(verdict("https://8.8.8.8/", {}), "");
  EXPECT_EQ(verdict("https://[2606:4700::1111]:8443/", {}), "");
}

TEST(EndpointTest, ByNameAlone) {
  const std::vector<std::string> allow = {"tools.internal", "10.0.0.5", "::1"};
  EXPECT_EQ(verdict("https://tools.internal/", {"10.1.1.1"}, allow), "");
  EXPECT_EQ(verdict("https://TOOLS.Internal.:8443/", {"10.1.1.1"}, allow), "");
  EXPECT_EQ(verdict("http://tools.internal/", {"127.0.0.1"}, allow), "");
  EXPECT_EQ(verdict("https://10.0.0.5/", {}, allow), "");
  EXPECT_EQ(verdict("https://167772165/", {}, allow), "");
  EXPECT_EQ(verdict("https://[0::1]/", {}, allow), "");
  for (const char* other : {"https://tools.internal.evil.example/", "https://xtools.internal/",
                            "https://x.tools.internal/"}) {
    EXPECT_NE(verdict(other, {"10.1.1.1"}, allow), "") << other;
  }
  EXPECT_NE(verdict("https://10.0.0.6/", {}, allow), "");
  EXPECT_NE(verdict("http://other.example/", {"8.8.8.8"}, allow), "");
  EXPECT_EQ(*parse_host_name("Tools.Internal."), "tools.internal");
  EXPECT_EQ(*parse_host_name("[::0001]"), "::1");
  for (const char* bad : {"", ".", "a b", "a/b", "https://a", "a:443", "a..b", "m\xc3\xbcnchen"}) {
    EXPECT_FALSE(parse_host_name(bad)) << bad;
  }
}

std::string url_of(const char* base, const char* target, bool whole = false) {
  const auto endpoint = parse_endpoint(base, whole, {});
  if (!endpoint) return endpoint.error().message;
  crypto::SecretText out;
  write_url(out, *endpoint, target);
  return std::string(out.view());
}

TEST(EndpointTest, UrlsOfRequests) {
  const char* rows[][3] = {
      {"https://api.example.com", "/v1/x?a=1", "https://api.example.com:443/v1/x?a=1"},
      {"https://api.example.com/", "/v1/x", "https://api.example.com:443/v1/x"},
      {"https://api.example.com", "", "https://api.example.com:443/"},
      {"https://api.example.com", "?a=1", "https://api.example.com:443/?a=1"},
      {"https://API.example.com:8443/base/", "/v1", "https://api.example.com:8443/base/v1"},
      {"https://api.example.com/base", "/", "https://api.example.com:443/base"},
      {"https://api.example.com/base", "/?a", "https://api.example.com:443/base?a"},
      {"https://api.example.com/base?api-version=1", "/x",
       "https://api.example.com:443/base/x?api-version=1"},
      {"https://api.example.com/base?api-version=1", "/x?a=2",
       "https://api.example.com:443/base/x?api-version=1&a=2"},
      {"https://api.example.com", "/@evil.example/", "https://api.example.com:443/@evil.example/"},
      {"https://api.example.com", "//evil.example/", "https://api.example.com:443//evil.example/"},
      {"https://[2606:4700::1111]", "/x", "https://[2606:4700::1111]:443/x"},
      {"https://134744072/", "/x", "https://8.8.8.8:443/x"},
  };
  for (const auto& row : rows) EXPECT_EQ(url_of(row[0], row[1]), row[2]);
  EXPECT_EQ(url_of("https://hooks.example.com/services/T/B/x", "/other?a=1", true),
            "https://hooks.example.com:443/services/T/B/x");
  EXPECT_EQ(url_of("https://hooks.example.com/s/?k=v", "/", true),
            "https://hooks.example.com:443/s/?k=v");
}

}  // namespace
}  // namespace sluice::agent
