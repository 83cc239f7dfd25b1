#include "agent/settings.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include "agent/front/endpoint.h"
#include "base/duration.h"

namespace sluice::agent {
namespace {

constexpr size_t kMostBytes = 1u << 20;

class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  void wrong(const YAML::Node& at, const std::string& what) {
    const auto mark = at.Mark();
    errors_.push_back(mark.is_null() ? fmt::format("{}: {}", path_, what)
                                     : fmt::format("{}:{}: {}", path_, mark.line + 1, what));
  }
  bool is_map(const YAML::Node& node, const std::string& where,
              std::initializer_list<const char*> keys) {
    if (!node.IsMap()) {
      wrong(node, fmt::format("{} is not a list of keys and values", where));
      return false;
    }
    for (const auto& entry : node) {
      const auto key = entry.first.as<std::string>("");
      const bool known =
          std::any_of(keys.begin(), keys.end(), [&](const char* k) { return key == k; });
      if (!known)
        wrong(entry.first,
              fmt::format("{} has no key \"{}\"; it has {}", where, key, fmt::join(keys, ", ")));
    }
    return true;
  }
  std::string text(const YAML::Node& node, const std::string& where) {
    if (node.IsScalar()) return node.Scalar();
    wrong(node, fmt::format("{} is not a text", where));
    return "";
  }
  bool flag(const YAML::Node& node, const std::string& where) {
    if (!node) return false;
    bool out = false;
    if (!YAML::convert<bool>::decode(node, out)) wrong(node, where + " is neither true nor false");
    return out;
  }
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  std::string path_;
  std::vector<std::string> errors_;
};

// What a server and an egress have in common.
void read_terms(Reader& r, const YAML::Node& node, const std::string& where, UpstreamConfig& c) {
  if (const auto n = node["protocol"]) {
    const auto protocol = parse_upstream_protocol(r.text(n, where + ".protocol"));
    if (!protocol) r.wrong(n, where + "." + protocol.error().message);
    c.protocol = protocol.value_or(c.protocol);
  }
  if (const auto n = node["path"]) {
    auto prefix = parse_prefix(r.text(n, where + ".path"));
    if (!prefix) r.wrong(n, where + "." + prefix.error().message);
    if (prefix) c.prefix = std::move(*prefix);
  }
  if (const auto n = node["timeout"]) {
    const auto s = parse_duration_s(r.text(n, where + ".timeout"));
    if (!s || *s == 0 || *s > kLongestUpstreamS)
      r.wrong(n, where + ".timeout is not a time from 1s to 1d");
    c.timeout_s = s.value_or(c.timeout_s);
  }
}

void add(Reader& r, const YAML::Node& node, const std::string& where, UpstreamConfig c,
         Settings& out) {
  for (const UpstreamConfig& other : out.serve) {
    if (other.protocol == c.protocol && other.prefix == c.prefix) {
      r.wrong(node, where + " has the protocol and path of another; give one of them a path");
    }
  }
  out.serve.push_back(std::move(c));
}

void read_upstream(Reader& r, const YAML::Node& node, size_t index, Settings& out) {
  const std::string where = fmt::format("serve[{}]", index);
  if (!r.is_map(
          node, where,
          {"protocol", "upstream", "path", "timeout", "strip_authorization", "strip_cookies"})) {
    return;
  }
  UpstreamConfig c;
  if (const auto n = node["upstream"]) {
    auto url = parse_upstream(r.text(n, where + ".upstream"));
    if (!url) r.wrong(n, url.error().message);
    if (url) c.url = std::move(*url);
  } else {
    r.wrong(node, where + " names no upstream");
  }
  read_terms(r, node, where, c);
  c.strip_authorization = r.flag(node["strip_authorization"], where + ".strip_authorization");
  c.strip_cookies = r.flag(node["strip_cookies"], where + ".strip_cookies");
  add(r, node, where, std::move(c), out);
}

void read_egress(Reader& r, const YAML::Node& egress, Settings& out) {
  if (!r.is_map(egress, "egress", {"allow", "serve"})) return;
  const YAML::Node allow = egress["allow"], serve = egress["serve"];
  if (allow && !allow.IsSequence()) r.wrong(allow, "egress.allow is not a list of hosts");
  for (size_t i = 0; allow && allow.IsSequence() && i < allow.size(); ++i) {
    const std::string where = fmt::format("egress.allow[{}]", i);
    auto host = parse_host_name(r.text(allow[i], where));
    if (!host) r.wrong(allow[i], where + ": " + host.error().message);
    if (host) out.egress_allow.push_back(std::move(*host));
  }
  if (serve && !serve.IsSequence()) r.wrong(serve, "egress.serve is not a list");
  for (size_t i = 0; serve && serve.IsSequence() && i < serve.size(); ++i) {
    const std::string where = fmt::format("egress.serve[{}]", i);
    if (!r.is_map(serve[i], where, {"protocol", "path", "timeout"})) continue;
    UpstreamConfig c;
    make_egress(c);
    read_terms(r, serve[i], where, c);
    add(r, serve[i], where, std::move(c), out);
  }
}

}  // namespace

std::string settings_path(const std::string& state) {
  return state + "/agent.yaml";
}

Result<Settings> load_settings(const std::string& path) {
  Settings out;
  std::error_code ec;
  if (!std::filesystem::exists(path, ec)) return out;
  if (std::filesystem::file_size(path, ec) > kMostBytes || ec) {
    return fail(ErrorCode::kUsage, fmt::format("{} is no readable file of at most 1 MiB", path));
  }
  YAML::Node root;
  try {
    root = YAML::LoadFile(path);
  } catch (const YAML::Exception& e) {
    return fail(ErrorCode::kUsage, fmt::format("{}:{}: {}", path, e.mark.line + 1, e.msg));
  }
  Reader r(path);
  if (root.IsNull()) return out;
  if (r.is_map(root, "the file", {"front", "serve", "egress", "keylog", "tun"})) {
    const YAML::Node front = root["front"];
    if (front && r.is_map(front, "front", {"listen"}) && front["listen"]) {
      out.front.listen = r.text(front["listen"], "front.listen");
      out.front.given = true;
    }
    const YAML::Node serve = root["serve"];
    if (serve && !serve.IsSequence()) r.wrong(serve, "serve is not a list");
    for (size_t i = 0; serve && serve.IsSequence() && i < serve.size(); ++i)
      read_upstream(r, serve[i], i, out);
    if (root["egress"]) read_egress(r, root["egress"], out);
    if (const YAML::Node tun = root["tun"]) out.tun = r.text(tun, "tun");
    if (const YAML::Node keys = root["keylog"]) {
      out.key_log = r.text(keys, "keylog");
      if (!out.key_log.starts_with('/')) r.wrong(keys, "keylog is not an absolute path");
    }
  }
  if (r.errors().empty()) return out;
  return fail(ErrorCode::kUsage, fmt::format("{}", fmt::join(r.errors(), "\n")));
}

}  // namespace sluice::agent
