// The options of `run` and `search` as typed on the command line, and what they mean. Reading them
// reports every mistake at once.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "fabric/topology.h"
#include "pktgen/population.h"
#include "pktgen/traffic.h"

namespace sluice::pktgen {

struct RawOptions {
  // Agents and relay.
  uint32_t agents = 64;
  uint16_t tenant = 7;
  uint16_t tenants = 1;
  std::string pairs = "pairs";
  std::string seed_file;
  std::string relay_key;
  // Devices.
  std::vector<std::string> devices;
  std::vector<std::string> addresses;
  std::vector<std::string> relays;
  std::vector<std::string> relay_macs;
  std::string lcores;
  std::string mode = "in_memory";
  std::string file_prefix = "sluice-pktgen";
  std::vector<std::string> eal_args;
  uint16_t queues = 1;
  double stray = -1;
  uint16_t mtu = 1500;
  uint16_t descriptors = 1024;
  uint32_t buffers = 0;
  // Sessions.
  uint32_t window = 32;
  double connect_timeout = 0;
  double rekey_age = 100;
  double rekey_rate = 200;
  // Traffic.
  std::string seal = "full";
  uint32_t frame = 0;
  int64_t payload = -1;
  bool imix = false;
  std::string order = "random";
  uint32_t presealed = 0;
  std::string open = "1/64";
  int64_t probe = -1;
  // run
  std::string rate = "max";
  double seconds = 10;
  std::vector<std::string> floods;
  double flood_from = 0;
  double flood_until = 0;
  // search
  std::string frames;
  double trial_seconds = 2;
  double resolution = 1;
  double loss_tolerance = 0;
  double max_rate = 0;
  bool latency = false;
  // Output and coordination.
  std::string json;
  std::string pcap;
  uint32_t pcap_packets = 10'000;
  bool dry = false;
  bool wait = false;
  bool hold = false;
  bool markers = false;
};

struct DeviceOptions {
  std::string device;
  bool v6 = false;
  wire::IpBytes base{};  // IPv4 in mapped form; agents have this address and those after it
  uint8_t prefix = 0;
  wire::IpBytes relay{};
  uint16_t relay_port = 0;
  wire::Mac relay_mac{};  // zeros: to be asked for
};

struct FleetOptions {
  Population population;
  std::string seed_file;
  ByteArray<32> relay_key{};
  std::vector<DeviceOptions> devices;
  unsigned main_core = 0;
  std::vector<unsigned> worker_cores;  // one per device
  fabric::EalMode mode = fabric::EalMode::kInMemory;
  std::string file_prefix;
  std::vector<std::string> eal_args;
  uint16_t queues = 1;
  uint16_t mtu = 1500;
  uint16_t descriptors = 1024;
  uint32_t buffers = 0;
  uint32_t window = 32;
  double connect_timeout_s = 0;
  double rekey_age_s = 100;
  double rekey_rate = 200;
  uint32_t presealed = 0;
  uint16_t presealed_room = 2048;  // bytes of a presealed packet's buffer
  uint32_t pcap_packets = 0;
  std::string pcap;
};

struct Options {
  FleetOptions fleet;
  std::vector<Traffic> traffic;  // one for run, one per frame size for search
  RawOptions raw;
};

enum class Command : uint8_t { kRun, kSearch };

// Fails with all mistakes, one a line.
Result<Options> read_options(const RawOptions& raw, Command command);

// The relay's public tunnel key in base64, either alphabet, or within a join string.
std::optional<ByteArray<32>> parse_relay_key(const std::string& text);

}  // namespace sluice::pktgen
