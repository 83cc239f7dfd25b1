#include "agent/front/endpoint.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "agent/front/address_policy.h"
#include "http/curl.h"

namespace sluice::agent {
namespace {

// A part of a URL in curl's memory, which is wiped when it is given back.
class UrlPart {
 public:
  UrlPart(CURLU* url, CURLUPart part, unsigned flags = 0) {
    code_ = curl_url_get(url, part, &text_, flags);
  }
  UrlPart(const UrlPart&) = delete;
  UrlPart& operator=(const UrlPart&) = delete;
  ~UrlPart() { curl_free(text_); }
  bool there() const { return code_ == CURLUE_OK; }
  std::string_view view() const { return text_ == nullptr ? "" : text_; }

 private:
  char* text_ = nullptr;
  CURLUcode code_;
};

tl::unexpected<Error> refuse_endpoint(std::string_view why) {
  return fail(ErrorCode::kRefused, fmt::format("the credential's endpoint {}", why));
}

std::string without_brackets(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  return std::string(host);
}

std::optional<boost::asio::ip::address> address_of(const std::string& host) {
  boost::system::error_code ec;
  const auto address = boost::asio::ip::make_address(host, ec);
  if (ec) return std::nullopt;
  return address;
}

}  // namespace

Result<std::string> parse_host_name(std::string_view text) {
  std::string name = without_brackets(text);
  if (const auto address = address_of(name)) return address->to_string();
  if (!name.empty() && name.back() == '.') name.pop_back();
  const bool good = !name.empty() && name.size() <= 253 && name.front() != '.' &&
                    name.back() != '.' && name.find("..") == std::string::npos &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
                    });
  if (!good) {
    return fail(ErrorCode::kUsage,
                "a host is a name of letters, digits and hyphens, or an address; one in other "
                "letters is written as xn--…");
  }
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return name;
}

Result<Endpoint> parse_endpoint(std::string_view text, bool whole,
                                const std::vector<std::string>& allow) {
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && static_cast<unsigned char>(c) < 0x7f && c != '\\';
  });
  if (!printable) return refuse_endpoint("has characters that no URL has");
  // In the host curl would decode them, and look up what nobody reads there.
  const size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return refuse_endpoint("does not begin with https://");
  std::string_view authority = text.substr(scheme_end + 3);
  authority = authority.substr(0, authority.find_first_of("/?#"));
  // curl would take what is behind it for the host.
  if (authority.empty()) return refuse_endpoint("names no host");
  if (authority.find('%') != std::string_view::npos)
    return refuse_endpoint("has a percent sign in its host");
  if (authority.find('@') != std::string_view::npos)
    return refuse_endpoint("names a user; who asks is said by the credential's own fields");
  crypto::SecretText copy(text.size() + 1);
  copy << text << '\0';
  const http::CurlUrl url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, copy.view().data(),
                   CURLU_NON_SUPPORT_SCHEME | CURLU_DISALLOW_USER) != CURLUE_OK) {
    return refuse_endpoint("is no URL; it has the form https://HOST[:PORT]/PATH");
  }
  const UrlPart scheme(url.get(), CURLUPART_SCHEME), host(url.get(), CURLUPART_HOST);
  const UrlPart port(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  const UrlPart path(url.get(), CURLUPART_PATH), query(url.get(), CURLUPART_QUERY);
  const UrlPart fragment(url.get(), CURLUPART_FRAGMENT), zone(url.get(), CURLUPART_ZONEID);
  Endpoint out;
  out.whole = whole;
  out.plain = scheme.view() == "http";
  if (!out.plain && scheme.view() != "https") return refuse_endpoint("is none of https://");
  if (fragment.there()) return refuse_endpoint("has a fragment, which no server sees");
  if (zone.there()) return refuse_endpoint("has an address of one link alone");
  auto name = parse_host_name(host.view());
  if (!name) return refuse_endpoint("has a host that is neither a plain name nor an address");
  out.host = std::move(*name);
  const auto number = port.view();
  const auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), out.port);
  if (ec != std::errc() || end != number.data() + number.size() || out.port == 0)
    return refuse_endpoint("has a port that is none");
  out.allowed = std::find(allow.begin(), allow.end(), out.host) != allow.end();
  if (out.plain && !out.allowed) {
    return refuse_endpoint(
        "is plain http, for a host that this agent's egress.allow does not name");
  }
  out.path << path.view();
  // A path of its own has no slash behind it unless it is asked for.
  while (!whole && out.path.size() > 0 && out.path.view().back() == '/')
    out.path.cut(out.path.size() - 1);
  out.query << query.view();
  return out;
}

Result<void> check_addresses(const Endpoint& endpoint,
                             const std::vector<boost::asio::ip::address>& addresses) {
  if (endpoint.allowed) return {};
  for (const auto& address : addresses) {
    const auto what = refused_as(address);
    if (!what) continue;
    return refuse_endpoint(
        fmt::format("leads to an address that is {}; if it is meant to, name its host in this "
                    "agent's egress.allow",
                    *what));
  }
  return {};
}

void write_url(crypto::SecretText& out, const Endpoint& e, std::string_view target) {
  const bool v6 = e.host.find(':') != std::string::npos;
  out << (e.plain ? "http://" : "https://") << (v6 ? "[" : "") << e.host << (v6 ? "]" : "") << ':'
      << std::to_string(e.port) << e.path.view();
  if (e.whole) {
    if (e.query.size() > 0) out << '?' << e.query.view();
    return;
  }
  const size_t mark = std::min(target.find('?'), target.size());
  const std::string_view path = target.substr(0, mark);
  // The host must end where it ends.
  if (e.path.size() == 0 && (path.empty() || path.front() != '/')) out << '/';
  if (path != "/" || e.path.size() == 0) out << path;
  if (e.query.size() > 0) out << '?' << e.query.view();
  if (mark < target.size()) {
    out << (e.query.size() > 0 ? '&' : '?') << target.substr(mark + 1);
  }
}

}  // namespace sluice::agent
