#include "control/policy_file.h"

#include <algorithm>

#include <fmt/format.h>

#include "control/config_parts.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr size_t kLongestPattern = 256;

const Choices<PolicyAction> kActions = {{"approve", PolicyAction::kApprove},
                                        {"ask", PolicyAction::kAsk},
                                        {"deny", PolicyAction::kDeny}};

bool is_name_pattern(std::string_view text) {
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' ||
           c == '*' || c == '?';
  });
}

class PolicyReader {
 public:
  PolicyReader(Problems& problems, const TenantLookup& tenant, Windows windows)
      : problems_(problems), tenant_(tenant), windows_(std::move(windows)) {}

  PolicyRole read_role(const YamlNode& node) {
    PolicyRole out;
    const std::string place = fmt::format("roles.{}", quote(node.key));
    out.name = node.key;
    if (!wire::is_agent_name(out.name)) {
      problems_.add(node.key_line,
                    fmt::format("{}: is not a role's name; give 1 to 63 of a-z, 0-9, ., _ and -, "
                                "the first a letter or digit",
                                place));
    }
    if (std::find(roles_.begin(), roles_.end(), out.name) != roles_.end()) {
      problems_.add(node.key_line, fmt::format("{}: is given twice; remove one", place));
    }
    roles_.push_back(out.name);
    if (node.kind == YamlNode::Kind::kBroken) return out;
    if (node.kind != YamlNode::Kind::kList || node.children.empty()) {
      problems_.add(node.line, fmt::format("{}: needs a list of who has the role", place));
      return out;
    }
    if (node.children.size() > Policy::kMostMembers) {
      problems_.add(node.line, fmt::format("{}: lists more than {} entries; use patterns", place,
                                           Policy::kMostMembers));
      return out;
    }
    for (const YamlNode& member : node.children) {
      if (member.kind == YamlNode::Kind::kBroken) continue;
      if (member.kind != YamlNode::Kind::kScalar) {
        problems_.add(member.line, fmt::format("{}: an entry is a single text", place));
        continue;
      }
      out.members.push_back(read_pattern(member.text, member.line, place, false));
    }
    return out;
  }

  PolicyRule read_rule(const YamlNode& node, size_t index) {
    const Section s(
        problems_, &node, fmt::format("rules[{}]", index + 1),
        {"from", "to", "action", "for", "scopes", "protocols", "seal", "rate", "calls", "windows"});
    PolicyRule out;
    for (const auto& [key, target] : {std::pair{"from", &out.from}, std::pair{"to", &out.to}}) {
      if (!s.require(key, "give a name, a pattern, role:NAME, a DID, or \"*\"")) continue;
      if (const auto v = s.text(key)) *target = read_pattern(v->text, v->line, s.place(key), true);
    }
    s.choice("action", out.action, kActions);
    if (const auto seconds = read_duration(s, "for")) out.bounds.longest_ms = *seconds * 1000;
    out.bounds.scopes = read_names(s, "scopes");
    out.bounds.protocols = read_names(s, "protocols");
    fabric::SealPolicy seal{};
    if (s.text("seal")) {
      s.choice<fabric::SealPolicy>("seal", seal,
                                   {{"full", fabric::SealPolicy::kFull},
                                    {"header", fabric::SealPolicy::kHeader},
                                    {"any", fabric::SealPolicy::kAny}});
      out.bounds.seal = seal;
    }
    read_rate(s, "rate", out.bounds.rate);
    read_call_terms(s, "calls", out.bounds.calls);
    read_window_list(s, "windows", windows_, out.bounds.calls);
    return out;
  }

 private:
  // A list that is there and empty allows nothing.
  std::optional<std::set<std::string>> read_names(const Section& s, std::string_view key) {
    if (!s.has(key)) return std::nullopt;
    std::set<std::string> out;
    for (const YamlNode& n : s.list(key)) {
      if (n.kind != YamlNode::Kind::kScalar || n.text.empty() ||
          !wire::is_plain_text(n.text, wire::kMostTermBytes)) {
        s.problem(n.line, key,
                  fmt::format("an entry is a text of 1 to {} bytes", wire::kMostTermBytes));
        continue;
      }
      out.insert(n.text);
    }
    return out;
  }

  PolicyPattern read_pattern(const std::string& text, int line, const std::string& place,
                             bool role_allowed) {
    PolicyPattern out;
    const auto wrong = [&](const std::string& why) {
      problems_.add(line, fmt::format("{}: {} {}", place, quote(text), why));
      return PolicyPattern{};
    };
    if (text.size() > kLongestPattern) return wrong("is too long for a pattern");
    std::string_view rest = text;
    if (const size_t at = rest.find('@'); at != std::string_view::npos) {
      const std::string tenant(rest.substr(at + 1));
      out.tenant = tenant_(tenant);
      if (!out.tenant) {
        return wrong("names a tenant that is not there; sluicectl tenant list shows them");
      }
      rest = rest.substr(0, at);
    }
    if (rest.starts_with("did:")) {
      out.did = crypto::parse_did(rest);
      return out.did ? out : wrong("is not the did:key of an Ed25519 key; copy it whole");
    }
    if (rest.starts_with("role:")) {
      if (!role_allowed) return wrong("is a role within a role; list its agents");
      out.role = rest.substr(5);
      if (std::find(roles_.begin(), roles_.end(), out.role) == roles_.end()) {
        const std::vector<std::string_view> known(roles_.begin(), roles_.end());
        const std::string hint = suggestion(out.role, known);
        return wrong(hint.empty() ? "names a role that roles: does not list"
                                  : "names no role" + hint);
      }
      return out;
    }
    if (rest == "*" || (rest.empty() && out.tenant)) return out;
    if (!is_name_pattern(rest)) {
      return wrong(
          "is not a pattern; give a name with * and ?, role:NAME, a DID, or \"*\", and "
          "@TENANT behind it where only one is meant");
    }
    out.name = rest;
    return out;
  }

  Problems& problems_;
  const TenantLookup& tenant_;
  const Windows windows_;
  std::vector<std::string> roles_;
};

std::string join(const std::set<std::string>& names) {
  return fmt::format("[{}]", fmt::join(names, ", "));
}

std::string to_string(const PolicyRole& role) {
  std::vector<std::string> members;
  for (const PolicyPattern& m : role.members) members.push_back(to_string(m));
  return fmt::format("role {}: {}", role.name, fmt::join(members, ", "));
}

std::vector<std::string> lines_of(const Policy& policy) {
  std::vector<std::string> out = {fmt::format("default: {}", name_of(policy.otherwise))};
  for (const PolicyRole& r : policy.roles) out.push_back(to_string(r));
  for (const PolicyRule& r : policy.rules) out.push_back(to_string(r));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

LoadedPolicy parse_policy(std::string_view yaml, const TenantLookup& tenant) {
  LoadedPolicy out;
  Problems problems;
  if (yaml.size() > kLargestPolicy) {
    problems.add(0, fmt::format("the policy is larger than {} KiB", kLargestPolicy >> 10));
  } else if (const auto tree = read_yaml(yaml, problems)) {
    const Section root(problems, &*tree, "", {"default", "roles", "rules", "windows"});
    root.choice("default", out.policy.otherwise, kActions);
    PolicyReader reader(problems, tenant, read_windows(root, "windows"));
    const auto roles = root.map("roles");
    for (const YamlNode& node : roles) out.policy.roles.push_back(reader.read_role(node));
    const auto rules = root.list("rules");
    for (size_t i = 0; i < rules.size(); ++i) {
      out.policy.rules.push_back(reader.read_rule(rules[i], i));
    }
    if (roles.size() > Policy::kMostRoles) {
      root.problem(roles[Policy::kMostRoles].key_line, "roles",
                   fmt::format("at most {} roles", Policy::kMostRoles));
    }
    if (rules.size() > Policy::kMostRules) {
      root.problem(rules[Policy::kMostRules].line, "rules",
                   fmt::format("at most {} rules; use roles and patterns", Policy::kMostRules));
    }
  }
  out.problems = problems.take_sorted();
  return out;
}

std::string to_string(const PolicyPattern& p) {
  std::string out = p.did             ? crypto::to_did(*p.did)
                    : !p.role.empty() ? "role:" + p.role
                    : p.name.empty()  ? "*"
                                      : p.name;
  if (p.tenant) out += fmt::format("@{}", *p.tenant);
  return out;
}

std::string to_string(const PolicyRule& r) {
  std::string out =
      fmt::format("{} -> {}: {}", to_string(r.from), to_string(r.to), name_of(r.action));
  const PolicyBounds& b = r.bounds;
  if (b.longest_ms != 0) out += fmt::format(", for at most {} s", b.longest_ms / 1000);
  if (b.scopes) out += ", scopes " + join(*b.scopes);
  if (b.protocols) out += ", protocols " + join(*b.protocols);
  if (b.seal) out += fmt::format(", seal {}", name_of(*b.seal));
  if (b.rate.packets_per_s != 0) out += fmt::format(", {} packets/s", b.rate.packets_per_s);
  if (b.rate.bytes_per_s != 0) out += fmt::format(", {} bytes/s", b.rate.bytes_per_s);
  if (b.rate.packets_per_s != 0 || b.rate.bytes_per_s != 0) {
    out += fmt::format(", burst {} ms", b.rate.burst_ms);
  }
  if (b.rate.calls_per_s != 0) out += fmt::format(", {} calls/s", b.rate.calls_per_s);
  out += to_string(b.calls);
  return out;
}

PolicyDiff compare(const Policy& before, const Policy& after) {
  const auto a = lines_of(before), b = lines_of(after);
  PolicyDiff out;
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(out.added));
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out.removed));
  return out;
}

}  // namespace sluice::control
