#include <cstdio>
#include <exception>
#include <functional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/cli.h"
#include "agent/cli_daemon.h"
#include "agent/cli_upstream.h"
#include "agent/daemon.h"
#include "agent/state_folder.h"
#include "base/log.h"
#include "base/process.h"
#include "base/self_description.h"
#include "crypto/aead.h"

namespace {

using namespace sluice;
using namespace sluice::agent;

struct Options {
  std::string state;
  std::string log = "info";
  UpOptions up;
  InitCommand init;
  std::string rejoin_file;
  bool rejoin_older = false;
  InfoCommand info;
  bool peers_json = false;
  bool rotate_json = false;
  SendCommand send;
  RecvCommand recv;
  PingCommand ping;
  HandshakeCommand handshake;
  bool pending_json = false;
  AnswerCommand approve, reject, untrust;
  VisibilityCommand visibility;
  CallCommand call;
  ServeCommand serve;
  bool serve_exec = false;
  EgressCommand egress;
  bool calls_json = false;
  bool status_json = false, doctor_json = false;
  LogsCommand logs;

  bool json() const {
    return info.json || peers_json || rotate_json || recv.json || ping.json || handshake.json ||
           pending_json || approve.json || reject.json || untrust.json || visibility.json ||
           call.json || serve.json || egress.json || calls_json || status_json || doctor_json;
  }
};

Result<int> run_up(const std::string& state, const std::string& level, const UpOptions& options) {
  if (auto ok = init_logging("sluice-agent", level); !ok) return tl::unexpected(ok.error());
  auto identity = load_identity_file(state);
  if (!identity) return tl::unexpected(identity.error());
  if (auto ok = run_daemon(state, std::move(*identity), options); !ok) {
    return tl::unexpected(ok.error());
  }
  return 0;
}

using Run = std::function<Result<int>(const std::string& state)>;

void describe_setup(CLI::App& app, Options& o, Run& run) {
  auto* init = app.add_subcommand("init", "Make this agent's identity and remember its relay");
  init->add_option("--name", o.init.name, "What peers may call it (default: the host's name)");
  init->add_option("--tenant", o.init.tenant,
                   "The tenant it belongs to, as the operator says (default: 1)")
      ->check(CLI::Range(1, 0xffff));
  init->add_option("--join", o.init.join_file,
                   "File with the join string (default: standard input)")
      ->type_name("FILE");
  init->footer(
      "The join string comes from the relay's operator and may hold a secret, so it is never "
      "an argument.\nExample:  sluice-agent init --name alice < join.txt");
  init->callback([&] { run = [&](const auto& state) { return run_init(state, o.init); }; });

  auto* rejoin = app.add_subcommand(
      "rejoin", "Take a new join string of the same relay: its key or address has changed");
  rejoin->add_option("--join", o.rejoin_file, "File with the join string (default: standard input)")
      ->type_name("FILE");
  rejoin->add_flag("--older-key", o.rejoin_older,
                   "Also a key that the relay has replaced: it came back from an older backup");
  rejoin->footer(
      "Identity, address and trust stay. Only needed by an agent that was away while the relay's "
      "old key was\nstill answered.\nExample:  sluice-agent rejoin < join.txt");
  rejoin->callback([&] {
    run = [&](const auto& state) { return run_rejoin(state, o.rejoin_file, o.rejoin_older); };
  });

  auto* up = app.add_subcommand("up", "Connect to the relay and serve this host's programs");
  up->footer(
      "Runs in the foreground until SIGTERM, SIGINT or sluice-agent down. agent.yaml in the state "
      "folder configures\nits HTTP front and the servers behind it (docs/http.md); "
      "sluice-agent.service is a systemd user unit, sluice-agent@.service one of the host "
      "(docs/install.md).\n"
      "Example:  sluice-agent --log debug up");
  up->add_option(
        "--tun", o.up.tun,
        "Give peers IPv6 addresses on this TUN device, such as sluice0: docs/tun.md. Needs "
        "CAP_NET_ADMIN, or a device made for this user")
      ->type_name("DEVICE");
  up->add_option("--keylog", o.up.key_log,
                 "Write the keys of every session to FILE, so that captures can be read "
                 "(docs/capture.md)")
      ->type_name("FILE");
  up->callback([&] { run = [&](const auto& state) { return run_up(state, o.log, o.up); }; });

  auto* info = app.add_subcommand("info", "Show identity, address, session and the last problem");
  info->add_flag("--json", o.info.json, "Print JSON");
  info->add_flag("--statement", o.info.statement,
                 "Print only what an operator needs to enrol this agent (base64)");
  info->footer("Example:  sluice-agent info --statement > alice.enrol");
  info->callback([&] { run = [&](const auto& state) { return run_info(state, o.info); }; });

  auto* peers = app.add_subcommand("peers", "List the agents that this one may reach");
  peers->add_flag("--json", o.peers_json, "Print JSON");
  peers->footer("Example:  sluice-agent peers --json | jq -r '.peers[].name'");
  peers->callback([&] { run = [&](const auto& state) { return run_peers(state, o.peers_json); }; });
}

void describe_daemon(CLI::App& app, Options& o, Run& run) {
  auto* down = app.add_subcommand("down", "Stop the daemon");
  down->footer("Calls that are open end. Example:  sluice-agent down");
  down->callback([&] { run = [](const auto& state) { return run_down(state); }; });

  auto* status =
      app.add_subcommand("status", "Say whether the agent is connected, and what it does");
  status->add_flag("--json", o.status_json, "Print JSON");
  status->footer(
      "Exit code 0 while there is a session with the relay, 4 otherwise.\n"
      "Example:  sluice-agent status --json | jq .connected");
  status->callback(
      [&] { run = [&](const auto& state) { return run_status(state, o.status_json); }; });

  auto* logs = app.add_subcommand("logs", "Print the daemon's last lines of log");
  logs->add_option("-n,--lines", o.logs.lines, "How many (default: 50; the daemon keeps 1,000)")
      ->check(CLI::Range(1, 1'000));
  logs->add_flag("-f,--follow", o.logs.follow, "Go on with what comes");
  logs->footer("Example:  sluice-agent logs --follow");
  logs->callback([&] { run = [&](const auto& state) { return run_logs(state, o.logs); }; });

  auto* doctor = app.add_subcommand("doctor", "Look for what is wrong on the way to the relay");
  doctor->add_flag("--json", o.doctor_json, "Print JSON");
  doctor->footer(
      "Identity, settings, the relay's name, the session (UDP blocked?), clock, MTU, segmentation "
      "offload, peers,\nand the servers behind serve. Exit code 1 if anything failed.\n"
      "Example:  sluice-agent doctor");
  doctor->callback(
      [&] { run = [&](const auto& state) { return run_doctor(state, o.doctor_json); }; });
}

void describe_identity(CLI::App& app, Options& o, Run& run) {
  auto* rotate =
      app.add_subcommand("rotate-identity", "Go on under a fresh key, which the present one signs");
  rotate->add_flag("--json", o.rotate_json, "Print JSON");
  rotate->footer(
      "Name, address and trust stay, and peers see that both keys signed. Requests that wait end. "
      "The old key\nis worth nothing afterwards, and does not come back. Needs a running "
      "sluice-agent up.");
  rotate->callback(
      [&] { run = [&](const auto& state) { return run_rotate_identity(state, o.rotate_json); }; });
}

void describe_trust(CLI::App& app, Options& o, Run& run) {
  const std::vector<std::string> rights = {"may_send", "may_open", "reply_only"};
  auto* ask = app.add_subcommand("handshake", "Ask a peer for its trust, and say why");
  ask->add_option("PEER", o.handshake.peer, "Its DID, virtual address or name")->required();
  ask->add_option("WHY", o.handshake.why, "One line, signed and shown to the peer")->required();
  ask->add_option("--for", o.handshake.life, "How long: 90s, 15m, 8h, 30d (default: no end)");
  ask->add_option("--ask", o.handshake.right, "What this agent may do there (default: may_send)")
      ->check(CLI::IsMember(rights));
  ask->add_option("--offer", o.handshake.offer, "What the peer may do here (default: may_send)")
      ->check(CLI::IsMember(rights));
  ask->add_option("--scopes", o.handshake.scopes, "Scopes to ask for")->delimiter(',');
  ask->add_option("--protocols", o.handshake.protocols, "Protocols to ask for")->delimiter(',');
  ask->add_option("--capabilities", o.handshake.capabilities, "Capabilities to ask for")
      ->delimiter(',');
  ask->add_flag("--json", o.handshake.json, "Print JSON");
  ask->footer(
      "The answer is the same whether the peer exists or not. Who asks the other way round at the "
      "same time agrees.\nExample:  sluice-agent handshake bob 'weekly report' --for 30d");
  ask->callback(
      [&] { run = [&](const auto& state) { return run_handshake(state, o.handshake); }; });

  auto* pending = app.add_subcommand("pending", "List requests that wait, from others and own");
  pending->add_flag("--json", o.pending_json, "Print JSON");
  pending->footer("Example:  sluice-agent pending --json | jq -r '.incoming[].did'");
  pending->callback(
      [&] { run = [&](const auto& state) { return run_pending(state, o.pending_json); }; });

  auto* approve = app.add_subcommand("approve", "Grant what a request asks for");
  approve->add_option("WHO", o.approve.peer, "Who asked: name, DID, address, or the request")
      ->required();
  approve->add_option("--for", o.approve.life, "For a shorter time than asked");
  approve->add_option("--quota", o.approve.quota,
                      "So many calls in a time, such as 5/1h: the peer's calls here");
  approve->add_flag("--json", o.approve.json, "Print JSON");
  approve->footer("Example:  sluice-agent approve alice --for 7d --quota 100/1d");
  approve->callback(
      [&] { run = [&](const auto& state) { return run_approve(state, o.approve); }; });

  auto* reject = app.add_subcommand("reject", "Refuse a request");
  reject->add_option("WHO", o.reject.peer, "Who asked: name, DID, address, or the request")
      ->required();
  reject->add_option("--reason", o.reject.reason, "One line, signed and shown to the peer");
  reject->add_flag("--json", o.reject.json, "Print JSON");
  reject->footer("Example:  sluice-agent reject mallory --reason 'who are you?'");
  reject->callback([&] { run = [&](const auto& state) { return run_reject(state, o.reject); }; });

  auto* untrust =
      app.add_subcommand("untrust", "End the trust with a peer, or take back an own request");
  untrust->add_option("PEER", o.untrust.peer, "Its name, DID or virtual address")->required();
  untrust->add_option("--reason", o.untrust.reason, "One line, signed and shown to the peer");
  untrust->add_flag("--json", o.untrust.json, "Print JSON");
  untrust->footer(
      "Answered when the relay has proven that no packet of the pair can pass any more.\n"
      "Example:  sluice-agent untrust bob --reason 'project ended'");
  untrust->callback(
      [&] { run = [&](const auto& state) { return run_untrust(state, o.untrust); }; });

  auto* visibility =
      app.add_subcommand("visibility", "Let others of this tenant find this agent by its name");
  visibility->add_option("WHICH", o.visibility.visibility, "public or private (the default)")
      ->required()
      ->check(CLI::IsMember({"public", "private"}));
  visibility->add_flag("--json", o.visibility.json, "Print JSON");
  visibility->callback(
      [&] { run = [&](const auto& state) { return run_visibility(state, o.visibility); }; });
}

void describe_messages(CLI::App& app, Options& o, Run& run) {
  auto* send = app.add_subcommand("send", "Send messages to a peer");
  send->add_option("PEER", o.send.peer, "Its name, DID or virtual address")->required();
  auto* message =
      send->add_option("MESSAGE", o.send.message, "Default: each line of standard input");
  send->add_option("--count", o.send.count, "Send it so often; {} in it becomes 1, 2, 3 …")
      ->check(CLI::PositiveNumber)
      ->needs(message);
  send->add_option("--rate", o.send.rate, "Messages a second (default: as fast as possible)")
      ->check(CLI::NonNegativeNumber);
  send->footer(
      "Ends when the daemon has sent everything; like any datagram, a message can still be "
      "lost.\nExample:  sluice-agent send bob 'number {}' --count 1000 --rate 200");
  send->callback([&] { run = [&](const auto& state) { return run_send(state, o.send); }; });

  auto* recv = app.add_subcommand("recv", "Print messages from peers, one a line");
  recv->add_option("--count", o.recv.count, "End after so many")->check(CLI::PositiveNumber);
  recv->add_option("--timeout", o.recv.timeout_s,
                   "End after so many seconds, with exit code 11 if messages are missing")
      ->check(CLI::NonNegativeNumber);
  recv->add_flag("--json", o.recv.json,
                 "Print {\"from\",\"name\",\"data\"} a line, data in base64");
  recv->add_flag("--quiet", o.recv.quiet, "Print only a summary at the end");
  recv->footer("Example:  sluice-agent recv --count 1 --timeout 10");
  recv->callback([&] { run = [&](const auto& state) { return run_recv(state, o.recv); }; });

  auto* ping = app.add_subcommand("ping", "Measure round trips to a peer, end to end");
  ping->add_option("PEER", o.ping.peer, "Its name, DID or virtual address")->required();
  ping->add_option("--count", o.ping.count, "How many")->check(CLI::Range(1, 10'000'000));
  ping->add_option("--interval", o.ping.interval_s, "Seconds from one to the next")
      ->check(CLI::Range(0.0, 3600.0));
  ping->add_option("--size", o.ping.size, "Bytes of a ping")->check(CLI::Range(8, 65'535));
  ping->add_option("--window", o.ping.window, "At most so many unanswered at once")
      ->check(CLI::Range(1, 65'536));
  ping->add_option("--timeout", o.ping.timeout_s, "Seconds until one counts as lost")
      ->check(CLI::Range(0.001, 60.0));
  ping->add_flag("--json", o.ping.json, "Print JSON");
  ping->footer("Example:  sluice-agent ping bob --count 1000 --interval 0 --window 1");
  ping->callback([&] { run = [&](const auto& state) { return run_ping(state, o.ping); }; });
}

void describe_calls(CLI::App& app, Options& o, Run& run) {
  auto* call = app.add_subcommand("call", "Call a peer: standard input is the request");
  call->add_option("PEER", o.call.peer, "Its name, DID or virtual address")->required();
  call->add_option("--capability", o.call.capability, "What is called for (default: tool_call)")
      ->check(CLI::IsMember({"read", "delegate", "tool_call", "workflow_command"}));
  call->add_option("--protocol", o.call.protocol, "What the bytes are (default: raw)")
      ->check(CLI::IsMember({"raw", "a2a", "mcp", "openai", "anp", "acp"}));
  call->add_option("--service", o.call.service, "Which of the peer's services (default: 0)");
  call->add_option("--scope", o.call.scopes, "A scope that it needs; at most 4 times")
      ->expected(1)
      ->take_all();
  call->add_option("--timeout", o.call.timeout, "For all of it: 30s (default), 5m, up to 1h");
  call->add_option("--trace", o.call.trace, "32 hex digits (default: drawn at random)");
  call->add_option("--idempotency-key", o.call.idempotency_key,
                   "32 hex digits; the relay lets each pass once (default: drawn at random)");
  call->add_flag("--json", o.call.json, "Print JSON, the response in it as base64");
  call->footer(
      "The response goes to standard output; each is at most 16 MiB. The exit code says how it "
      "ended, and the\nsentence has the reason in brackets; see docs/calls.md. In a program that "
      "serves, pass $SLUICE_TRACE on.\n"
      "Example:  echo '{\"q\":1}' | sluice-agent call bob --capability tool_call > answer");
  call->callback([&] { run = [&](const auto& state) { return run_call(state, o.call); }; });

  auto* serve =
      app.add_subcommand("serve", "Answer calls of peers with an HTTP server or a program");
  auto* upstream = serve->add_option("--upstream", o.serve.upstream,
                                     "An HTTP server of this host: http://HOST[:PORT][/PATH]");
  serve
      ->add_option("--protocol", o.serve.protocol,
                   "What it speaks: a2a, mcp, openai-responses, anp, acp (default: plain HTTP)")
      ->needs(upstream)
      ->check(CLI::IsMember({"raw", "a2a", "mcp", "openai-responses", "openai", "anp", "acp"}));
  serve->add_option("--path", o.serve.path, "Only paths under this one, which is taken off")
      ->needs(upstream);
  serve->add_option("--timeout", o.serve.upstream_timeout, "Until its answer begins (default: 10m)")
      ->needs(upstream);
  serve
      ->add_flag("--strip-authorization", o.serve.strip_authorization,
                 "Callers' own authorization does not reach it, even without a credential")
      ->needs(upstream);
  serve
      ->add_flag("--strip-cookies", o.serve.strip_cookies,
                 "Neither do their cookies, nor do its cookies reach them")
      ->needs(upstream);
  auto* exec =
      serve->add_flag("--exec", o.serve_exec, "Run what follows for each call; put it last");
  auto* echo = serve->add_flag("--echo", o.serve.echo, "Answer with the request, for trials");
  upstream->excludes(exec)->excludes(echo);
  serve->add_option("--parallel", o.serve.parallel, "At most so many at a time (default: 16)")
      ->check(CLI::Range(1, 256))
      ->excludes(upstream);
  serve->add_option("--limit", o.serve.limit, "A program is stopped after this (default: 60s)")
      ->excludes(upstream);
  serve->add_flag("--json", o.serve.json, "Print a line of JSON for each call")->excludes(upstream);
  serve->prefix_command();
  serve->footer(
      "With --upstream, what peers ask of http://127.0.0.1:7480/THIS-AGENT/PATH goes to the "
      "server, and to one with\n--protocol mcp what they ask of /THIS-AGENT/mcp/PATH "
      "(docs/http.md).\n"
      "With --exec, the program gets the request on standard input; its standard output is the "
      "response, its exit status\nthe call's. SLUICE_CALLER, SLUICE_CALLER_NAME, "
      "SLUICE_CALLER_VERIFIED, SLUICE_TRACE, SLUICE_IDEMPOTENCY_KEY,\nSLUICE_CAPABILITY, "
      "SLUICE_PROTOCOL, SLUICE_SERVICE and SLUICE_SCOPES say about what. Without a server no "
      "call is\ntaken.\n"
      "Examples:  sluice-agent serve --protocol mcp --upstream http://127.0.0.1:3000/mcp\n"
      "           sluice-agent serve --parallel 4 --exec jq -c '.q + 1'");
  serve->callback([&o, &run, serve] {
    o.serve.program = serve->remaining();
    if (!o.serve.upstream.empty()) {
      if (!o.serve.program.empty()) {
        throw CLI::ValidationError("serve", "--upstream takes no command behind it");
      }
      run = [&](const auto& state) { return run_serve_upstream(state, o.serve); };
      return;
    }
    if (o.serve.program.empty() == o.serve_exec) {
      throw CLI::ValidationError("serve", o.serve_exec ? "--exec needs a command behind it"
                                                       : "what to run stands behind --exec");
    }
    run = [&](const auto& state) { return run_serve(state, o.serve); };
  });

  auto* egress = app.add_subcommand(
      "egress",
      "Answer calls of peers from HTTPS endpoints, with credentials that peers never see");
  egress
      ->add_option("--protocol", o.egress.protocol,
                   "Which calls: a2a, mcp, openai-responses, anp, acp (default: plain HTTP)")
      ->check(CLI::IsMember({"raw", "a2a", "mcp", "openai-responses", "openai", "anp", "acp"}));
  egress->add_option("--path", o.egress.path, "Only paths under this one, which is taken off");
  egress
      ->add_option("--allow-host", o.egress.allow,
                   "A host that may have a private address, or be plain http; more than once")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  egress->add_option("--timeout", o.egress.timeout, "Until its answer begins (default: 10m)");
  egress->add_flag("--json", o.egress.json, "Print a line of JSON when it serves");
  egress->footer(
      "Where a call goes, and by what key, comes with it from the relay: the operator has set it "
      "for this agent and\nprotocol with sluicectl credential set. What the caller wrote of "
      "authorization and cookies is dropped, and the\nkey never comes back. Endpoints are https, "
      "their certificates are verified, their addresses are none of a private\nnetwork unless "
      "--allow-host names them (docs/egress.md).\n"
      "Examples:  sluice-agent egress --protocol openai-responses\n"
      "           sluice-agent egress --protocol mcp --allow-host tools.internal");
  egress->callback([&] { run = [&](const auto& state) { return run_egress(state, o.egress); }; });

  auto* calls = app.add_subcommand("calls", "List calls that are open and recent ones");
  calls->add_flag("--json", o.calls_json, "Print JSON");
  calls->footer("Example:  sluice-agent calls --json | jq '.calls[].decision'");
  calls->callback([&] { run = [&](const auto& state) { return run_calls(state, o.calls_json); }; });
}

int report(const Error& error, bool json) {
  fmt::print(stderr, "sluice-agent: {}\n", error.message);
  if (json) {
    const nlohmann::json body = {
        {"error", {{"code", info(error.code).name}, {"message", error.message}}}};
    fmt::print("{}\n", body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return info(error.code).exit_code;
}

int run_command(int argc, char** argv) {
  Options o;
  Run run;
  CLI::App app(
      "An agent's side of Sluice: connects to a relay and carries messages, encrypted end to "
      "end, to the agents that it may reach.",
      "sluice-agent");
  app.set_version_flag("--version", SLUICE_VERSION);
  app.add_option("--state", o.state,
                 "Folder of the identity (default: $XDG_STATE_HOME/sluice-agent or "
                 "~/.local/state/sluice-agent)");
  app.add_option("--log", o.log, "trace, debug, info, warn or error");
  app.require_subcommand(1);
  app.footer(
      "First steps:\n  sluice-agent init --name alice < join.txt\n  sluice-agent up &\n"
      "  sluice-agent handshake did:key:z6Mk… 'we work on the report'\n"
      "  sluice-agent peers\n  sluice-agent send bob hello\n  echo hi | sluice-agent call bob");
  describe_setup(app, o, run);
  describe_daemon(app, o, run);
  describe_identity(app, o, run);
  describe_trust(app, o, run);
  describe_messages(app, o, run);
  describe_calls(app, o, run);
  const SelfDescription description(
      app, {.summary = "an agent's side of Sluice",
            .files = {{"~/.local/state/sluice-agent",
                       "The agent's identity and state, of its owner alone"},
                      {"~/.local/state/sluice-agent/agent.yaml",
                       "What the daemon serves, docs/http.md"}},
            .see_also = {"sluiced(8)", "sluicectl(8)"}});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // help and version
    return report({ErrorCode::kUsage, fmt::format("{}; see: sluice-agent --help", e.what())},
                  o.json());
  }
  if (const auto code = description.run()) return *code;
  if (!crypto::init() || !crypto::aead().usable()) {
    return report({ErrorCode::kResource, "this CPU lacks AES-NI, which the tunnel needs"},
                  o.json());
  }
  auto state = o.state.empty() ? default_state() : Result<std::string>(o.state);
  if (!state) return report(state.error(), o.json());
  const auto result = run(*state);
  return result ? *result : report(result.error(), o.json());
}

}  // namespace

int main(int argc, char** argv) {
  harden_process();
  try {
    return run_command(argc, argv);
  } catch (const std::exception& e) {
    return report({ErrorCode::kInternal, e.what()}, false);
  }
}
