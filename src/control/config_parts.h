// The parts of parse_config, one per concern; each reads its sections of the root and reports.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "control/config.h"
#include "control/config_section.h"

namespace sluice::control {

void read_eal(const Section& root, fabric::Topology& out);
void read_ports(const Section& root, fabric::Topology& out);
// After read_ports: queue references name ports.
void read_cores(const Section& root, fabric::Topology& out);
// Sections log, worker, control, relay, handshake, limits and audit.
void read_services(const Section& root, Config& out);
void read_admin(const Section& root, AdminConfig& out);
// Sections observability and metrics.
void read_observability(const Section& root, ObservabilityConfig& out);
// The section vault.
void read_vault(const Section& root, vault::KeySourceOptions& out);
// ADDRESS:PORT, an IPv6 address in brackets.
bool split_listen(std::string_view text, std::string& address, uint16_t& port);
std::string join_listen(std::string_view address, uint16_t port);
// A rate of `parent`, where it has one.
void read_rate(const Section& parent, std::string_view key, RateConfig& out);
// The section calls.
void read_calls(const Section& root, CallsConfig& out);
// Windows by name, as maps under `key`.
using Windows = std::map<std::string, TimeWindow>;
Windows read_windows(const Section& parent, std::string_view key);
// What holds a pair's or a rule's calls, under `key`; and which windows, a list of names.
void read_call_terms(const Section& parent, std::string_view key, CallTerms& out);
void read_window_list(const Section& s, std::string_view key, const Windows& known, CallTerms& out);
// "30d" as seconds, at least 1; what else is there is reported.
std::optional<uint64_t> read_duration(const Section& s, std::string_view key);
// `limits` bound what may be listed.
void read_trust(const Section& root, const std::optional<ByteArray<32>>& relay_key,
                const LimitsConfig& limits, TrustConfig& out);

}  // namespace sluice::control
