// sluiced: wiring only. What is declared later dies first: workers before rings, rings before EAL.
#include <sched.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/self_description.h"
#include "control/capacity.h"
#include "control/control.h"
#include "crypto/text.h"
#include "dataplane/plane.h"
#include "dataplane/telemetry.h"
#include "fabric/numa.h"
#include "relayd/event_loop.h"
#include "relayd/start_times.h"
#include "vault/tpm.h"

namespace sluice::relayd {
namespace {

int report(const Error& e) {
  fmt::print(stderr, "sluiced: {}\n", e.message);
  return info(e.code).exit_code;
}

bool shares_a_core(const fabric::Topology& t) {
  for (const auto& w : t.workers) {
    if (w.core == t.control_core) return true;
  }
  return std::count(t.verifiers.begin(), t.verifiers.end(), t.control_core) != 0;
}

// A spinning worker on the same core would starve an ordinary thread for milliseconds.
void set_scheduling(const control::Config& config) {
  using S = control::ControlScheduling;
  const bool wanted = config.scheduling == S::kFifo ||
                      (config.scheduling == S::kAuto && shares_a_core(config.topology));
  if (!wanted) return;
  const sched_param p{.sched_priority = 1};
  if (sched_setscheduler(0, SCHED_FIFO, &p) != 0) {
    spdlog::warn(
        "no SCHED_FIFO for the control thread ({}): it shares a core with a worker, so "
        "revocations and handshakes may take milliseconds longer",
        strerror(errno));
  }
}

// EAL's own threads and the store's must not inherit SCHED_FIFO, so this comes last.
Result<void> serve(const control::Config& config, const std::string& path) {
  const Clock clock;
  StartTimes times(clock);
  if (auto r = make_folder(config.relay.state_dir, 0700); !r) return r;
  auto keys = control::RelayKeys::load(config.relay.key_file, config.relay.state_dir);
  if (!keys) return tl::unexpected(keys.error());

  EventLoop loop;
  control::Control* running = nullptr;
  auto store = control::Store::open(
      config.relay.state_dir, [&loop](std::function<void()> f) { loop.post(std::move(f)); },
      [&running](const control::Snapshot& s) {
        if (running != nullptr) running->reconcile(s);
      },
      false);
  if (!store) return tl::unexpected(store.error());
  times.done("store");

  const auto sizes = control::arena_sizes(config);
  const auto need = dataplane::memory_need(config.topology, config.limits.packet_buffers,
                                           fabric::Arena::needed(sizes));
  if (auto r = dataplane::check_memory(need, config.topology.mode); !r) return r;
  const bool huge = config.topology.mode != fabric::EalMode::kNoHuge;
  std::vector<unsigned> nodes;
  for (const auto& w : config.topology.workers) nodes.push_back(fabric::node_of_core(w.core));
  auto arena = fabric::Arena::create(
      sizes, huge ? fabric::PageKind::kHuge : fabric::PageKind::kSmall, nodes);
  if (!arena) return tl::unexpected(arena.error());
  times.done("tables' memory");
  auto eal = dataplane::Eal::start(config.topology, need);
  if (!eal) return tl::unexpected(eal.error());
  times.done("EAL");
  auto telemetry = dataplane::Telemetry::start(**arena);
  if (!telemetry) return tl::unexpected(telemetry.error());

  const dataplane::WorkerOptions options{.udp_port = config.relay.udp_port,
                                         .dscp = config.relay.dscp,
                                         .ipv4_udp_checksum = config.relay.ipv4_udp_checksum,
                                         .burst = config.topology.burst,
                                         .calls = control::call_options(config.calls),
                                         .latency = config.observability.latency};
  auto plane = dataplane::Plane::create(config.topology, options, need, clock, **arena);
  if (!plane) return tl::unexpected(plane.error());
  times.done("ports");
  for (const auto& sentence : (*plane)->advice()) spdlog::warn("{}", sentence);

  auto control =
      control::Control::create(config, std::move(*keys), std::move(*store),
                               {clock, **arena, (*plane)->qsbr(), (*plane)->mailboxes(),
                                [&] { return (*plane)->port_status(); },
                                [&loop](std::function<void()> f) { loop.post(std::move(f)); },
                                loop.spare_cores(config.topology), (*plane)->verifier_qsbr(),
                                [&] { return (*plane)->links(); }});
  if (!control) return tl::unexpected(control.error());
  running = control->get();
  times.done("trust");
  if (auto r = loop.serve_admin(**control); !r) return r;

  if (auto r = (*plane)->start(); !r) return r;
  set_scheduling(config);
  times.done("workers");
  spdlog::info("started in {}", times.text());
  spdlog::info("relaying on UDP port {} with {} workers, AES-GCM by IPsec-MB ({}); key {}",
               config.relay.udp_port, config.topology.workers.size(), crypto::aead().path(),
               crypto::to_base64url((*control)->keys().tunnel.public_key));

  sd_notify(0, "READY=1");
  loop.run(**control, [&] {
    const auto loaded = control::load_config(path);
    if (!loaded.problems.empty()) {
      spdlog::error("reload refused, the running configuration stays:\n{}",
                    control::format_problems(path, loaded.problems));
      return;
    }
    const auto change = running->reload(loaded.config.trust);
    if (!change) {
      spdlog::error("reload refused, the running configuration stays: {}", change.error().message);
      return;
    }
    spdlog::info("trust reloaded: {} agents, {} pairs", change->agents, change->pairs);
  });
  sd_notify(0, "STOPPING=1");
  (*plane)->stop();
  spdlog::info("stopped");
  return {};
}

int new_key(const std::string& path) {
  auto key = control::create_tunnel_key(path);
  if (!key) return report(key.error());
  fmt::print("{}\n", crypto::to_base64url(*key));
  return 0;
}

int print_keys() {
  for (const auto& rule : control::key_rules()) {
    fmt::print("{:<40} {:<44} {}\n", rule.place, rule.form,
               rule.initial.empty() ? "" : "default " + rule.initial);
  }
  return 0;
}

int print_join(const control::Config& config, const std::string& host) {
  const auto text = control::read_public_text(config.relay.key_file, config.relay.state_dir);
  if (!text) return report(text.error());
  fmt::print("{}\n", control::join_string(host, config.relay.udp_port, *text));
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{
      "sluiced: the Sluice relay. Forwards the encrypted tunnels of agents between DPDK ports.\n"
      "First steps:\n"
      "  sluiced --new-key /var/lib/sluice/relay.key      the relay's key, once\n"
      "  sluiced --check /etc/sluice/sluiced.yaml         every mistake with its line\n"
      "  sluiced -c /etc/sluice/sluiced.yaml              run\n"
      "  sluiced -c FILE --join relay.example.net         what agents are given",
      "sluiced"};
  std::string config_path = "/etc/sluice/sluiced.yaml", check, key_path, host;
  bool print = false, manual = false, keys = false;
  app.add_option("-c,--config", config_path, "Configuration (config/sluiced.yaml is its manual)");
  app.add_option("--check", check, "Report every mistake in FILE and exit: 0 good, 3 not")
      ->type_name("FILE");
  app.add_flag("--print-config", print, "Print the effective configuration, defaults included");
  app.add_flag("--manual", manual, "Print the manual of the configuration: every key, commented");
  app.add_flag("--keys", keys, "Print every key with what may stand there and its default");
  app.add_option("--new-key", key_path, "Make a relay key in FILE and print its public half")
      ->type_name("FILE");
  app.add_option("--join", host, "Print the join string for agents that reach the relay at HOST")
      ->type_name("HOST");
  app.set_version_flag("--version", SLUICE_VERSION);
  const SelfDescription description(
      app,
      {.section = 8,
       .summary = "the Sluice relay",
       .files = {{"/etc/sluice/sluiced.yaml", "The configuration"},
                 {"/var/lib/sluice", "Keys and durable state: relay.state_dir"},
                 {"/run/sluice/admin.sock", "The admin API for sluicectl: admin.socket"}},
       .see_also = {"sluiced.yaml(5)", "sluicectl(8)", "sluice-pktgen(1)", "sluice-agent(1)"}});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : info(ErrorCode::kUsage).exit_code;
  }
  if (const auto code = description.run()) return *code;

  if (manual) {
    fmt::print("{}", control::config_manual());
    return 0;
  }
  if (keys) return print_keys();
  harden_process();
  vault::quiet_tpm();
  if (!crypto::init()) return report({ErrorCode::kInternal, "libsodium does not start"});
  if (!key_path.empty()) return new_key(key_path);

  const std::string path = check.empty() ? config_path : check;
  const auto loaded = control::load_config(path);
  if (!loaded.problems.empty()) {
    fmt::print(stderr, "{}\n", control::format_problems(path, loaded.problems));
    fmt::print(stderr, "sluiced: {} {} in {}\n", loaded.problems.size(),
               loaded.problems.size() == 1 ? "mistake" : "mistakes", path);
    return info(ErrorCode::kConfig).exit_code;
  }
  if (!check.empty()) {
    fmt::print("{}: good\n", path);
    return 0;
  }
  if (print) {
    fmt::print("{}", control::print_config(loaded.config));
    return 0;
  }
  if (!host.empty()) return print_join(loaded.config, host);

  if (auto r = init_logging("sluiced", loaded.config.log_level); !r) return report(r.error());
  if (!crypto::aead().usable()) {
    return report(
        {ErrorCode::kResource, "this CPU lacks AES-NI and PCLMULQDQ, which the relay needs"});
  }
  if (auto r = serve(loaded.config, path); !r) return report(r.error());
  return 0;
}

}  // namespace
}  // namespace sluice::relayd

int main(int argc, char** argv) {
  return sluice::relayd::run(argc, argv);
}
