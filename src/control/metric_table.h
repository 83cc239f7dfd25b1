// Every metric that is not a worker's counter (those come from fabric/counters.h), in one list:
// what is served, its HELP line and docs/metrics.md are made from it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::control {

enum class MetricKind : uint8_t { kCounter, kGauge, kHistogram };

// X(enumerator, name, kind, labels, sentence)
#define SLUICE_METRICS(X)                                                                         \
  X(kBuildInfo, "sluice_build_info", kGauge, "version, aead, aead_path, public_keys",             \
    "always 1; which program runs, and which code paths for this CPU")                            \
  X(kStartTime, "process_start_time_seconds", kGauge, "", "when the relay started, Unix time")    \
  X(kReasonInfo, "sluice_reason_info", kGauge, "of, reason, text",                                \
    "always 1; what each reason of a drop, call or handshake means, and its cure")                \
  X(kDrops, "sluice_drops_total", kCounter, "reason, severity",                                   \
    "packets that ended on a worker without leaving it; docs/drops.md has each one's cure")       \
  X(kCallDecisions, "sluice_call_decisions_total", kCounter, "reason",                            \
    "what was decided on calls")                                                                  \
  X(kForwardLatency, "sluice_forward_latency_seconds", kHistogram, "worker",                      \
    "from the burst that took a packet from the NIC to the one that gave it to a NIC: forwarded " \
    "DATA alone")                                                                                 \
  X(kForwardLongest, "sluice_forward_longest_seconds", kGauge, "worker",                          \
    "the longest of those since the start")                                                       \
  X(kTenantLatency, "sluice_tenant_forward_latency_seconds", kHistogram, "tenant",                \
    "the same by the sender's tenant, for observability.latency_tenants of them")                 \
  X(kTenantLongest, "sluice_tenant_forward_longest_seconds", kGauge, "tenant",                    \
    "the longest of those since the start")                                                       \
  X(kTenantsWithout, "sluice_tenants_without_latency", kGauge, "",                                \
    "tenants that came when all of observability.latency_tenants were taken")                     \
  X(kTenantInfo, "sluice_tenant_info", kGauge, "tenant, name",                                    \
    "always 1; the names of the tenants above")                                                   \
  X(kHandshakes, "sluice_handshakes_total", kCounter, "outcome", "what became of HELLOs")         \
  X(kUnderLoad, "sluice_handshakes_under_load", kGauge, "",                                       \
    "1 while every source must first return a cookie")                                            \
  X(kPreparedReady, "sluice_prepared_keys", kGauge, "",                                           \
    "identities that are ready for quick signature checks")                                       \
  X(kPreparedRoom, "sluice_prepared_keys_room", kGauge, "", "how many there may be")              \
  X(kPreparedMade, "sluice_prepared_keys_made_total", kCounter, "", "identities made ready")      \
  X(kPreparedEvicted, "sluice_prepared_keys_evicted_total", kCounter, "",                         \
    "identities that gave up their place: raise limits.prepared_keys_mb if this runs")            \
  X(kX25519, "sluice_x25519_operations_total", kCounter, "",                                      \
    "scalar multiplications, each in "                                                            \
    "batch or alone")                                                                             \
  X(kMessages, "sluice_control_messages_total", kCounter, "kind", "CONTROL messages to agents")   \
  X(kSessions, "sluice_sessions", kGauge, "state",                                                \
    "session slots: confirmed, unconfirmed, free (those that rest among them)")                   \
  X(kAgents, "sluice_agents", kGauge, "state", "agents: active, revoked")                         \
  X(kTenants, "sluice_tenants", kGauge, "", "tenants with a name")                                \
  X(kEdges, "sluice_edges", kGauge, "", "edges in force, one for each direction of a pair")       \
  X(kStoreCommits, "sluice_store_commits_total", kCounter, "", "transactions of the store")       \
  X(kRevocations, "sluice_revocations_total", kCounter, "state",                                  \
    "revocations answered: cut, not_durable, not_proven")                                         \
  X(kLastCut, "sluice_revocation_last_cut_seconds", kGauge, "",                                   \
    "of the last one, until every worker had passed a quiescent point")                           \
  X(kLongestCut, "sluice_revocation_longest_cut_seconds", kGauge, "",                             \
    "the longest of those since the start")                                                       \
  X(kAuditRecords, "sluice_audit_records", kGauge, "", "records in the audit log")                \
  X(kAuditUnpublished, "sluice_audit_unpublished_records", kGauge, "",                            \
    "of those, not yet under a signed checkpoint")                                                \
  X(kAuditLost, "sluice_audit_lost_records_total", kCounter, "", "records that found no room")    \
  X(kAuditAvailable, "sluice_audit_available", kGauge, "", "1: the audit log can be written")     \
  X(kAuditFree, "sluice_audit_free_bytes", kGauge, "", "free on the audit log's disk")            \
  X(kAuditDays, "sluice_audit_days_left", kGauge, "",                                             \
    "until that disk is full, at the rate since the start; absent where nothing was written")     \
  X(kVaultUnlocked, "sluice_vault_unlocked", kGauge, "",                                          \
    "1: credentials can be used; 0: the vault is locked, or there is none")                       \
  X(kCredentials, "sluice_credentials", kGauge, "", "credentials in the vault")                   \
  X(kCredentialsAging, "sluice_credentials_aging", kGauge, "",                                    \
    "of those, how many reach their maximum age soon, or have: set them anew")                    \
  X(kCredentialsDamaged, "sluice_credentials_damaged", kGauge, "",                                \
    "records and bindings that were changed in the store, and are not used")                      \
  X(kCredentialPlaces, "sluice_credential_places", kGauge, "state",                               \
    "agents and protocols whose calls need one: usable, outside_window, unavailable")             \
  X(kCredentialRoom, "sluice_credential_slots", kGauge, "state",                                  \
    "room for them (limits.credentials): total, and resting until no worker reads it")            \
  X(kPauses, "sluice_control_pauses_total", kCounter, "",                                         \
    "times the control thread did not run for 100 ms or more")                                    \
  X(kLongestPause, "sluice_control_longest_pause_seconds", kGauge, "",                            \
    "the longest time between two of its rounds")                                                 \
  X(kMaxStaleness, "sluice_control_max_staleness_seconds", kGauge, "",                            \
    "from such a pause on, workers refuse (control.max_staleness_s)")                             \
  X(kPortUp, "sluice_port_up", kGauge, "port", "1: the port's link is up")                        \
  X(kPortSpeed, "sluice_port_link_bits_per_second", kGauge, "port",                               \
    "its speed; 0: the device does not know")                                                     \
  X(kPortMissed, "sluice_port_rx_missed_packets_total", kCounter, "port",                         \
    "dropped by the device, its receive ring was full: more workers or rx_descriptors")           \
  X(kPortNoBuffer, "sluice_port_rx_no_buffer_total", kCounter, "port",                            \
    "times the device found no packet buffer: raise limits.packet_buffers")                       \
  X(kPortTxErrors, "sluice_port_tx_errors_total", kCounter, "port",                               \
    "packets that the device failed to send")                                                     \
  X(kScrape, "sluice_last_scrape_seconds", kGauge, "",                                            \
    "how long the last scrape kept the control thread")

enum class Metric : uint8_t {
#define X(id, name, kind, labels, text) id,
  SLUICE_METRICS(X)
#undef X
      kCount
};

struct MetricInfo {
  const char* name;
  MetricKind kind;
  const char* text;
};
inline constexpr MetricInfo kMetricTable[] = {
#define X(id, name, kind, labels, text) {name, MetricKind::kind, text},
    SLUICE_METRICS(X)
#undef X
};

}  // namespace sluice::control
