#include <arpa/inet.h>

#include <fmt/format.h>

#include "base/byte_size.h"
#include "base/duration.h"
#include "control/config_parts.h"
#include "crypto/text.h"
#include "wire/call.h"

namespace sluice::control {
namespace {

// A YAML double-quoted scalar. Control characters never pass the loader; they are escaped all the
// same.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string quoted_list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const auto& item : items) out += (out.size() > 1 ? ", " : "") + quoted(item);
  return out + "]";
}

using control::name_of;  // beside the overloads below

std::string_view name_of(fabric::IdleMode mode) {
  switch (mode) {
    case fabric::IdleMode::kSpin:
      return "spin";
    case fabric::IdleMode::kBackoff:
      return "backoff";
  }
  return "";
}

std::string_view name_of(ControlScheduling scheduling) {
  switch (scheduling) {
    case ControlScheduling::kAuto:
      return "auto";
    case ControlScheduling::kFifo:
      return "fifo";
    case ControlScheduling::kNormal:
      return "normal";
  }
  return "";
}

std::string address_text(const fabric::PortAddress& a) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(a.v6 ? AF_INET6 : AF_INET, a.v6 ? a.ip.data() : a.ip.data() + 12, text, sizeof text);
  return fmt::format("{}/{}", text, a.prefix);
}

std::string print_topology(const fabric::Topology& t) {
  std::string out = fmt::format("eal:\n  mode: {}\n  file_prefix: {}\n  args: {}\n",
                                name_of(t.mode), quoted(t.file_prefix), quoted_list(t.eal_args));
  out += t.ports.empty() ? "ports: []\n" : "ports:\n";
  for (const auto& p : t.ports) {
    std::vector<std::string> addresses;
    for (const auto& a : p.addresses) addresses.push_back(address_text(a));
    out += fmt::format(
        "  - name: {}\n    device: {}\n    addresses: {}\n    mtu: {}\n    rx_descriptors: {}\n"
        "    tx_descriptors: {}\n",
        quoted(p.name), quoted(p.device), quoted_list(addresses), p.mtu, p.rx_descriptors,
        p.tx_descriptors);
  }
  out += fmt::format("cores:\n  control: {}\n  workers:{}\n", t.control_core,
                     t.workers.empty() ? " []" : "");
  for (const auto& w : t.workers) {
    std::vector<std::string> queues;
    for (const auto& q : w.queues) {
      const auto name = q.port < t.ports.size() ? t.ports[q.port].name : std::to_string(q.port);
      queues.push_back(fmt::format("{}/{}", name, q.queue));
    }
    out += fmt::format("    - core: {}\n      queues: {}\n", w.core, quoted_list(queues));
  }
  std::vector<std::string> verifiers;
  for (const unsigned core : t.verifiers) verifiers.push_back(std::to_string(core));
  out += fmt::format("  verifiers: [{}]\n", fmt::join(verifiers, ", "));
  return out + fmt::format("worker:\n  idle: {}\n  burst: {}\n", name_of(t.idle), t.burst);
}

std::string print_rate(std::string_view key, const RateConfig& r) {
  if (!r.limited()) return {};
  std::string out = fmt::format("      {}: {{ ", key);
  if (r.packets_per_s != 0) out += fmt::format("packets_per_s: {}, ", r.packets_per_s);
  if (r.bytes_per_s != 0) out += fmt::format("bytes_per_s: {}, ", r.bytes_per_s);
  if (r.calls_per_s != 0) out += fmt::format("calls_per_s: {}, ", r.calls_per_s);
  return out + fmt::format("burst_ms: {} }}\n", r.burst_ms);
}

std::string print_windows(const TrustConfig& t) {
  std::map<std::string, const TimeWindow*> windows;
  for (const auto& p : t.pairs) {
    for (const WindowSet& set : p.forward_calls.windows) {
      for (const TimeWindow& w : set) windows[w.name] = &w;
    }
  }
  if (windows.empty()) return {};
  std::string out = "  windows:\n";
  for (const auto& [name, w] : windows) {
    out += fmt::format("    {}: {{ zone: {}, {} }}\n", quoted(name), quoted(w->zone), times_of(*w));
  }
  return out;
}

std::string print_call_terms(std::string_view key, const CallTerms& t) {
  CallTerms rest = t;
  rest.windows.clear();
  if (!rest.limits_calls()) return {};
  std::vector<std::string> parts;
  if (t.at_once != 0) parts.push_back(fmt::format("at_once: {}", t.at_once));
  if (t.quota.calls != 0) {
    parts.push_back(
        fmt::format("quota: {{ calls: {}, per: {}s }}", t.quota.calls, t.quota.period_s));
  }
  if (t.approve_capabilities != 0 || !t.approve_scopes.empty()) {
    std::vector<std::string> marks;
    if (t.approve_capabilities != 0) {
      marks.push_back("capabilities: " +
                      quoted_list(wire::capability_names(t.approve_capabilities)));
    }
    if (!t.approve_scopes.empty()) marks.push_back("scopes: " + quoted_list(t.approve_scopes));
    parts.push_back(fmt::format("approval: {{ {} }}", fmt::join(marks, ", ")));
  }
  return fmt::format("      {}: {{ {} }}\n", key, fmt::join(parts, ", "));
}

std::string print_window_list(const CallTerms& t) {
  if (t.windows.empty()) return {};
  std::vector<std::string> names;
  for (const TimeWindow& w : t.windows.front()) names.push_back(w.name);
  return fmt::format("      windows: {}\n", quoted_list(names));
}

std::string print_trust(const TrustConfig& t) {
  std::string out = fmt::format("trust:\n  tenants:{}\n", t.tenants.empty() ? " []" : "");
  for (const auto& tenant : t.tenants) {
    out += fmt::format("    - id: {}\n{}", tenant.id, print_rate("rate", tenant.rate));
  }
  out += fmt::format("  agents:{}\n", t.agents.empty() ? " []" : "");
  for (const auto& a : t.agents) {
    out += fmt::format("    - name: {}\n      did: {}\n      tenant: {}\n      enrol: {}\n",
                       quoted(a.name), quoted(crypto::to_did(a.identity)), a.tenant,
                       quoted(crypto::to_base64(a.enrol)));
    out += print_rate("rate", a.rate);
  }
  out += fmt::format("  pairs:{}\n", t.pairs.empty() ? " []" : "");
  for (const auto& p : t.pairs) {
    out += fmt::format(
        "    - from: {}\n      to: {}\n      forward: {}\n      backward: {}\n      seal: {}\n",
        quoted(p.from), quoted(p.to), name_of(p.forward), name_of(p.backward), name_of(p.seal));
    out += print_rate("forward_rate", p.forward_rate);
    out += print_rate("backward_rate", p.backward_rate);
    out += print_call_terms("forward_calls", p.forward_calls);
    out += print_call_terms("backward_calls", p.backward_calls);
    out += print_window_list(p.forward_calls);
  }
  return out + print_windows(t);
}

}  // namespace

std::string_view name_of(fabric::EalMode mode) {
  switch (mode) {
    case fabric::EalMode::kShared:
      return "shared";
    case fabric::EalMode::kInMemory:
      return "in_memory";
    case fabric::EalMode::kNoHuge:
      return "no_huge";
  }
  return "";
}

std::string_view name_of(WhenStale when) {
  return when == WhenStale::kRefuse ? "refuse" : "forward";
}

std::string_view name_of(EdgeRight right) {
  switch (right) {
    case EdgeRight::kMaySend:
      return "may_send";
    case EdgeRight::kMayOpen:
      return "may_open";
    case EdgeRight::kReplyOnly:
      return "reply_only";
  }
  return "";
}

std::string_view name_of(Role role) {
  switch (role) {
    case Role::kAuditor:
      return "auditor";
    case Role::kOperator:
      return "operator";
    case Role::kAdmin:
      return "admin";
  }
  return "";
}

std::string_view name_of(fabric::SealPolicy seal) {
  switch (seal) {
    case fabric::SealPolicy::kFull:
      return "full";
    case fabric::SealPolicy::kHeader:
      return "header";
    case fabric::SealPolicy::kAny:
      return "any";
  }
  return "";
}

namespace {

std::string print_admin(const AdminConfig& admin) {
  std::string out =
      fmt::format("admin:\n  socket: {}\n  group: {}\n", quoted(admin.socket), quoted(admin.group));
  if (const AdminTls& t = admin.tls; t.port != 0) {
    out +=
        fmt::format("  tls:\n    listen: {}\n    certificate: {}\n    key: {}\n    client_ca: {}\n",
                    quoted(join_listen(t.address, t.port)), quoted(t.certificate), quoted(t.key),
                    quoted(t.client_ca));
  }
  if (!admin.roles.empty()) out += "  roles:\n";
  for (const AdminRole& r : admin.roles) {
    out += fmt::format("    - {{ {}: {}, role: {}{} }}\n", r.user.empty() ? "certificate" : "user",
                       quoted(r.user.empty() ? r.certificate : r.user), name_of(r.role),
                       r.tenant.empty() ? "" : ", tenant: " + quoted(r.tenant));
  }
  return out;
}

std::string print_audit(const AuditConfig& a) {
  return fmt::format(
      "audit:\n  folder: {}\n{}  keep_for: {}\n  keep_bytes: {}\n  alert_days: {}\n"
      "  when_unavailable: {}\n",
      quoted(a.folder), a.origin.empty() ? "" : fmt::format("  origin: {}\n", quoted(a.origin)),
      a.keep_for_s == 0 ? "forever" : duration_text(a.keep_for_s),
      a.keep_bytes == 0 ? "all" : bytes_text(a.keep_bytes), a.alert_days,
      a.when_unavailable == WhenUnavailable::kDeny ? "deny" : "count");
}

std::string print_vault(const vault::KeySourceOptions& v) {
  return fmt::format(
      "vault:\n  source: {}\n  key_file: {}\n  passphrase: {{ memory_mb: {}, passes: {} }}\n"
      "  tpm:\n    tcti: {}\n    pcrs: [{}]\n    auth_file: {}\n",
      name_of(v.source), quoted(v.key_file), v.argon2.memory_mb, v.argon2.passes,
      quoted(v.tpm.tcti), fmt::join(v.tpm.pcrs, ", "), quoted(v.tpm.auth_file));
}

}  // namespace

std::string print_config(const Config& c) {
  std::string out = fmt::format("log:\n  level: {}\n", quoted(c.log_level));
  out += print_topology(c.topology);
  out += fmt::format("control:\n  scheduling: {}\n  max_staleness_s: {}\n  when_stale: {}\n",
                     name_of(c.scheduling), c.max_staleness_s, name_of(c.when_stale));
  out += fmt::format(
      "relay:\n  state_dir: {}\n  key_file: {}\n  udp_port: {}\n{}"
      "  ipv4_udp_checksum: {}\n  dscp: {}\n",
      quoted(c.relay.state_dir), quoted(c.relay.key_file), c.relay.udp_port,
      c.relay.public_host.empty() ? ""
                                  : fmt::format("  public_host: {}\n", quoted(c.relay.public_host)),
      c.relay.ipv4_udp_checksum, c.relay.dscp);
  out += fmt::format(
      "handshake:\n  under_load_per_s: {}\n  under_load_burst: {}\n  session_life_s: {}\n"
      "  unconfirmed_s: {}\n  agent_lanes: {}\n",
      c.handshake.under_load_per_s, c.handshake.under_load_burst, c.handshake.session_life_s,
      c.handshake.unconfirmed_s, c.handshake.agent_lanes);
  out += fmt::format(
      "limits:\n  agents: {}\n  edges: {}\n  sessions: {}\n  tenants: {}\n"
      "  prepared_keys_mb: {}\n  packet_buffers: {}\n  calling_agents: {}\n"
      "  calls_per_agent: {}\n  idempotency_keys_per_agent: {}\n  scope_sets: {}\n"
      "  limited_edges: {}\n  credentials: {}\n",
      c.limits.agents, c.limits.edges, c.limits.sessions, c.limits.tenants,
      c.limits.prepared_keys_mb, c.limits.packet_buffers, c.limits.calling_agents,
      c.limits.calls_per_agent, c.limits.idempotency_keys_per_agent, c.limits.scope_sets,
      c.limits.limited_edges, c.limits.credentials);
  out += fmt::format(
      "calls:\n  skew_s: {}\n  longest_life_s: {}\n  idle_s: {}\n  approval_s: {}\n"
      "  parked: {}\n  circuit: {{ failed_percent: {}, of_calls: {}, within_s: {}, open_s: {} }}\n",
      c.calls.skew_s, c.calls.longest_life_s, c.calls.idle_s, c.calls.approval_s, c.calls.parked,
      c.calls.circuit_percent, c.calls.circuit_calls, c.calls.circuit_within_s,
      c.calls.circuit_open_s);
  out += print_admin(c.admin);
  out += print_audit(c.audit);
  const ObservabilityConfig& o = c.observability;
  out += fmt::format("observability:\n  latency: {}\n  latency_tenants: {}\n",
                     o.latency ? "on" : "off", o.latency_tenants);
  if (o.metrics_port != 0) {
    out += fmt::format("metrics:\n  listen: {}\n",
                       quoted(join_listen(o.metrics_address, o.metrics_port)));
  }
  out += print_vault(c.vault);
  return out + print_trust(c.trust);
}

}  // namespace sluice::control
