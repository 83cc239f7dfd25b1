#include "pktgen/options.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pktgen/options_parts.h"

namespace sluice::pktgen {
namespace {

void read_devices(const RawOptions& raw, FleetOptions& out, Problems& problems) {
  const size_t n = raw.devices.size();
  if (n == 0) problems.add("--device is missing: e.g. net_memif0,role=server,socket=/tmp/x.sock");
  if (n > 8) problems.add("{} times --device: 8 are the most", n);
  if (raw.addresses.size() != n || raw.relays.size() != n) {
    problems.add(
        "{} times --device, {} times --address, {} times --relay: give one of each per "
        "device, in the same order",
        n, raw.addresses.size(), raw.relays.size());
  }
  if (!raw.relay_macs.empty() && raw.relay_macs.size() != n) {
    problems.add("--relay-mac stands {} times: give none, or one per device",
                 raw.relay_macs.size());
  }
  for (size_t i = 0; i < n && i < raw.addresses.size() && i < raw.relays.size(); ++i) {
    DeviceOptions d;
    d.device = raw.devices[i];
    read_address(raw.addresses[i], d, problems);
    read_relay(raw.relays[i], d, problems);
    if (i < raw.relay_macs.size()) read_mac(raw.relay_macs[i], d, problems);
    out.devices.push_back(d);
  }
  for (const auto& d : out.devices) {
    if (d.v6 != out.devices[0].v6) {
      problems.add("some devices have IPv4, others IPv6: frame sizes would differ; run twice");
      break;
    }
  }
}

void read_cores(const RawOptions& raw, FleetOptions& out, Problems& problems) {
  std::vector<unsigned> cores;
  if (!raw.lcores.empty()) cores = read_numbers(raw.lcores, "--lcores", problems);
  if (cores.empty()) cores = default_cores(out.devices.size());
  if (cores.size() != out.devices.size() + 1 && !out.devices.empty()) {
    problems.add(
        "--lcores {} names {} cores: give the main one, then one for each of the {} "
        "devices; a core may stand twice",
        raw.lcores, cores.size(), out.devices.size());
    return;
  }
  out.main_core = cores[0];
  out.worker_cores.assign(cores.begin() + 1, cores.end());
}

Result<fabric::EalMode> read_mode(const std::string& text) {
  if (text == "shared") return fabric::EalMode::kShared;
  if (text == "in_memory") return fabric::EalMode::kInMemory;
  if (text == "no_huge") return fabric::EalMode::kNoHuge;
  return fail(ErrorCode::kUsage,
              fmt::format("--mode {} is not shared, in_memory or no_huge", text));
}

void read_fleet(const RawOptions& raw, FleetOptions& out, Problems& problems) {
  const auto pattern = parse_pattern(raw.pairs);
  if (!pattern) problems.add("--pairs {} is not pairs, ring or star", raw.pairs);
  out.population = {raw.agents, raw.tenant, raw.tenants, pattern.value_or(Pattern::kPairs)};
  problems.check(out.population.check());
  if (raw.seed_file.empty()) problems.add("--seed-file is missing: the one given to `trust`");
  out.seed_file = raw.seed_file;
  const auto key = parse_relay_key(raw.relay_key);
  if (!key) {
    problems.add("--relay-key is {}: give what `sluiced --join` prints",
                 raw.relay_key.empty() ? "missing" : "no key of 32 bytes in base64");
  } else {
    out.relay_key = *key;
  }
  read_devices(raw, out, problems);
  read_cores(raw, out, problems);
  const auto mode = read_mode(raw.mode);
  if (mode) out.mode = *mode;
  problems.check(mode);
  out.file_prefix = raw.file_prefix;
  out.eal_args = raw.eal_args;
  problems.range("--tx-queues", raw.queues, 1, 16);
  problems.range("--mtu", raw.mtu, 1280, 9000);
  problems.range("--descriptors", raw.descriptors, 64, 4096);
  problems.range("--window", raw.window, 1, 4096);
  problems.range("--rekey-age", raw.rekey_age, 1, 170);
  problems.range("--rekey-rate", raw.rekey_rate, 1, 100'000);
  out.queues = raw.queues;
  out.mtu = raw.mtu;
  out.descriptors = raw.descriptors;
  out.buffers = raw.buffers;
  out.window = raw.window;
  // What a relay under load takes, with a wide margin.
  out.connect_timeout_s =
      raw.connect_timeout > 0 ? raw.connect_timeout : 20 + double(raw.agents) / 100;
  out.rekey_age_s = raw.rekey_age;
  out.rekey_rate = raw.rekey_rate;
  out.presealed = raw.presealed;
  out.pcap = raw.pcap;
  out.pcap_packets = raw.pcap.empty() ? 0 : raw.pcap_packets;
}

}  // namespace

Result<Options> read_options(const RawOptions& raw, Command command) {
  Problems problems;
  Options out;
  out.raw = raw;
  read_fleet(raw, out.fleet, problems);
  const bool v6 = !out.fleet.devices.empty() && out.fleet.devices[0].v6;
  Traffic common;
  common.stray = (raw.stray >= 0 ? raw.stray : raw.queues > 1 ? 10 : 0) / 100;
  problems.range("--stray", common.stray * 100, 0, 100);
  read_traffic(raw, common, problems);
  if (command == Command::kRun) {
    problems.range("--seconds", raw.seconds, 0.1, 1e6);
    common.pps = read_rate(raw.rate, "--rate", problems);
    read_floods(raw, common, problems);
    out.traffic.push_back(common);
    read_size(raw, v6, out.traffic[0], problems);
    const auto& payloads = out.traffic[0].payloads;
    const size_t largest = overhead(v6) + *std::max_element(payloads.begin(), payloads.end());
    out.fleet.presealed_room =
        static_cast<uint16_t>((std::max<size_t>(largest, 192) + 63) / 64 * 64);
  } else {
    problems.range("--trial-seconds", raw.trial_seconds, 0.1, 3600);
    problems.range("--resolution", raw.resolution, 0.01, 50);
    problems.range("--loss-tolerance", raw.loss_tolerance, 0, 100);
    if (raw.presealed != 0) problems.add("--presealed is for run: a search has many trials");
    read_frames(raw, v6, common, out.traffic, problems);
  }
  for (auto& t : out.traffic) check_sizes(t, v6, raw.mtu, problems);
  if (problems.list.empty()) return out;
  return fail(ErrorCode::kUsage, fmt::format("{}", fmt::join(problems.list, "\n")));
}

}  // namespace sluice::pktgen
