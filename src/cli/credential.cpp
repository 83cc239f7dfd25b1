#include "cli/credential.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/duration.h"
#include "cli/table.h"
#include "cli/views.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kLongestSet{60};

std::string joined(const json& list) {
  std::string out;
  for (const auto& item : list) out += (out.empty() ? "" : ", ") + text(item);
  return out;
}

std::string days(const json& seconds) {
  const auto s = seconds.get<uint64_t>();
  return s < 2 * 86'400 ? with_unit_us(double(s) * 1e6) : fmt::format("{} d", s / 86'400);
}

std::string bound_to(const json& c) {
  std::string out;
  for (const auto& b : c["bindings"]) {
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ",
                       b["target"].is_null() ? text(b["address"]) : text(b["target"]),
                       text(b["protocol"]));
  }
  return out.empty() ? "-" : out;
}

std::string state_text(const json& c) {
  if (!c["why"].is_null()) return text(c["why"]);
  std::string out = c["state"] == "usable" ? "set" : "set, outside its window";
  if (!c["opens_at_ms"].is_null()) out += ", opens in " + remaining(c["opens_at_ms"]);
  if (c["aging"].get<bool>()) out += ", AGING: set it anew";
  return out;
}

void print_credentials(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& c : body["credentials"]) {
    rows.push_back(
        {text(c["name"]), c["tenant_name"] == "" ? text(c["tenant"]) : text(c["tenant_name"]),
         joined(c["parts"]), text(c["version"]), days(c["age_s"]),
         c["max_age_s"].is_null() ? "-" : days(c["max_age_s"]), bound_to(c), state_text(c)});
  }
  fmt::print("{}", format_table({{"credential"},
                                 {"tenant"},
                                 {"consists of"},
                                 {"version", true},
                                 {"age", true},
                                 {"at most", true},
                                 {"calls"},
                                 {"state"}},
                                rows));
}

}  // namespace

CredentialCommands::CredentialCommands(CLI::App& app) {
  all_ = app.add_subcommand(
      "credential", "Secrets that calls get on their way to the target, and callers never see");
  all_->require_subcommand(1);
  set_ = all_->add_subcommand("set", "Put a credential, or a new version of it, into the vault");
  list_ =
      all_->add_subcommand("list", "Which there are, their version and age; never what they are");
  delete_ = all_->add_subcommand("delete", "Take one out, with its bindings");
  bind_ = all_->add_subcommand("bind", "Give it to all calls to an agent by a protocol");
  unbind_ = all_->add_subcommand("unbind", "Take it from these calls");
  for (auto* of : {set_, delete_, bind_}) {
    of->add_option("NAME", name_, "Its own within the tenant: a-z, 0-9, '.', '_', '-'")->required();
  }
  for (auto* of : {set_, delete_, bind_, unbind_}) {
    of->add_option("--tenant", tenant_, "Name or number")->required();
  }
  for (auto* of : {set_, bind_, unbind_}) {
    auto* target = of->add_option("--target", target_, "The agent that the calls are to");
    auto* protocol = of->add_option("--protocol", protocol_, "raw, a2a, mcp, openai, anp or acp");
    target->needs(protocol);
    protocol->needs(target);
    if (of != set_) target->required();
  }
  add_set(*set_);
}

void CredentialCommands::add_set(CLI::App& set) {
  CredentialOptions& o = content_;
  const auto file = [&set](const char* name, std::string& to, const char* what) {
    set.add_option(name, to, what)->type_name("FILE");
  };
  set.add_option("--header", o.headers,
                 "NAME: VALUE that is set on requests, with {} where the secret goes")
      ->allow_extra_args(false);
  set.add_option("--query", o.query, "The secret's name in the query of requests");
  file("--secret-file", o.secret_file, "The secret (default: standard input, or asked for)");
  file("--endpoint-file", o.endpoint_file, "The URL that requests go to; their path is appended");
  file("--webhook-file", o.webhook_file, "The URL that requests go to, as it is");
  file("--client-cert", o.client_cert, "PEM: the certificate shown to the endpoint, and its chain");
  file("--client-key", o.client_key, "PEM: its private key");
  file("--authority", o.authority, "PEM: whom the endpoint's certificate is issued by");
  auto* oauth2 =
      set.add_flag("--oauth2", o.oauth2, "Calls get an access token; the secret is the client's");
  file("--token-url-file", o.token_url_file, "The URL that tokens come from");
  set.add_option("--client-id", o.client_id, "Who asks for them")->needs(oauth2);
  set.add_option("--scope", o.scope, "What they are asked for")->needs(oauth2);
  set.add_option("--audience", o.audience, "And whom they are for")->needs(oauth2);
  set.add_option("--auth", o.auth, "How the client shows who it is")
      ->check(CLI::IsMember({"basic", "post"}))
      ->capture_default_str();
  file("--token-authority", o.token_authority, "PEM: as --authority, of the token URL");
  set.add_option("--hours", hours_, "When it may be used: 'mon-fri 09:00-17:00 Europe/Vienna'")
      ->allow_extra_args(false);
  set.add_option("--window", windows_, "Or once: '2026-12-01T08:00/2026-12-01T12:00 Europe/Vienna'")
      ->allow_extra_args(false);
  set.add_option("--not-before", not_before_, "'2026-12-01T08:00 Europe/Vienna'; without zone UTC");
  set.add_option("--not-after", not_after_, "Likewise");
  set.add_option("--max-age", max_age_, "How old a version may become: 90d");
  set.add_flag("--no-limits", no_limits_,
               "At any time (default: a new version has the limits of the one before)");
  set.footer(
      "Secrets come from standard input, files or a prompt, never from the command line; - is "
      "standard\ninput wherever FILE is a secret.\n"
      "Example:  sluicectl credential set search --tenant acme --target bob --protocol mcp \\\n"
      "            --header 'Authorization: Bearer {}' --max-age 90d < key.txt");
}

json CredentialCommands::named() const {
  json out = {{"tenant", tenant_}};
  if (!name_.empty()) out["name"] = name_;
  if (!target_.empty()) out["target"] = target_;
  if (!protocol_.empty()) out["protocol"] = protocol_;
  return out;
}

Result<json> CredentialCommands::with_limits(json request) const {
  if (!hours_.empty()) request["hours"] = hours_;
  if (!windows_.empty()) request["windows"] = windows_;
  if (!not_before_.empty()) request["not_before"] = not_before_;
  if (!not_after_.empty()) request["not_after"] = not_after_;
  if (no_limits_) request["without_limits"] = true;
  if (max_age_.empty()) return request;
  const auto seconds = parse_duration_s(max_age_);
  if (!seconds || *seconds == 0) {
    return fail(ErrorCode::kUsage,
                fmt::format("--max-age {} is no time; give a number and s, m, h or d, such as 90d",
                            max_age_));
  }
  request["max_age_s"] = *seconds;
  return request;
}

int CredentialCommands::set(const Client& client) const {
  const auto request = with_limits(named());
  if (!request) return client.report(request.error());
  const auto secret = compose_credential(content_);
  if (!secret) return client.report(secret.error());
  return client.change_with(
      "/v1/credentials", *request, *secret,
      [](const json& b) {
        return fmt::format("{} is set, version {}; calls that get it: {}", text(b["name"]),
                           text(b["version"]), bound_to(b));
      },
      kLongestSet);
}

std::optional<int> CredentialCommands::run(const Client& client) const {
  if (!all_->parsed()) return std::nullopt;
  if (set_->parsed()) return set(client);
  if (list_->parsed()) return client.show("/v1/credentials", print_credentials);
  if (delete_->parsed()) {
    return client.change("/v1/credentials/delete", named(), [](const json& b) {
      return fmt::format("{} is deleted", text(b["name"]));
    });
  }
  if (bind_->parsed()) {
    return client.change("/v1/credentials/bind", named(), [](const json& b) {
      return fmt::format("calls that get {}: {}", text(b["name"]), bound_to(b));
    });
  }
  return client.change("/v1/credentials/unbind", named(), [](const json& b) {
    return fmt::format("{} calls to {} have no credential", text(b["protocol"]), text(b["target"]));
  });
}

}  // namespace sluice::cli
