// The relay's configuration: one struct, one YAML file (config/sluiced.yaml is its manual). Loaded
// whole or not at all: every mistake is reported at once with its line; unknown and repeated keys
// are mistakes. Immutable after loading; any thread may read it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "control/call_terms.h"
#include "crypto/identity.h"
#include "fabric/records.h"
#include "fabric/topology.h"
#include "vault/master_key.h"
#include "wire/ip.h"

namespace sluice::control {

struct RelayConfig {
  std::string state_dir = "/var/lib/sluice";
  std::string key_file;  // default: state_dir/relay.key
  uint16_t udp_port = 7600;
  std::string public_host;         // what join strings name; empty: the first port's address
  bool ipv4_udp_checksum = false;  // false: 0 on IPv4, the tag is stronger
  uint8_t dscp = 0;                // 0 to 63, of departing packets
};

struct HandshakeConfig {
  // Cookie-less HELLOs a second above which every source must first return a cookie.
  uint32_t under_load_per_s = 64;
  // How many arriving in the same 2 ms are taken for a flood at once.
  uint32_t under_load_burst = 8;
  uint32_t session_life_s = 180;  // both ends stop sending; tests shorten it
  uint32_t unconfirmed_s = 5;
  uint8_t agent_lanes = 1;  // lanes an agent may send in, 1 to 8
};

struct LimitsConfig {
  uint32_t agents = 4096;
  uint32_t edges = 65536;
  uint32_t sessions = 16384;
  uint32_t tenants = 64;  // tenants with a rate
  // MiB for identities made ready for verification, 6,208 bytes each; never more than `agents`.
  uint32_t prepared_keys_mb = 32;
  uint32_t packet_buffers = 0;  // 0: computed from ports, queues and workers
  // Calls (docs/protocol.md, section 7): agents that may have some at a time, and of each of them,
  // as powers of two, how many and how many idempotency keys that have not expired.
  uint32_t calling_agents = 1024;
  uint32_t calls_per_agent = 16;
  uint32_t idempotency_keys_per_agent = 64;
  uint32_t scope_sets = 1024;     // different sets of scopes that agreements may name
  uint32_t limited_edges = 8192;  // edges whose calls have limits of their own
  uint32_t credentials = 256;     // that are ready for calls at a time; 8 KiB of locked memory each
};

// Calls, docs/protocol.md, section 7.
struct CallsConfig {
  uint32_t skew_s = 30;           // between an envelope's time and the relay's clock
  uint32_t longest_life_s = 300;  // of an envelope
  uint32_t idle_s = 60;
  uint32_t approval_s = 120;  // how long a call waits for one, within its envelope's life
  uint32_t parked = 1024;     // calls that wait at a time
  // An edge's circuit: refused once so many of so many calls failed within that time, tried again
  // after that other one. 0 percent: never.
  uint8_t circuit_percent = 50;
  uint8_t circuit_calls = 20;
  uint32_t circuit_within_s = 60;
  uint32_t circuit_open_s = 10;
};

// What a caller of the operator's API may: each role what the one before it may.
enum class Role : uint8_t { kAuditor, kOperator, kAdmin };

constexpr size_t kLongestCaller = 64;  // bytes; X.509's bound of a common name

struct AdminRole {
  int line = 0;
  std::string user;         // of the Unix socket: a name or a number
  std::string certificate;  // over TLS: a common name; one of the two is given
  Role role = Role::kAuditor;
  std::string tenant;  // its name or number; empty: all of them
};

// The same API over TLS, for who shows a certificate. Port 0: not at all.
struct AdminTls {
  std::string address;
  uint16_t port = 0;
  std::string certificate, key, client_ca;  // PEM files
};

struct AdminConfig {
  std::string socket = "/run/sluice/admin.sock";
  std::string group = "sluice";  // empty: root alone
  AdminTls tls;
  std::vector<AdminRole> roles;  // empty: whoever may open the socket is admin
};

// What workers do with packets of standing edges when control has not run for max_staleness_s.
enum class WhenStale : uint8_t { kRefuse, kForward };
enum class ControlScheduling : uint8_t { kAuto, kFifo, kNormal };

// Token buckets over packets, bytes (of the UDP payload) and calls; 0: that measure is not limited.
// Of calls, one second's worth may come at once.
struct RateConfig {
  uint64_t packets_per_s = 0;
  uint64_t bytes_per_s = 0;
  uint32_t burst_ms = 10;
  uint32_t calls_per_s = 0;

  bool limited() const { return packets_per_s != 0 || bytes_per_s != 0 || calls_per_s != 0; }
  friend auto operator<=>(const RateConfig&, const RateConfig&) = default;
};

// New calls while the audit log cannot be written.
enum class WhenUnavailable : uint8_t { kDeny, kCount };

// The log of who did what, docs/audit.md.
struct AuditConfig {
  std::string folder;        // default: state_dir/audit
  std::string origin;        // of a log that is new; empty: sluice/ and the relay's id
  uint64_t keep_for_s = 0;   // 0: for ever
  uint64_t keep_bytes = 0;   // 0: all
  uint32_t alert_days = 14;  // 0: never
  WhenUnavailable when_unavailable = WhenUnavailable::kDeny;
};

// What the relay measures of itself, and who may read it besides the admin API
// (docs/observability.md).
struct ObservabilityConfig {
  bool latency = true;            // packets' time from RX to TX
  uint32_t latency_tenants = 64;  // tenants for whom it is kept apart
  std::string metrics_address;    // of GET /metrics over plain HTTP; port 0: not at all
  uint16_t metrics_port = 0;
};

struct TrustTenant {
  int line = 0;
  uint16_t id = 0;
  RateConfig rate;  // of all its agents together
};

struct TrustAgent {
  int line = 0;
  std::string name;
  crypto::PublicKey identity{};
  uint16_t tenant = 0;
  Buffer enrol;  // Signed Enrol statement, verified when loaded
  ByteArray<32> e2e_key{};
  RateConfig rate;  // of all that it sends
};

enum class EdgeRight : uint8_t { kMaySend = 1, kMayOpen = 2, kReplyOnly = 3 };

struct TrustPair {
  int line = 0;
  std::string from;  // names of TrustAgents
  std::string to;
  EdgeRight forward = EdgeRight::kMaySend;   // from -> to
  EdgeRight backward = EdgeRight::kMaySend;  // to -> from
  fabric::SealPolicy seal = fabric::SealPolicy::kFull;
  RateConfig forward_rate;
  RateConfig backward_rate;
  CallTerms forward_calls;
  CallTerms backward_calls;
};

struct TrustConfig {
  std::vector<TrustTenant> tenants;
  std::vector<TrustAgent> agents;
  std::vector<TrustPair> pairs;
};

struct Config {
  std::string log_level = "info";
  fabric::Topology topology;  // eal:, ports:, cores:, worker:
  ControlScheduling scheduling = ControlScheduling::kAuto;
  uint32_t max_staleness_s = 30;
  WhenStale when_stale = WhenStale::kRefuse;
  RelayConfig relay;
  HandshakeConfig handshake;
  LimitsConfig limits;
  CallsConfig calls;
  AdminConfig admin;
  AuditConfig audit;
  ObservabilityConfig observability;
  vault::KeySourceOptions vault;
  TrustConfig trust;
};

struct ConfigProblem {
  int line = 0;      // 1-based; 0: the file as a whole
  std::string text;  // one sentence with the remedy
};

// What may stand at a key, as the reader of the configuration has it.
struct KeyRule {
  std::string place;    // limits.agents, ports[].mtu
  std::string form;     // "1 to 64", "spin, backoff", "true or false", "text"
  std::string initial;  // the default; empty: there is none, or it is worked out
};

struct LoadedConfig {
  Config config;
  std::vector<ConfigProblem> problems;  // empty: the configuration is good
};

// Never throws, never stops at the first mistake (but for text that is not YAML at all).
// `relay_key`: the relay's public tunnel key, which Enrol statements must name; none: not checked.
LoadedConfig parse_config(std::string_view yaml, std::optional<ByteArray<32>> relay_key);
LoadedConfig load_config(const std::string& path);

// Of every key that the manual (config/sluiced.yaml) gives a value, in the order of reading.
std::vector<KeyRule> key_rules();
// The manual itself.
std::string_view config_manual();

// As the YAML spells them.
std::string_view name_of(fabric::EalMode mode);
std::string_view name_of(WhenStale when);
std::string_view name_of(EdgeRight right);
std::string_view name_of(Role role);
std::string_view name_of(fabric::SealPolicy seal);

// The effective configuration as YAML, defaults included.
std::string print_config(const Config& config);

// "FILE:LINE: text", one a line.
std::string format_problems(const std::string& path, const std::vector<ConfigProblem>& problems);

}  // namespace sluice::control
