#include "cli/tune.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/file.h"
#include "cli/table.h"
#include "control/capacity.h"
#include "dataplane/memory_need.h"
#include "host/cpu_list.h"

namespace sluice::cli {
namespace {

using control::Config;
using nlohmann::json;

constexpr uint64_t kHugePage = 2u << 20;
// Around the payload on the wire: Ethernet with its FCS, IPv4, UDP, the tunnel's headers and tag;
// and the preamble and gap before a frame.
constexpr double kAround = 94 + 20;
// Tables that more than so many agents have for calls: all of them are rarely calling at once.
constexpr uint32_t kAllCall = 4096;
constexpr uint32_t kMeasuredSessions = 1024;
// Of a worker, 512 bytes, full seal, few sessions, a Zen 4 (docs/benchmarks.md, relay). With
// 100,000 sessions it is two thirds of it.
constexpr double kReferenceMpps = 4.1;

double gbps(const Rate& r) {
  return r.mpps * (r.payload + kAround) * 8 / 1000;
}

// Of a port when all are busy: its workers divide themselves between the ports that they poll.
double share_of_port(const CoreMap& map, size_t port) {
  double workers = 0;
  for (const MapWorker& w : map.workers) {
    for (const auto& [p, queue] : w.queues) {
      if (p == port) workers += 1.0 / double(w.queues.size());
    }
  }
  return workers / double(map.workers.size());
}

json map_json(const CoreMap& map) {
  json ports = json::array(), workers = json::array();
  for (const MapPort& p : map.ports) {
    ports.push_back({{"name", p.name},
                     {"device", p.device},
                     {"numa_node", p.node},
                     {"speed_mbps", p.speed_mbps},
                     {"queues", p.queues}});
  }
  for (const MapWorker& w : map.workers) {
    json queues = json::array();
    for (const auto& [p, q] : w.queues)
      queues.push_back(fmt::format("{}/{}", map.ports[p].name, q));
    workers.push_back({{"core", w.core}, {"numa_node", w.node}, {"queues", std::move(queues)}});
  }
  return {{"control", map.control},
          {"ports", std::move(ports)},
          {"workers", std::move(workers)},
          {"verifiers", map.verifiers},
          {"notes", map.notes}};
}

json capacity_json(const Capacity& c, const Config& config) {
  return {{"agents", config.limits.agents},
          {"edges", config.limits.edges},
          {"sessions", config.limits.sessions},
          {"tables_bytes", c.tables},
          {"packet_buffers_bytes", c.buffers},
          {"rings_bytes", c.rings},
          {"hugepages_2mb", c.pages},
          {"cores", c.cores},
          {"reference_mpps", c.mpps}};
}

std::string capacity_text(const Capacity& c, const Config& config) {
  const auto mib = [](uint64_t n) { return fmt::format("{} MiB", grouped((n >> 20) + 1)); };
  return format_table(
      {{"capacity"}, {"", true}, {"for"}},
      {{"tables", mib(c.tables),
        fmt::format("{} agents, {} edges, {} sessions", grouped(config.limits.agents),
                    grouped(config.limits.edges), grouped(config.limits.sessions))},
       {"packet buffers", mib(c.buffers), "rings of all queues, and what workers hold"},
       {"rings and EAL", mib(c.rings), ""},
       {"hugepages", grouped(c.pages), "of 2 MB, over the nodes that have workers"},
       {"cores", grouped(c.cores), "control, workers, verifiers"},
       {"forwarding", fmt::format("{:.0f} Mpps", c.mpps),
        "of 512 bytes in memory, by docs/benchmarks.md; --measure tells of this machine"}});
}

std::string rates_text(const CoreMap& map, const std::vector<Rate>& rates) {
  std::vector<std::vector<std::string>> rows;
  for (const Rate& r : rates) {
    const double workers = double(map.workers.size());
    rows.push_back({fmt::format("{} B", r.payload), fmt::format("{:.2f}", r.alone_mpps),
                    fmt::format("{:.2f}", r.mpps / workers), fmt::format("{:.2f}", r.mpps),
                    fmt::format("{:.1f}", gbps(r) / workers), fmt::format("{:.1f}", gbps(r))});
  }
  std::string out = format_table({{"payload"},
                                  {"one alone, Mpps", true},
                                  {"per core, Mpps", true},
                                  {"all, Mpps", true},
                                  {"per core, Gbit/s", true},
                                  {"all, Gbit/s", true}},
                                 rows);
  rows.clear();
  for (size_t p = 0; p < map.ports.size(); ++p) {
    const MapPort& port = map.ports[p];
    const double line = port.speed_mbps == 0 ? 1e9 : port.speed_mbps / 1000.0;
    std::vector<std::string> row = {port.name,
                                    port.speed_mbps == 0 ? "?" : fmt::format("{:.0f}", line)};
    for (const Rate& r : rates) {
      const double all = gbps(r) * share_of_port(map, p);
      row.push_back(fmt::format("{:.1f}{}", std::min(all, line), all >= line ? " (line)" : ""));
    }
    rows.push_back(std::move(row));
  }
  std::vector<Column> columns = {{"port"}, {"line, Gbit/s", true}};
  for (const Rate& r : rates) columns.push_back({fmt::format("{} B, Gbit/s", r.payload), true});
  return out + "\n" + format_table(columns, rows) +
         "\nIn memory, without a NIC: what its driver takes comes on top "
         "(docs/benchmarks.md, wire).\n";
}

}  // namespace

std::string map_yaml(const CoreMap& map, const Config& config, const host::Machine& machine) {
  std::string out =
      "# A map for " + machine.cpu_model +
      fmt::format(", {} cores, {} NUMA {}, made by sluicectl tune.\n", machine.cpus.size(),
                  machine.nodes().size(), machine.nodes().size() == 1 ? "node" : "nodes");
  out += "# config/sluiced.yaml is the manual of every key. Before the first start:\n";
  out += fmt::format("#   kernel arguments isolcpus={0} nohz_full={0} rcu_nocbs={0}\n",
                     host::cpu_list_text(map.spinning()));
  const Capacity need = capacity_of(config);
  out += fmt::format("#   {} hugepages of 2 MB; host-setup does both\n", need.pages);
  for (const std::string& note : map.notes) out += "# Note: " + note + "\n";
  out += "\nports:\n";
  for (const MapPort& p : map.ports) {
    out += fmt::format("  # {}\n  - name: {}\n    device: \"{}\"\n", p.why, p.name, p.device);
    out += "    # Its own addresses, which agents connect to, for example [192.0.2.1/24]:\n";
    out += "    addresses: []\n";
    if (p.mtu != 1500) out += fmt::format("    mtu: {}\n", p.mtu);
  }
  out += fmt::format("\ncores:\n  # {}\n  control: {}\n", map.why_control, map.control);
  out += fmt::format("  # {}\n  workers:\n", map.why_workers);
  for (const MapWorker& w : map.workers) {
    std::string queues;
    for (const auto& [p, q] : w.queues) {
      queues += fmt::format("{}{}/{}", queues.empty() ? "" : ", ", map.ports[p].name, q);
    }
    out += fmt::format("    - {{ core: {}, queues: [{}] }}{}\n", w.core, queues,
                       machine.nodes().size() == 1 ? "" : fmt::format("  # node {}", w.node));
  }
  std::string verifiers;
  for (const unsigned v : map.verifiers) {
    verifiers += (verifiers.empty() ? "" : ", ") + std::to_string(v);
  }
  out += fmt::format("  # {}\n  verifiers: [{}]\n", map.why_verifiers, verifiers);
  const control::LimitsConfig& l = config.limits;
  out += fmt::format(
      "\n# {} MiB of tables.\nlimits:\n  agents: {}\n  edges: {}\n  # An agent has two while it "
      "renews its keys.\n  sessions: {}\n  calling_agents: {}\n",
      (need.tables >> 20) + 1, l.agents, l.edges, l.sessions, l.calling_agents);
  return out;
}

Capacity capacity_of(const Config& config) {
  const auto need = dataplane::memory_need(config.topology, config.limits.packet_buffers,
                                           fabric::Arena::needed(control::arena_sizes(config)));
  return {.tables = need.arena,
          .buffers = need.pool,
          .rings = need.rings,
          .pages = (need.total() + kHugePage - 1) / kHugePage,
          .cores = static_cast<unsigned>(1 + config.topology.workers.size() +
                                         config.topology.verifiers.size()),
          .mpps = kReferenceMpps * double(config.topology.workers.size())};
}

TuneCommand::TuneCommand(CLI::App& app) {
  command_ = app.add_subcommand(
      "tune", "Propose a map of cores and queues, and say what it needs and may do");
  command_
      ->add_option("--port", wishes_.ports,
                   "A card's PCI address, or a virtual device (default: every card but the one "
                   "of the default route); may be repeated")
      ->type_name("DEVICE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  workers_given_ =
      command_->add_option("--workers", workers_, "So many in all (default: what the ports need)")
          ->check(CLI::Range(1u, fabric::kMaxWorkers));
  verifiers_given_ = command_
                         ->add_option("--verifiers", verifiers_,
                                      "Cores for calls' signatures (default: one for four workers)")
                         ->check(CLI::Range(0u, fabric::kMaxVerifiers));
  auto* agents =
      command_->add_option("--agents", agents_, "Sizes of the tables, for so many agents")
          ->check(CLI::Range(1u, 1'000'000u));
  command_->add_option("--edges", edges_, "And so many directions in which agents may send")
      ->check(CLI::Range(1u, 16'000'000u))
      ->needs(agents);
  command_->add_flag("--measure", measure_,
                     "Run the relay in memory on the map's cores: Mpps and Gbit/s of each core and "
                     "port");
  command_
      ->add_option("--from", from_,
                   "For another machine: a folder with copies of its sys/ and proc/")
      ->type_name("DIR");
  command_->add_option("--out", out_, "Write the YAML there; must not exist")->type_name("FILE");
  command_->footer(
      "The YAML goes to standard output, with the reasons as comments; what it needs and does, to\n"
      "standard error. Addresses are left to you.\n"
      "Example:  sluicectl tune --agents 100000 --edges 1000000 --out sluiced.yaml");
}

void TuneCommand::set_limits(control::LimitsConfig& limits) const {
  if (agents_ == 0) return;
  limits.agents = agents_;
  limits.edges = edges_ != 0 ? edges_ : std::max(limits.edges, agents_ * 16);
  limits.sessions = 2 * agents_;
  limits.calling_agents = agents_ <= kAllCall ? agents_ : std::max(kAllCall, agents_ / 4);
}

// What the relay itself makes of the YAML: it is read back.
Result<Config> TuneCommand::configuration(const CoreMap& map, const host::Machine& machine,
                                          std::string& yaml) const {
  Config draft;
  set_limits(draft.limits);
  // Once for what the map takes, which stands in the comments then.
  for (int pass = 0; pass < 2; ++pass) {
    yaml = map_yaml(map, draft, machine);
    control::LoadedConfig loaded = control::parse_config(yaml, std::nullopt);
    if (!loaded.problems.empty()) {
      return fail(ErrorCode::kUsage,
                  fmt::format("this cannot be configured: {}", loaded.problems.front().text));
    }
    draft = std::move(loaded.config);
  }
  return draft;
}

int TuneCommand::print(const Client& client, const CoreMap& map, const Config& config,
                       const std::string& yaml, const std::vector<Rate>& rates) const {
  const Capacity need = capacity_of(config);
  if (!out_.empty()) {
    const int fd = open(out_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    const Fd file(fd);
    if (!file || !write_all(file, as_bytes(yaml))) {
      return client.report(
          {ErrorCode::kUsage, fmt::format("cannot write {}: {}", out_, std::strerror(errno))});
    }
  }
  if (client.as_json) {
    json out = {{"map", map_json(map)}, {"capacity", capacity_json(need, config)}};
    out["yaml"] = yaml;
    out["rates"] = json::array();
    for (const Rate& r : rates) {
      json ports = json::object();
      for (size_t p = 0; p < map.ports.size(); ++p) {
        ports[map.ports[p].name] = gbps(r) * share_of_port(map, p);
      }
      out["rates"].push_back({{"payload", r.payload},
                              {"mpps", r.mpps},
                              {"mpps_one_alone", r.alone_mpps},
                              {"mpps_per_core", r.mpps / double(map.workers.size())},
                              {"gbps", gbps(r)},
                              {"port_gbps", std::move(ports)}});
    }
    fmt::print("{}\n", out.dump());
    return 0;
  }
  if (out_.empty()) {
    fmt::print("{}", yaml);
    std::fflush(stdout);
  } else {
    fmt::print(stderr, "{} written; fill in the ports' addresses\n", out_);
  }
  fmt::print(stderr, "\n{}", capacity_text(need, config));
  if (!rates.empty()) fmt::print(stderr, "\n{}", rates_text(map, rates));
  return 0;
}

std::optional<int> TuneCommand::run(const Client& client) const {
  if (!command_->parsed()) return std::nullopt;
  MapWishes wishes = wishes_;
  if (workers_given_->count() != 0) wishes.workers = workers_;
  if (verifiers_given_->count() != 0) wishes.verifiers = verifiers_;
  const auto machine = host::read_machine(from_.empty() ? "/" : from_);
  const auto map = propose_map(machine, wishes);
  if (!map) return client.report(map.error());
  std::string yaml;
  const auto config = configuration(*map, machine, yaml);
  if (!config) return client.report(config.error());
  std::vector<Rate> rates;
  if (measure_) {
    if (!from_.empty()) {
      return client.report(
          {ErrorCode::kUsage, "--measure is for this machine, --from for another"});
    }
    auto measured = measure_map(*map, std::min(kMeasuredSessions, config->limits.sessions & ~1u));
    if (!measured) return client.report(measured.error());
    rates = std::move(*measured);
  }
  return print(client, *map, *config, yaml, rates);
}

}  // namespace sluice::cli
