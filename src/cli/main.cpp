// sluicectl: the operator's command line over the relay's admin socket.
#include <cstdio>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/duration.h"
#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/self_description.h"
#include "cli/audit.h"
#include "cli/client.h"
#include "cli/credential.h"
#include "cli/doctor.h"
#include "cli/observe.h"
#include "cli/store.h"
#include "cli/top.h"
#include "cli/tune.h"
#include "cli/vault.h"
#include "cli/views.h"
#include "crypto/secret.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr size_t kLargestPolicy = 1u << 20;

struct Options {
  Client client;
  TopOptions top;
  RestoreOptions restore;
  AuditOptions audit;
  bool all = false;
  std::string agent;
  std::string reason;
  std::string match;  // revoke: a pattern over names
  std::string tenant;
  std::vector<std::string> pair;  // revoke: two agents
  std::string did, name, life = "1h", host, token, request, file;
  bool dry_run = false;
  std::string call;  // that waits for an approval
  std::string overlap = "30d";
  std::string admitted_for;  // empty: without end
  uint32_t number = 0, uses = 1;
  uint64_t after = 0, limit = 100;
};

int add_tenant(const Options& o) {
  json request = {{"name", o.name}};
  if (o.number != 0) request["id"] = o.number;
  return o.client.change("/v1/tenants", request, [](const json& b) {
    return fmt::format("{} is tenant {}", text(b["name"]), text(b["id"]));
  });
}

int add_agent(const Options& o) {
  json request = {{"did", o.did}, {"tenant", o.tenant}, {"name", o.name}};
  if (!o.admitted_for.empty()) {
    const auto seconds = parse_duration_s(o.admitted_for);
    if (!seconds || *seconds == 0) {
      return o.client.report(
          {ErrorCode::kUsage,
           fmt::format("--for {} is no time; give a number and s, m, h or d, such as 30d",
                       o.admitted_for)});
    }
    request["for_s"] = *seconds;
  }
  return o.client.change("/v1/agents", request, [&o](const json& b) {
    const std::string limit = o.admitted_for.empty() ? "" : " for " + o.admitted_for;
    return fmt::format("{} may connect as {}{}", text(b["name"]), text(b["address"]), limit);
  });
}

int create_token(const Options& o) {
  const auto seconds = parse_duration_s(o.life);
  if (!seconds || *seconds == 0) {
    return o.client.report(
        {ErrorCode::kUsage,
         fmt::format("--ttl {} is no time; give a number and s, m, h or d, such as 1h", o.life)});
  }
  json request = {{"tenant", o.tenant}, {"ttl_s", *seconds}, {"uses", o.uses}};
  if (!o.host.empty()) request["host"] = o.host;
  return o.client.change("/v1/tokens", request, [](const json& b) {
    // The whole join string and nothing else: it goes into a file or a pipe.
    return text(b["join"]);
  });
}

int end_token(const Options& o) {
  return o.client.change("/v1/tokens/end", {{"id", o.token}}, [](const json& b) {
    return fmt::format("{} lets nobody in any more", text(b["id"]));
  });
}

// The difference first, then, against exactly that, the change.
int apply_policy(const Options& o) {
  const auto yaml = read_file(o.file == "-" ? "/dev/stdin" : o.file, kLargestPolicy);
  if (!yaml) return o.client.report(yaml.error());
  const auto preview =
      o.client.call("POST", "/v1/policy", json{{"yaml", *yaml}, {"dry_run", true}}.dump());
  if (!preview) return o.client.report(preview.error());
  if (o.dry_run) {
    if (o.client.as_json) {
      fmt::print("{}\n", preview->dump());
    } else {
      print_policy_change(*preview);
    }
    return 0;
  }
  const auto body = o.client.call("POST", "/v1/policy",
                                  json{{"yaml", *yaml}, {"after", (*preview)["number"]}}.dump());
  if (!body) return o.client.report(body.error());
  if (o.client.as_json) {
    fmt::print("{}\n", body->dump());
  } else {
    print_policy_change(*body);
  }
  return 0;
}

std::string relay_keys_text(const json& b) {
  std::string out = fmt::format("agents greet {}", text(b["key"]));
  if (b["id"] != b["key"]) out += fmt::format("\nthe relay's name is {}", text(b["id"]));
  if (!b["previous"].is_null()) {
    out += fmt::format("\n{} is answered for another {}", text(b["previous"]["key"]),
                       remaining(b["previous"]["until_ms"]));
  }
  return out;
}

int replace_relay_key(const Options& o) {
  const auto seconds = parse_duration_s(o.overlap);
  if (!seconds) {
    return o.client.report(
        {ErrorCode::kUsage,
         fmt::format("--overlap {} is no time; give a number and s, m, h or d, such as 30d",
                     o.overlap)});
  }
  return o.client.change("/v1/relay/keys", {{"overlap_s", *seconds}}, relay_keys_text);
}

int consent(const Options& o) {
  return o.client.change("/v1/requests/consent", {{"request", o.request}, {"tenant", o.tenant}},
                         [](const json& b) {
                           return fmt::format("tenant {} lets request {} reach its receiver",
                                              text(b["tenant"]), text(b["request"]).substr(0, 12));
                         });
}

int revoke(const Options& o) {
  json request = json::object();
  if (!o.agent.empty()) request["agent"] = o.agent;
  if (!o.match.empty()) request["match"] = o.match;
  if (!o.tenant.empty()) request["tenant"] = o.tenant;
  if (!o.pair.empty()) request["pair"] = o.pair;
  if (!o.reason.empty()) request["reason"] = o.reason;
  const auto body = o.client.call("POST", "/v1/revoke", request.dump());
  if (!body) return o.client.report(body.error());
  if (o.client.as_json) {
    fmt::print("{}\n", body->dump());
  } else {
    print_revocation(*body);
  }
  if (!body->contains("error")) return 0;
  fmt::print(stderr, "sluicectl: {}\n", text((*body)["error"]["message"]));
  return info(text((*body)["state"]) == "not_proven" ? ErrorCode::kNotProven
                                                     : ErrorCode::kNotDurable)
      .exit_code;
}

std::string exit_codes() {
  std::string out = "Exit codes: 0 done";
  for (const auto& e : kErrorTable) out += fmt::format(", {} {}", e.exit_code, e.name);
  return out + ".";
}

struct AuditCommands {
  CLI::App *all, *status, *tail, *to_json, *verify, *prove, *check, *begin_anew;
};

AuditCommands add_audit(CLI::App& app, AuditOptions& o) {
  AuditCommands c{};
  c.all = app.add_subcommand("audit",
                             "Who did what, when and why: a log that cannot be changed unseen");
  c.all->require_subcommand(1);
  const auto folder = [&](CLI::App* of) {
    of->add_option("--folder", o.folder, "A log's folder, or a copy, in place of the relay's");
  };
  const auto verifier = [&](CLI::App* of) {
    of->add_option(
        "--verifier", o.verifier,
        "Who signs the log: its audit.vkey as you keep it elsewhere, a file or the text");
  };
  c.status = c.all->add_subcommand("status", "Its size, its signer's public key, the disk");
  c.tail = c.all->add_subcommand("tail", "The last records");
  c.tail->add_option("--count", o.count, "So many")->capture_default_str();
  c.tail->add_flag("--follow", o.follow, "And those that come, until interrupted");
  c.tail->add_option("--tenant", o.tenant, "Only what concerns its agents (name or number)");
  c.to_json = c.all->add_subcommand("export", "All records, one JSON object a line");
  c.to_json->add_flag("--jsonl", o.jsonl, "The only form there is, and the default");
  c.to_json->add_option("--from", o.from, "From this record on");
  c.to_json->add_option("--tenant", o.tenant, "Only what concerns its agents (name or number)");
  c.to_json->add_flag("--with-proofs", o.with_proofs,
                      "Each with its bytes and the proof that it is in the log, for check-proof");
  folder(c.to_json);
  verifier(c.to_json);
  c.verify = c.all->add_subcommand("verify", "Whether every record is what was signed");
  c.verify->add_option("--since", o.earlier,
                       "A checkpoint that you kept: the log must continue it");
  folder(c.verify);
  verifier(c.verify);
  c.verify->footer(
      "Keep audit.vkey and, now and then, the log's checkpoint on another machine: who can write\n"
      "here could otherwise begin another log.\n"
      "Example:  sluicectl audit verify --verifier relay.vkey --since checkpoint.monday");
  c.prove =
      c.all->add_subcommand("prove", "That one record is in the log, for who has nothing else");
  c.prove->add_option("INDEX", o.index, "Its number")->required();
  c.prove->add_option("--out", o.out, "Write FILE (a C2SP tlog-proof) and FILE.record")
      ->type_name("FILE");
  folder(c.prove);
  verifier(c.prove);
  c.check = c.all->add_subcommand("check-proof", "Whether such a proof holds; needs no relay");
  c.check
      ->add_option("FILE", o.proof,
                   "As prove --out wrote it, FILE.record beside it; or what export --with-proofs "
                   "printed")
      ->required();
  c.check->add_option("--verifier", o.verifier, "Who signs the log: a file or the text")
      ->required();
  c.begin_anew = c.all->add_subcommand(
      "begin-anew", "Give up a log that is lost or damaged, while the relay is stopped");
  c.begin_anew->add_option("--state-dir", o.state_dir, "relay.state_dir of the configuration")
      ->capture_default_str();
  c.begin_anew->add_option("--folder", o.folder, "audit.folder (default: audit in the state dir)");
  c.begin_anew->add_flag("--lost", o.lost, "There is no log any more");
  return c;
}

int run_audit(const Client& client, const AuditOptions& o, const AuditCommands& c) {
  if (c.status->parsed()) return audit_status(client);
  if (c.tail->parsed()) return audit_tail(client, o);
  if (c.to_json->parsed()) return audit_export(client, o);
  if (c.verify->parsed()) return audit_verify(client, o);
  if (c.prove->parsed()) return audit_prove(client, o);
  if (c.check->parsed()) return audit_check_proof(client, o);
  return audit_begin_anew(client, o);
}

int run(int argc, char** argv) {
  Options o;
  CLI::App app{
      "sluicectl: look at and steer a running relay.\n"
      "  sluicectl status                  workers, ports, sessions\n"
      "  sluicectl agents                  who is enrolled, who is connected from where\n"
      "  sluicectl counters                what was forwarded, and every drop with its cure\n"
      "  sluicectl top                     the same, live\n"
      "  sluicectl events --follow         what happens now\n"
      "  sluicectl trace ID                what became of a call\n"
      "  sluicectl token create …          a join string that lets agents enrol themselves\n"
      "  sluicectl agent add DID …         enrol one agent by its DID\n"
      "  sluicectl revoke NAME --reason …  cut an agent off, with the proof and its times\n"
      "  sluicectl credential set NAME …   a secret that calls get and callers never see\n"
      "  sluicectl doctor                  what is wrong with this host, and what helps\n"
      "  sluicectl tune                    a map of cores and queues for this machine"};
  app.name("sluicectl");
  app.footer(exit_codes());
  auto* socket = app.add_option("--socket", o.client.socket, "The relay's admin socket");
  socket->capture_default_str();
  auto* url = app.add_option("--url", o.client.url,
                             "A relay on another host, over TLS: https://HOST[:7443]");
  auto* certificate =
      app.add_option("--cert", o.client.files.certificate, "This operator's certificate")
          ->type_name("FILE");
  auto* key = app.add_option("--key", o.client.files.key, "Its private key")->type_name("FILE");
  auto* ca = app.add_option("--cacert", o.client.files.ca, "Who signed the relay's certificate")
                 ->type_name("FILE");
  url->excludes(socket)->needs(certificate)->needs(key)->needs(ca);
  for (auto* of_url : {certificate, key, ca}) of_url->needs(url);
  app.add_flag("--json", o.client.as_json, "For programs: one JSON document on standard output");
  app.set_version_flag("--version", SLUICE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  auto* status = app.add_subcommand("status", "Workers, ports, sessions, crypto path");
  auto* agents = app.add_subcommand("agents", "Every agent with address, state and endpoint");
  auto* edges = app.add_subcommand("edges", "Who may send to whom, with traffic");
  auto* counters = app.add_subcommand("counters", "Traffic, drops by reason, handshakes");
  counters->add_flag("--all", o.all, "Also reasons that never occurred");
  auto* top =
      app.add_subcommand("top", "What the relay does right now: workers, drops, busiest agents");
  top->add_option("--interval", o.top.interval_s, "Seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  top->add_option("--count", o.top.count, "So many looks (default: until interrupted)");
  top->add_option("--rows", o.top.rows, "Drops and agents at most")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  Observe observe(app);
  auto* revoke_command = app.add_subcommand(
      "revoke", "Cut an agent off for good; answered only when it is proven that no core forwards");
  auto* what = revoke_command->add_option_group("what", "One of");
  what->add_option("AGENT", o.agent, "Name, DID or address");
  what->add_option("--match", o.match, "Every agent whose name fits, such as 'temp-*'");
  what->add_option("--tenant", o.tenant, "Every agent of a tenant (name or number)");
  what->add_option("--pair", o.pair, "End what two agents agreed on")->expected(2);
  what->require_option(1);
  revoke_command->add_option("--reason", o.reason, "Goes into the signed notice to its peers");
  auto* tenant = app.add_subcommand("tenant", "Tenants and their names");
  tenant->require_subcommand(1);
  auto* tenant_add = tenant->add_subcommand("add", "Name a tenant");
  tenant_add->add_option("NAME", o.name, "a-z, 0-9, '.', '_', '-'; the first a letter")->required();
  tenant_add->add_option("--id", o.number, "Its number, 1 to 65535 (default: the first free one)")
      ->check(CLI::Range(1, 0xffff));
  auto* tenant_list = tenant->add_subcommand("list", "All of them, with their agents");
  auto* agent = app.add_subcommand("agent", "Enrol agents");
  agent->require_subcommand(1);
  auto* agent_add = agent->add_subcommand("add", "Enrol an agent by its DID");
  agent_add->add_option("DID", o.did, "As sluice-agent info prints it")->required();
  agent_add->add_option("--tenant", o.tenant, "Name or number")->required();
  agent_add->add_option("--name", o.name, "Unique within the tenant")->required();
  agent_add->add_option("--for", o.admitted_for,
                        "How long it is admitted: 12h, 30d (default: without end). Given again, it "
                        "counts from then on");
  agent_add->footer("Example:  sluicectl agent add did:key:z6Mk… --tenant acme --name bob");
  auto* token = app.add_subcommand("token", "Enrolment tokens");
  token->require_subcommand(1);
  auto* token_create = token->add_subcommand("create", "Print a join string that enrols agents");
  token_create->add_option("--tenant", o.tenant, "Name or number")->required();
  token_create->add_option("--ttl", o.life, "How long it works: 90s, 15m, 1h, 7d")
      ->capture_default_str();
  token_create->add_option("--uses", o.uses, "How many agents it lets in")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  token_create->add_option("--host", o.host, "What agents connect to (default: relay.public_host)");
  token_create->footer(
      "The join string is a secret: hand it over as a file, not on a command line.\n"
      "Example:  sluicectl token create --tenant acme --ttl 1h --uses 10 > join.txt");
  auto* token_list = token->add_subcommand("list", "Those in force");
  auto* token_end = token->add_subcommand("end", "Take one back");
  token_end->add_option("ID", o.token, "As token list shows it")->required();
  auto* requests =
      app.add_subcommand("requests", "Requests for trust that wait for their receiver");
  auto* consent_command =
      app.add_subcommand("consent", "Let a request from one tenant to another reach its receiver");
  consent_command->add_option("REQUEST", o.request, "As requests shows it")->required();
  consent_command->add_option("--tenant", o.tenant, "For which of the two (name or number)")
      ->required();
  consent_command->footer("Both tenants have to consent, each by an operator of its own.");
  auto* approvals = app.add_subcommand("approvals", "Calls that wait until somebody approves them");
  auto* approve = app.add_subcommand("approve", "Let such a call go on");
  auto* deny = app.add_subcommand("deny", "Refuse it; its caller is told");
  for (auto* of : {approve, deny}) {
    of->add_option("ID", o.call, "As approvals shows it")->required();
  }
  approve->footer("Example:  sluicectl approvals; sluicectl approve 3f2a90c1");
  auto* policy = app.add_subcommand("policy", "Who may ask whom, and within which bounds");
  policy->require_subcommand(1);
  auto* policy_show = policy->add_subcommand("show", "The policy in force");
  auto* policy_apply = policy->add_subcommand(
      "apply", "Put a policy in force, after showing what it changes; docs/policy.md");
  policy_apply->add_option("FILE", o.file, "YAML; - is standard input")->required();
  policy_apply->add_flag("--dry-run", o.dry_run, "Only show what it would change");
  auto* changes = app.add_subcommand("changes", "What changed, and who did it");
  changes->add_option("--after", o.after, "From this number on (default: from the first)");
  changes->add_option("--limit", o.limit, "At most so many")->check(CLI::Range(1, 1000));
  auto* relay = app.add_subcommand("relay", "The relay's own key, which agents greet");
  relay->require_subcommand(1);
  auto* relay_keys = relay->add_subcommand("keys", "The key in use, and the one before it");
  auto* rotate_key = relay->add_subcommand(
      "rotate-key", "Make a new key, tell every agent, and answer the old one for a time");
  rotate_key
      ->add_option("--overlap", o.overlap,
                   "How long the old key is still answered: 0s, 12h, 30d, at most 365d")
      ->capture_default_str();
  rotate_key->footer(
      "Agents that connect within that time take the new key by themselves. One that stays away "
      "longer\nneeds a new join string: sluice-agent rejoin. Copy tunnel-*.key from the relay's "
      "state directory to\nwhere you keep relay.key_file.");
  auto* retire_key = relay->add_subcommand("retire-key", "Stop answering the old key now");
  const AuditCommands audit = add_audit(app, o.audit);
  const VaultCommands vault(app);
  const CredentialCommands credential(app);
  const DoctorCommand doctor(app);
  const TuneCommand tune(app);
  auto* backup = app.add_subcommand(
      "backup", "Copy what the relay must not forget into a new file; the relay goes on meanwhile");
  backup->add_option("FILE", o.file, "On the relay's host; must not exist yet")->required();
  backup->footer(
      "The relay's own keys (relay.key_file, tunnel-*.key beside the store) are not in it: keep\n"
      "copies of these as well.");
  auto* restore = app.add_subcommand(
      "restore", "Put a backup in the place of the store, while the relay is stopped");
  restore->add_option("FILE", o.restore.file, "As backup wrote it")->required();
  restore->add_option("--state-dir", o.restore.state_dir, "relay.state_dir of the configuration")
      ->capture_default_str();
  restore->add_option("--audit", o.restore.audit, "audit.folder (default: audit in the state dir)");
  restore->add_flag("--forget-changes", o.restore.forget,
                    "Also where the store that stands there knows of later changes");
  restore->footer(
      "The store that stood there is kept under another name. Whom it revoked after the backup was "
      "made\nis trusted again once --forget-changes was said: revoke them anew before agents come "
      "back.");
  const SelfDescription description(
      app,
      {.section = 8,
       .summary = "look at and steer a running Sluice relay",
       .files = {{"/run/sluice/admin.sock", "The relay's admin socket"},
                 {"/var/lib/sluice", "The relay's durable state: restore and audit begin-anew"}},
       .see_also = {"sluiced(8)", "sluiced.yaml(5)", "sluice-agent(1)"}});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : info(ErrorCode::kUsage).exit_code;
  }
  if (const auto code = description.run()) return *code;
  if (status->parsed()) return o.client.show("/v1/status", print_status);
  if (agents->parsed()) return o.client.show("/v1/agents", print_agents);
  if (edges->parsed()) return o.client.show("/v1/edges", print_edges);
  if (counters->parsed()) {
    return o.all ? o.client.show("/v1/counters", [](const json& c) { print_counters(c, true); })
                 : o.client.show("/v1/counters", [](const json& c) { print_counters(c, false); });
  }
  if (tenant_add->parsed()) return add_tenant(o);
  if (tenant_list->parsed()) return o.client.show("/v1/tenants", print_tenants);
  if (agent_add->parsed()) return add_agent(o);
  if (token_create->parsed()) return create_token(o);
  if (token_list->parsed()) return o.client.show("/v1/tokens", print_tokens);
  if (token_end->parsed()) return end_token(o);
  if (requests->parsed()) return o.client.show("/v1/requests", print_requests);
  if (top->parsed()) return run_top(o.client, o.top);
  if (const auto code = observe.run(o.client)) return *code;
  if (const auto code = vault.run(o.client)) return *code;
  if (const auto code = credential.run(o.client)) return *code;
  if (const auto code = doctor.run(o.client)) return *code;
  if (const auto code = tune.run(o.client)) return *code;
  if (consent_command->parsed()) return consent(o);
  if (approvals->parsed()) return o.client.show("/v1/approvals", print_approvals);
  if (approve->parsed() || deny->parsed()) {
    return o.client.change(approve->parsed() ? "/v1/approvals/approve" : "/v1/approvals/deny",
                           {{"id", o.call}}, [](const json& b) {
                             return fmt::format("call {} is {}", text(b["id"]), text(b["decided"]));
                           });
  }
  if (policy_show->parsed()) return o.client.show("/v1/policy", print_policy);
  if (policy_apply->parsed()) return apply_policy(o);
  if (relay_keys->parsed()) {
    return o.client.show("/v1/relay/keys",
                         [](const json& b) { fmt::print("{}\n", relay_keys_text(b)); });
  }
  if (rotate_key->parsed()) return replace_relay_key(o);
  if (retire_key->parsed()) {
    return o.client.change("/v1/relay/keys/retire", json::object(), relay_keys_text);
  }
  if (audit.all->parsed()) return run_audit(o.client, o.audit, audit);
  if (backup->parsed()) return run_backup(o.client, o.file);
  if (restore->parsed()) return run_restore(o.client, o.restore);
  if (changes->parsed()) {
    return o.client.show(fmt::format("/v1/changes?after={}&limit={}", o.after, o.limit),
                         print_changes);
  }
  return revoke(o);
}

}  // namespace
}  // namespace sluice::cli

int main(int argc, char** argv) {
  sluice::harden_process();  // it may hold an operator's key
  if (!sluice::crypto::init()) return sluice::info(sluice::ErrorCode::kInternal).exit_code;
  return sluice::cli::run(argc, argv);
}
