#include <sys/un.h>

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "control/config_parts.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr size_t kMostRoles = 1000;

bool is_group_name(std::string_view name) {
  return name.size() <= 32 && !name.starts_with('-') &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.';
         });
}

void read_socket(const Section& s, AdminConfig& out) {
  constexpr size_t kLongestSocket = sizeof(sockaddr_un::sun_path) - 1;
  std::string socket = out.socket;
  s.file_path("socket", socket);
  if (socket.size() > kLongestSocket) {
    s.problem(s.line_of("socket"), "socket",
              fmt::format("is {} bytes long; a Unix socket's path has at most {}", socket.size(),
                          kLongestSocket));
  } else {
    out.socket = socket;
  }
  const auto group = s.text("group");
  if (!group) return;
  if (!is_group_name(group->text)) {
    s.problem(group->line, "group",
              fmt::format("{} is not a group's name; give one from /etc/group, or \"\" for root "
                          "alone",
                          quote(group->text)));
  } else {
    out.group = group->text;
  }
}

AdminRole read_role(Problems& problems, const YamlNode& item, size_t index) {
  const Section s(problems, &item, item_place("admin.roles", item, index),
                  {"user", "certificate", "role", "tenant"});
  AdminRole out;
  out.line = item.line;
  for (const auto& [key, target] :
       {std::pair{"user", &out.user}, std::pair{"certificate", &out.certificate}}) {
    const auto v = s.text(key);
    if (!v) continue;
    if (v->text.empty() || !wire::is_plain_text(v->text, kLongestCaller)) {
      s.problem(v->line, key,
                fmt::format("{} is not a name of 1 to {} bytes", quote(v->text), kLongestCaller));
      continue;
    }
    *target = v->text;
  }
  s.require_any({"user", "certificate"}, "is nobody's; give user or certificate");
  if (!out.user.empty() && !out.certificate.empty()) {
    s.problem(s.line_of("certificate"), "certificate",
              "stands beside user; a role is of one of them, make two entries");
  }
  if (s.require("role", "give auditor, operator or admin")) {
    s.choice<Role>(
        "role", out.role,
        {{"auditor", Role::kAuditor}, {"operator", Role::kOperator}, {"admin", Role::kAdmin}});
  }
  if (const auto v = s.text("tenant")) {
    const auto number = parse_decimal(v->text);
    if (number ? *number == 0 || *number > 0xffff : !wire::is_agent_name(v->text)) {
      s.problem(v->line, "tenant",
                fmt::format("{} is neither a tenant's name nor a number from 1 to 65535",
                            quote(v->text)));
    } else {
      out.tenant = v->text;
    }
  }
  return out;
}

void read_tls(const Section& s, AdminConfig& out) {
  AdminTls tls;
  if (!s.require("listen", "give ADDRESS:PORT, such as 192.0.2.1:7443 or \"[::]:7443\"")) return;
  if (const auto v = s.text("listen"); v && !split_listen(v->text, tls.address, tls.port)) {
    s.problem(v->line, "listen",
              fmt::format("{} is not ADDRESS:PORT, such as 192.0.2.1:7443 or \"[::]:7443\"",
                          quote(v->text)));
  }
  for (const auto& [key, target, what] :
       {std::tuple{"certificate", &tls.certificate, "the PEM file of the relay's certificate"},
        std::tuple{"key", &tls.key, "the PEM file of its private key"},
        std::tuple{"client_ca", &tls.client_ca,
                   "the PEM file of who signs callers' certificates"}}) {
    if (s.require(key, fmt::format("give {}", what))) s.file_path(key, *target);
  }
  out.tls = tls;
}

}  // namespace

void read_admin(const Section& root, AdminConfig& out) {
  const Section s = root.section("admin", {"socket", "group", "tls", "roles"});
  read_socket(s, out);
  const auto roles = s.list("roles");
  if (roles.size() > kMostRoles) {
    s.problem(roles[kMostRoles].line, "roles",
              fmt::format("lists more than {} entries; give a group of people one", kMostRoles));
    return;
  }
  for (size_t i = 0; i < roles.size(); ++i) {
    out.roles.push_back(read_role(s.problems(), roles[i], i));
    const AdminRole& r = out.roles.back();
    const auto same = std::find_if(out.roles.begin(), out.roles.end() - 1, [&](const AdminRole& o) {
      return (!r.user.empty() && o.user == r.user) ||
             (!r.certificate.empty() && o.certificate == r.certificate);
    });
    if (same != out.roles.end() - 1) {
      s.problem(r.line, "roles",
                fmt::format("{} has a role on line {} already; one each",
                            quote(r.user.empty() ? r.certificate : r.user), same->line));
    }
  }
  if (s.has("tls")) {
    const Section tls = s.section("tls", {"listen", "certificate", "key", "client_ca"});
    read_tls(tls, out);
    if (std::none_of(out.roles.begin(), out.roles.end(),
                     [](const AdminRole& r) { return !r.certificate.empty(); })) {
      tls.problem(tls.line(), "listen",
                  "is of no use: no entry of admin.roles names a certificate");
    }
  }
}

}  // namespace sluice::control
