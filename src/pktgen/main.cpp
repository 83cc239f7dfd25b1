// sluice-pktgen: the command line. Everything else is in the files that it includes.
#include <cstdio>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/process.h"
#include "base/self_description.h"
#include "pktgen/commands.h"
#include "pktgen/fleet.h"
#include "pktgen/trust.h"

namespace sluice::pktgen {
namespace {

int report(const Error& e) {
  fmt::print(stderr, "sluice-pktgen: {}\n", e.message);
  return info(e.code).exit_code;
}

void add_population(CLI::App& app, RawOptions& o) {
  app.add_option("--agents", o.agents, "Agents to play (64)");
  app.add_option("--seed-file", o.seed_file, "32 secret bytes that all agents' keys come from");
  app.add_option("--relay-key", o.relay_key,
                 "The relay's public key: what `sluiced --join` prints, or its part behind #");
  app.add_option("--tenant", o.tenant, "The first agents' tenant (7)");
  app.add_option("--tenants", o.tenants, "Spread the agents over so many tenants (1)");
  app.add_option("--pairs", o.pairs,
                 "Who sends to whom: pairs (2k with 2k+1), ring (i to i+1) or star (all to the "
                 "first)");
}

void add_devices(CLI::App& app, RawOptions& o) {
  auto* g = app.add_option_group("Devices", "One --device, --address and --relay each per device");
  g->add_option("--device", o.devices,
                "PCI address, or e.g. net_memif0,role=server,socket=/tmp/x.sock")
      ->allow_extra_args(false);
  g->add_option("--address", o.addresses, "Our first address there, IP/PREFIX")
      ->allow_extra_args(false);
  g->add_option("--relay", o.relays, "The relay's address on that link, IP:PORT")
      ->allow_extra_args(false);
  g->add_option("--relay-mac", o.relay_macs, "Its MAC address or a gateway's; asked for by default")
      ->allow_extra_args(false);
  g->add_option("--lcores", o.lcores, "CPUs: main, then one per device, e.g. 0,1");
  g->add_option("--mode", o.mode, "Packet memory: in_memory (default), shared or no_huge");
  g->add_option("--file-prefix", o.file_prefix, "EAL's file prefix (sluice-pktgen)");
  g->add_option("--eal-arg", o.eal_args, "Further EAL argument, repeatable")
      ->allow_extra_args(false);
  g->add_option("--tx-queues", o.queues, "Queues per device, each way (1)");
  g->add_option("--stray", o.stray,
                "Percent of each agent's packets that leave by another queue (10 with queues)");
  g->add_option("--mtu", o.mtu, "IP MTU (1500)");
  g->add_option("--descriptors", o.descriptors, "Slots of each queue (1024)");
  g->add_option("--buffers", o.buffers, "Packet buffers (as many as the queues hold)");
}

void add_sessions(CLI::App& app, RawOptions& o) {
  auto* g = app.add_option_group("Sessions");
  g->add_option("--window", o.window, "Handshakes under way at once (32)");
  g->add_option("--connect-timeout", o.connect_timeout, "Seconds until all must be up");
  g->add_option("--rekey-age", o.rekey_age, "Seconds after which a session is renewed (100)");
  g->add_option("--rekey-rate", o.rekey_rate, "Renewals a second at most (200)");
}

void add_traffic(CLI::App& app, RawOptions& o) {
  auto* g = app.add_option_group("Traffic");
  g->add_option("--seal", o.seal, "full or header (full)");
  g->add_option("--order", o.order, "Which agent sends next: random (default) or round");
  g->add_option("--open", o.open, "Received packets to open and check: all, none, 1/64 (default)");
  g->add_option("--json", o.json, "Write the results to this file (docs/pktgen.md)");
  g->add_option("--pcap", o.pcap, "Write what is sent to this file");
  g->add_option("--pcap-packets", o.pcap_packets, "Packets of each device to write (10000)");
  g->add_flag("--wait", o.wait, "After `ready`, wait for a line on standard input");
  g->add_flag("--hold", o.hold,
              "After the results, keep the devices until a line on standard input: stop a memif "
              "relay first");
  g->add_flag("--markers", o.markers, "Print `begin NAME` and `end NAME` around measurements");
}

void add_run(CLI::App& app, RawOptions& o) {
  auto* g = app.add_option_group("Run");
  g->add_option("--frame", o.frame, "Bytes of a frame with FCS, 94 or more on IPv4 (512)");
  g->add_option("--payload", o.payload, "Or: bytes behind the tunnel's frame header");
  g->add_flag("--imix", o.imix, "Or: 7:4:1 of 94, 594 and 1518");
  g->add_option("--rate", o.rate, "Packets a second of all agents, e.g. 250k, 1.5M, or max");
  g->add_option("--seconds", o.seconds, "How long (10)");
  g->add_flag("--dry", o.dry, "Seal but do not send: what the generator itself can do");
  g->add_option("--presealed", o.presealed, "Send so many packets that were sealed before");
  g->add_option(
      "--probe", o.probe,
      "Enlarge one packet in N to carry a stamp, where frames have no room (256; 0 none)");
  g->add_option(
       "--flood", o.floods,
       "KIND:RATE, repeatable: random, forged, forged-away, replay, unknown, hello, badmac")
      ->allow_extra_args(false);
  g->add_option("--flood-from", o.flood_from, "Seconds into the run when floods begin (0)");
  g->add_option("--flood-until", o.flood_until, "Seconds into the run when floods end (the end)");
}

void add_search(CLI::App& app, RawOptions& o) {
  auto* g = app.add_option_group("Search");
  g->add_option("--frames", o.frames, "Sizes, e.g. 94,512,imix (those of RFC 2544, and IMIX)");
  g->add_option("--trial-seconds", o.trial_seconds, "Length of a trial (2)");
  g->add_option("--resolution", o.resolution, "Percent between the last good and bad rate (1)");
  g->add_option("--loss-tolerance", o.loss_tolerance, "Percent of packets that may be lost (0)");
  g->add_option("--max-rate", o.max_rate, "Where to begin, packets a second (as fast as it can)");
  g->add_flag("--latency", o.latency, "Then measure latency at 50 % and 80 % of the result");
}

int print_trust(const RawOptions& o, const std::string& seal) {
  const auto pattern = parse_pattern(o.pairs);
  const auto key = parse_relay_key(o.relay_key);
  const Population population{o.agents, o.tenant, o.tenants, pattern.value_or(Pattern::kPairs)};
  std::string problems;
  const auto add = [&](const std::string& text) {
    problems += (problems.empty() ? "" : "\n") + text;
  };
  if (!pattern) add(fmt::format("--pairs {} is not pairs, ring or star", o.pairs));
  if (!key) add("--relay-key is missing or no key: give what `sluiced --join` prints");
  if (o.seed_file.empty()) add("--seed-file is missing: it is made if it does not exist");
  if (seal != "full" && seal != "header" && seal != "any") {
    add(fmt::format("--seal {} is not full, header or any", seal));
  }
  if (auto r = population.check(); !r) add(r.error().message);
  if (!problems.empty()) return report({ErrorCode::kUsage, problems});
  auto keys = KeySource::open(o.seed_file, true);
  if (!keys) return report(keys.error());
  fmt::print("{}", trust_section(*keys, {population, *key, seal}));
  return 0;
}

int measure_with(const RawOptions& raw, Command command) {
  auto options = read_options(raw, command);
  if (!options) return report(options.error());
  catch_signals();
  auto r = command == Command::kRun ? run_traffic(*options) : search_throughput(*options);
  return r ? 0 : report(r.error());
}

constexpr const char* kAbout =
    "sluice-pktgen plays thousands of agents against a relay, over DPDK.\n"
    "First steps (docs/pktgen.md has more):\n"
    "  sluiced --new-key relay.key                      the relay's key\n"
    "  sluice-pktgen trust --agents 1000 --seed-file seed --relay-key KEY >> sluiced.yaml\n"
    "  sluice-pktgen run --agents 1000 --seed-file seed --relay-key KEY \\\n"
    "      --device net_memif0,role=server,socket=/tmp/x.sock --address 10.9.0.10/16 \\\n"
    "      --relay 10.9.0.1:7600 --rate 100k --seconds 5\n"
    "Frames are counted with FCS: 94 bytes are an empty message on IPv4.";

int run(int argc, char** argv) {
  CLI::App app{kAbout, "sluice-pktgen"};
  app.set_version_flag("--version", SLUICE_VERSION);
  app.require_subcommand(1);
  RawOptions raw;
  std::string trust_seal = "full";
  auto* trust = app.add_subcommand("trust", "Print the relay's trust section for these agents");
  add_population(*trust, raw);
  trust->add_option("--seal", trust_seal, "What the pairs may use: full (default), header or any");
  auto* traffic = app.add_subcommand(
      "run", "Connect all agents, send traffic, and floods beside it; measure loss and latency");
  auto* search = app.add_subcommand("search", "Find the highest rate without loss (RFC 2544)");
  for (auto* command : {traffic, search}) {
    add_population(*command, raw);
    add_devices(*command, raw);
    add_sessions(*command, raw);
    add_traffic(*command, raw);
  }
  add_run(*traffic, raw);
  add_search(*search, raw);
  const SelfDescription description(app, {.summary = "load generator for Sluice relays, over DPDK",
                                          .files = {},
                                          .see_also = {"sluiced(8)"}});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int rc = app.exit(e);
    return rc == 0 ? 0 : info(ErrorCode::kUsage).exit_code;
  }

  if (const auto code = description.run()) return *code;
  harden_process();
  if (!crypto::init()) return report({ErrorCode::kInternal, "libsodium does not start"});
  if (!crypto::aead().usable()) {
    return report(
        {ErrorCode::kResource, "this CPU lacks AES-NI and PCLMULQDQ, which the tunnel needs"});
  }
  if (trust->parsed()) return print_trust(raw, trust_seal);
  return measure_with(raw, traffic->parsed() ? Command::kRun : Command::kSearch);
}

}  // namespace
}  // namespace sluice::pktgen

int main(int argc, char** argv) {
  try {
    return sluice::pktgen::run(argc, argv);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "sluice-pktgen: not enough memory: an agent takes 1.5 KB, lower --agents\n");
    return sluice::info(sluice::ErrorCode::kResource).exit_code;
  }
}
