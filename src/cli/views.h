// What sluicectl shows of the relay's answers to people: tables and sentences on standard output.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace sluice::cli {

// A text as it is, anything else as JSON.
std::string text(const nlohmann::json& j);
std::string count(const nlohmann::json& j);   // 1,234,567
std::string micros(const nlohmann::json& j);  // of microseconds, with the unit that fits
std::string bytes(const nlohmann::json& j);
// "59 min", of a moment to come in Unix milliseconds; "over".
std::string remaining(const nlohmann::json& at_ms);

void print_status(const nlohmann::json& s);
void print_agents(const nlohmann::json& body);
void print_edges(const nlohmann::json& body);
void print_counters(const nlohmann::json& c, bool all);
void print_revocation(const nlohmann::json& r);
void print_tenants(const nlohmann::json& body);
void print_tokens(const nlohmann::json& body);
void print_requests(const nlohmann::json& body);
void print_changes(const nlohmann::json& body);
void print_approvals(const nlohmann::json& body);
void print_policy(const nlohmann::json& body);
void print_policy_change(const nlohmann::json& body);

}  // namespace sluice::cli
