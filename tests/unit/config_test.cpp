// The configuration loader: every mistake is found on its line with its remedy, all of them at
// once; good files give the values that they say; hostile files are refused in no time.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "control.pb.h"
#include "control/config.h"
#include "crypto/identity.h"
#include "crypto/text.h"
#include "crypto/x25519.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

using fabric::EalMode;
using fabric::IdleMode;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("not in the text: " + std::string(from));
  return text.replace(at, from.size(), to);
}

// The line on which `what` first stands, from 1.
int line_in(const std::string& text, std::string_view what) {
  const size_t at = text.find(what);
  if (at == std::string::npos) throw std::logic_error("not in the text: " + std::string(what));
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + std::ptrdiff_t(at), '\n'));
}

std::string shown(const LoadedConfig& loaded) {
  return format_problems("FILE", loaded.problems);
}

bool reports(const LoadedConfig& loaded, int line, std::string_view what) {
  return std::any_of(loaded.problems.begin(), loaded.problems.end(), [&](const auto& p) {
    return p.line == line && p.text.find(what) != std::string::npos;
  });
}

// Exactly one problem, on that line, with those words.
void expect_only(const LoadedConfig& loaded, int line, std::string_view what) {
  EXPECT_EQ(loaded.problems.size(), 1u) << shown(loaded);
  EXPECT_TRUE(reports(loaded, line, what)) << "wanted line " << line << " \"" << what << "\", got\n"
                                           << shown(loaded);
}

constexpr std::string_view kGood = R"(log: { level: info }
eal:
  mode: shared
  file_prefix: sluice
  args: []
ports:
  - name: north
    device: "0000:3b:00.0"
    addresses: [192.0.2.1/24, "2001:db8::1/64"]
    mtu: 1500
    rx_descriptors: 1024
    tx_descriptors: 512
  - name: south
    device: net_af_packet0,iface=eth1
    addresses: [198.51.100.1/24]
cores:
  control: 0
  workers:
    - { core: 2, queues: [north/0, south/0] }
    - { core: 3, queues: [north/1, south/1] }
worker: { idle: spin, burst: 32 }
control: { scheduling: auto }
relay:
  state_dir: /var/lib/sluice
  key_file: /etc/sluice/relay.key
  udp_port: 7600
  ipv4_udp_checksum: false
  dscp: 0
handshake:
  under_load_per_s: 64
  under_load_burst: 8
  session_life_s: 180
  unconfirmed_s: 5
  agent_lanes: 1
limits:
  agents: 4096
  edges: 65536
  sessions: 16384
  packet_buffers: 0
admin:
  socket: /run/sluice/admin.sock
  group: sluice
)";

// An agent's enrolment as its host would print it; single fields can be made wrong.
struct AgentUnderTest {
  crypto::Identity identity = crypto::Identity::generate();
  crypto::X25519KeyPair e2e = crypto::X25519KeyPair::generate();
  std::string name;
  uint16_t tenant = 7;

  explicit AgentUnderTest(std::string n, uint16_t t = 7) : name(std::move(n)), tenant(t) {}

  std::string did() const { return crypto::to_did(identity.public_key()); }

  pb::Statement statement(const ByteArray<32>& relay) const {
    pb::Statement s;
    s.set_version(1);
    s.set_relay_key(std::string(as_text(relay)));
    s.set_tenant(tenant);
    s.set_issued_ms(1'700'000'000'000);
    s.mutable_enrol()->set_name(name);
    s.mutable_enrol()->set_e2e_key(std::string(as_text(e2e.public_key)));
    return s;
  }

  std::string sign(const pb::Statement& s,
                   const crypto::Label& label = crypto::kLabelStatement) const {
    pb::Signed out;
    out.set_statement(wire::encode_statement(s));
    out.set_signer(std::string(as_text(identity.public_key())));
    const auto signature = identity.sign(label, {as_bytes(out.statement())});
    out.set_signature(std::string(as_text(signature)));
    return crypto::to_base64(as_bytes(out.SerializeAsString()));
  }

  std::string entry(const std::string& enrol) const {
    return "    - name: " + name + "\n      did: \"" + did() +
           "\"\n      tenant: " + std::to_string(tenant) + "\n      enrol: \"" + enrol + "\"\n";
  }
  std::string entry(const ByteArray<32>& relay) const { return entry(sign(statement(relay))); }
};

class ConfigTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(crypto::init()); }
};

class ConfigFileTest : public ConfigTest {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "config-XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override {
    for (const char* name : {"/c.yaml", "/relay.key"}) unlink((folder_ + name).c_str());
    rmdir(folder_.c_str());
  }
  std::string write(const std::string& name, std::string_view content, mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(write_file(path, as_bytes(content), mode));
    return path;
  }

  std::string folder_;
};

struct Mistake {
  std::string_view from;  // in kGood
  std::string_view to;
  std::string_view message;
  std::string_view at = {};  // stands on the expected line; empty: `to` does
};

void expect_each(const std::vector<Mistake>& mistakes) {
  for (const auto& m : mistakes) {
    SCOPED_TRACE(std::string(m.from) + " -> " + std::string(m.to));
    const std::string yaml = replaced(std::string(kGood), m.from, m.to);
    expect_only(parse_config(yaml, {}), line_in(yaml, m.at.empty() ? m.to : m.at), m.message);
  }
}

TEST_F(ConfigTest, ReadsWhatTheFileSays) {
  std::string yaml(kGood);
  yaml = replaced(yaml, "mode: shared", "mode: in_memory");
  yaml = replaced(yaml, "args: []", "args: [--no-pci, \"-m\", \"512\"]");
  yaml = replaced(yaml, "idle: spin, burst: 32", "idle: backoff, burst: 64");
  yaml = replaced(yaml, "scheduling: auto", "scheduling: fifo");
  yaml = replaced(yaml, "ipv4_udp_checksum: false", "ipv4_udp_checksum: true");
  yaml = replaced(yaml, "dscp: 0", "dscp: 63");
  yaml = replaced(yaml, "session_life_s: 180", "session_life_s: 160");
  yaml = replaced(yaml, "group: sluice", "group: \"\"");
  const auto loaded = parse_config(yaml, {});
  ASSERT_EQ(shown(loaded), "");
  const auto& c = loaded.config;
  const auto& t = c.topology;
  EXPECT_EQ(t.mode, EalMode::kInMemory);
  EXPECT_EQ(t.eal_args, (std::vector<std::string>{"--no-pci", "-m", "512"}));
  ASSERT_EQ(t.ports.size(), 2u);
  EXPECT_EQ(t.ports[0].name, "north");
  EXPECT_EQ(t.ports[0].device, "0000:3b:00.0");
  EXPECT_EQ(t.ports[0].line, 7);
  EXPECT_EQ(t.ports[0].tx_descriptors, 512);
  ASSERT_EQ(t.ports[0].addresses.size(), 2u);
  EXPECT_FALSE(t.ports[0].addresses[0].v6);
  EXPECT_EQ(t.ports[0].addresses[0].prefix, 24);
  EXPECT_EQ(t.ports[0].addresses[0].ip,
            (ByteArray<16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}));
  EXPECT_TRUE(t.ports[0].addresses[1].v6);
  EXPECT_EQ(t.ports[0].addresses[1].prefix, 64);
  EXPECT_EQ(t.ports[0].addresses[1].ip[0], 0x20);
  EXPECT_EQ(t.ports[0].addresses[1].ip[15], 1);
  EXPECT_EQ(t.ports[1].device, "net_af_packet0,iface=eth1");
  EXPECT_EQ(t.ports[1].mtu, 1500);
  ASSERT_EQ(t.workers.size(), 2u);
  EXPECT_EQ(t.workers[1].core, 3u);
  ASSERT_EQ(t.workers[1].queues.size(), 2u);
  EXPECT_EQ(t.workers[1].queues[1].port, 1);
  EXPECT_EQ(t.workers[1].queues[1].queue, 1);
  EXPECT_EQ(t.rx_queues(0), 2);
  EXPECT_EQ(t.idle, IdleMode::kBackoff);
  EXPECT_EQ(t.burst, 64);
  EXPECT_EQ(c.scheduling, ControlScheduling::kFifo);
  EXPECT_EQ(c.relay.key_file, "/etc/sluice/relay.key");
  EXPECT_TRUE(c.relay.ipv4_udp_checksum);
  EXPECT_EQ(c.relay.dscp, 63);
  EXPECT_EQ(c.handshake.session_life_s, 160u);
  EXPECT_EQ(c.admin.group, "");
}

TEST_F(ConfigTest, EverythingButPortsAndWorkersHasADefault) {
  const auto loaded = parse_config(
      "ports:\n  - { name: a, device: net_null0 }\ncores:\n  workers: [{core: 0, queues: [a/0]}]\n"
      "relay: { state_dir: /srv/relay/ }\nadmin:\n",
      {});
  ASSERT_EQ(shown(loaded), "");
  EXPECT_EQ(loaded.config.relay.key_file, "/srv/relay/relay.key");
  EXPECT_EQ(loaded.config.relay.udp_port, 7600);
  EXPECT_EQ(loaded.config.limits.sessions, 16384u);
  EXPECT_EQ(loaded.config.admin.group, "sluice");
  EXPECT_EQ(loaded.config.log_level, "info");
}

TEST_F(ConfigTest, CoresMayBeShared) {
  std::string yaml = replaced(std::string(kGood), "core: 2", "core: 0");
  yaml = replaced(yaml, "core: 3", "core: 0");
  EXPECT_EQ(shown(parse_config(yaml, {})), "");
}

TEST_F(ConfigTest, AcceptsEveryKindOfDevice) {
  for (const char* device :
       {"3b:00.0", "0000:3B:1f.7", "net_af_packet1,iface=eth2", "net_af_xdp0,iface=x", "net_memif0",
        "net_ring0", "net_ring_north", "net_virtio_user0,path=/dev/vhost-net",
        "net_vhost0,iface=/s", "net_null0", "net_tap0",
        "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap"}) {
    SCOPED_TRACE(device);
    EXPECT_EQ(shown(parse_config(replaced(std::string(kGood), "0000:3b:00.0", device), {})), "");
  }
}

TEST_F(ConfigTest, RefusesMistakesOfForm) {
  expect_each({
      {"log: {", "lag: {", "unknown key \"lag\"; did you mean \"log\"?"},
      {"level: info", "level: wran",
       "log.level: \"wran\" is not one of trace, debug, info, warn, "
       "error; did you mean \"warn\"?"},
      {"udp_port:", "upd_port:", "relay: unknown key \"upd_port\"; did you mean \"udp_port\"?"},
      {"dscp: 0", "colour: 0", "relay: unknown key \"colour\"; known here: state_dir, key_file"},
      {"    mtu: 1500", "    mtu: 1500\n    mtu: 9000",
       "ports[north].mtu: is given twice (first on "
       "line 10)",
       "mtu: 9000"},
      {"admin:\n", "relay: {}\nadmin:\n", "relay: is given twice (first on line 23)", "relay: {}"},
      {"log: { level: info }", "log: 7", "log: is a single value; it needs keys, one of: level"},
      {"log: { level: info }", "log: [level]", "log: is a list; it needs keys"},
      {"mtu: 1500", "mtu: \"1500\"", "ports[north].mtu: \"1500\" is not a whole number"},
      {"mtu: 1500", "mtu: 0x5dc", "\"0x5dc\" is not a whole number"},
      {"mtu: 1500", "mtu: 01500", "\"01500\" is not a whole number"},
      {"mtu: 1500", "mtu: -1500", "\"-1500\" is not a whole number"},
      {"mtu: 1500", "mtu: [1500]", "is a list; give a single value"},
      {"mtu: 1500", "mtu:", "has no value; give one or remove the key", "mtu:"},
      {"file_prefix: sluice", "file_prefix: \"a\\x1bb\"",
       "\"a\\x1bb\" contains control characters"},
      {"ipv4_udp_checksum: false", "ipv4_udp_checksum: no", "\"no\" is neither true nor false"},
      {"addresses: [198.51.100.1/24]", "addresses: 198.51.100.1/24",
       "ports[south].addresses: is a single value; it needs a list"},
      {"file_prefix: sluice", "file_prefix: &x sluice", "anchor \"&x\": anchors are not supported"},
      {"file_prefix: sluice", "file_prefix: !!str sluice", "tags are not supported"},
      {"admin:\n", "{}: 1\nadmin:\n", "a key is missing or is not plain text", "{}: 1"},
      {"group: sluice\n", "group: sluice\n---\nlog: {}\n", "a second YAML document", "---"},
  });
}

TEST_F(ConfigTest, RefusesMistakesOfPorts) {
  expect_each({
      {"mode: shared", "mode: in-memory",
       "eal.mode: \"in-memory\" is not one of shared, in_memory, "
       "no_huge; did you mean \"in_memory\"?"},
      {"file_prefix: sluice", "file_prefix: a/b", "eal.file_prefix: \"a/b\" cannot name files"},
      {"args: []", "args: [-l, \"0-3\"]", "eal.args: \"-l\" would contradict cores; set it there"},
      {"args: []", "args: [--file-prefix=x]", "would contradict eal.file_prefix"},
      {"args: []", "args: [\"\"]", "an argument is empty"},
      {"    device: \"0000:3b:00.0\"\n", "", "ports[north].device: is missing; give a PCI address",
       "name: north"},
      {"\"0000:3b:00.0\"", "\"zzzz:3b:00.0\"", "is neither a PCI address"},
      {"\"0000:3b:00.0\"", "\"0000:3b:20.0\"", "is neither a PCI address"},
      {"\"0000:3b:00.0\"", "\"3b:00.8\"", "is neither a PCI address"},
      {"\"0000:3b:00.0\"", "\"0000:3b:00.0,x=1\"", "is neither a PCI address"},
      {"\"0000:3b:00.0\"", "eth0", "\"eth0\" is neither a PCI address (0000:3b:00.0) nor a vdev"},
      {"\"0000:3b:00.0\"", "net_af_pakcet1", "did you mean \"net_af_packet\"?"},
      {"net_af_packet0,iface=eth1", "\"3b:00.0\"",
       "PCI device 0000:3b:00.0 is used by the port on line 8"},
      {"\"0000:3b:00.0\"", "net_af_packet0,iface=eth2",
       "vdev net_af_packet0 is used by the port on line 8", "iface=eth1"},
      {"\"0000:3b:00.0\"", "net_af_packet7,qpairs=2,iface=eth1",
       "interface eth1 is used by the port on line 8", "net_af_packet0"},
      {"192.0.2.1/24", "192.0.2.1", "\"192.0.2.1\" has no prefix length", "addresses: [192"},
      {"192.0.2.1/24", "192.0.2.1/33",
       "\"192.0.2.1/33\" has a wrong prefix length; give /1 to /32"},
      {"192.0.2.1/24", "192.0.2.1/0", "has a wrong prefix length"},
      {"2001:db8::1/64", "2001:db8::1/129", "has a wrong prefix length; give /1 to /128"},
      {"192.0.2.1/24", "192.0.2.300/24", "is not an IPv4 or IPv6 address"},
      {"192.0.2.1/24", "0.0.0.0/24", "is the unspecified address"},
      {"192.0.2.1/24", "224.0.0.1/24", "is a multicast address"},
      {"192.0.2.1/24", "255.255.255.255/24", "is the broadcast address"},
      {"2001:db8::1/64", "::/64", "is the unspecified address"},
      {"2001:db8::1/64", "ff02::1/64", "is a multicast address"},
      {"2001:db8::1/64", "::ffff:192.0.2.9/64", "is an IPv4 address inside IPv6"},
      {"198.51.100.1/24", "192.0.2.1/25", "\"192.0.2.1/25\" is given already on line 9"},
      {"198.51.100.1/24", "\"2001:DB8:0::1/48\"", "is given already on line 9"},
      {"mtu: 1500", "mtu: 1279", "ports[north].mtu: 1279 is out of range; give 1280 to 9000"},
      {"mtu: 1500", "mtu: 9001", "9001 is out of range"},
      {"mtu: 1500", "mtu: 99999999999999999999999", "99999999999999999999999 is out of range"},
      {"rx_descriptors: 1024", "rx_descriptors: 32", "32 is out of range; give 64 to 4096"},
      {"rx_descriptors: 1024", "rx_descriptors: 8192", "8192 is out of range"},
      {"tx_descriptors: 512", "tx_descriptors: 1000",
       "ports[north].tx_descriptors: 1000 is not a power of two; give 512 or 1024"},
  });
}

// The queues that named the port by its good name are reported beside it.
TEST_F(ConfigTest, RefusesMistakesOfPortNames) {
  const auto expect = [](const std::string& to, int line, std::string_view message) {
    SCOPED_TRACE(to);
    const auto loaded = parse_config(replaced(std::string(kGood), "  - name: south\n", to), {});
    EXPECT_TRUE(reports(loaded, line, message)) << shown(loaded);
  };
  expect("  - name: North\n", 13, "ports[North].name: \"North\" is not a port name; give 1 to 31");
  expect("  - name: a_b\n", 13, "\"a_b\" is not a port name");
  expect("  - name: \"\"\n", 13, "\"\" is not a port name");
  expect("  - name: " + std::string(32, 'p') + "\n", 13, "is not a port name");
  expect("  - name: north\n", 13, "ports[north].name: \"north\" is taken by the port on line 7");
  expect("  -\n", 14, "ports[2].name: is missing; give the port a name");
  expect("  -\n", 19, "\"south/0\" names no port; list it under ports");
}

TEST_F(ConfigTest, RefusesMistakesOfCores) {
  expect_each({
      {"control: 0\n", "control: 1024\n", "cores.control: 1024 is out of range; give 0 to 1023"},
      {"core: 3", "core: 1024", "cores.workers[2].core: 1024 is out of range"},
      {"core: 3, ", "", "cores.workers[2].core: is missing", "north/1"},
      {"[north/1, south/1]", "[north/1, soth/1]",
       "cores.workers[2].queues: \"soth/1\" names no port; did you mean \"south\"?"},
      {"[north/1, south/1]", "[north/1, wan/1]", "names no port; list it under ports"},
      {"[north/1, south/1]", "[north/1, south]", "\"south\" is not a queue; write port/number"},
      {"[north/1, south/1]", "[north/1, south/x]", "\"south/x\" is not a queue"},
      {"[north/1, south/1]", "[north/1, south/2000]", "queues are numbered 0 to 1023"},
      {"[north/1, south/1]", "[north/1, south/0]",
       "\"south/0\" is listed already on line 19; a queue belongs to one worker"},
      {"[north/1, south/1]", "[north/1, north/1]", "\"north/1\" is listed already on line 20"},
      {"[north/1, south/1]", "[north/1, south/3]",
       "queue 3 of port \"south\" is listed, but its queue 1 belongs to no worker"},
      {"[north/0, south/0]", "[north/0]",
       "queue 1 of port \"south\" is listed, but its queue 0 "
       "belongs to no worker",
       "south/1"},
      {"queues: [north/1, south/1]", "queues: []",
       "cores.workers[2].queues: is empty; list what it"},
      {", queues: [north/1, south/1]", "", "cores.workers[2].queues: is missing", "core: 3"},
      {"queues: [north/1, south/1]", "queues: north/1", "is a single value; it needs a list"},
      {"idle: spin", "idle: sleep", "worker.idle: \"sleep\" is not one of spin, backoff"},
      {"burst: 32", "burst: 0", "worker.burst: 0 is out of range; give 1 to 64"},
      {"burst: 32", "burst: 65", "65 is out of range"},
  });
  std::string yaml = replaced(std::string(kGood), "[north/0, south/0]", "[north/0]");
  yaml = replaced(yaml, "[north/1, south/1]", "[north/1]");
  expect_only(parse_config(yaml, {}), 13, "no worker reads \"south\"; add its queue 0");
}

TEST_F(ConfigTest, RefusesWhatIsMissing) {
  const auto none = parse_config("log: { level: info }\n", {});
  EXPECT_EQ(none.problems.size(), 2u) << shown(none);
  EXPECT_TRUE(reports(none, 0, "ports: is missing; list at least one port")) << shown(none);
  EXPECT_TRUE(reports(none, 0, "cores.workers: is missing; list at least one worker"))
      << shown(none);
  const auto bare = parse_config("log: {}\nports: []\ncores:\n  control: 1\n  workers:\n", {});
  EXPECT_EQ(bare.problems.size(), 2u) << shown(bare);
  EXPECT_TRUE(reports(bare, 2, "ports: is empty; list at least one port")) << shown(bare);
  EXPECT_TRUE(reports(bare, 5, "cores.workers: is empty; list at least one worker")) << shown(bare);
}

TEST_F(ConfigTest, RefusesMorePortsAndWorkersThanThereCanBe) {
  for (const unsigned extra : {0u, 1u}) {
    std::string ports = "ports:\n", workers = "cores:\n  workers:\n", all;
    for (unsigned i = 0; i < fabric::kMaxPorts + extra; ++i) {
      ports +=
          "  - { name: p" + std::to_string(i) + ", device: net_null" + std::to_string(i) + " }\n";
      all += (i > 0 ? ", p" : "p") + std::to_string(i) + "/0";
    }
    const std::string one = "    - { core: 1, queues: [" + all + "] }\n";
    const auto many_ports = parse_config(ports + workers + one, {});
    if (extra == 0) {
      EXPECT_EQ(shown(many_ports), "");
    } else {
      expect_only(many_ports, 18, "17 ports are listed; a relay drives at most 16");
    }
    for (unsigned i = 0; i < fabric::kMaxWorkers + extra; ++i) {
      workers += "    - { core: 1, queues: [p/" + std::to_string(i) + "] }\n";
    }
    const auto many_workers =
        parse_config("ports: [{ name: p, device: net_null0 }]\n" + workers, {});
    if (extra == 0) {
      EXPECT_EQ(shown(many_workers), "");
    } else {
      expect_only(many_workers, 68, "65 workers are listed; a relay runs at most 64");
    }
  }
}

TEST_F(ConfigTest, RefusesMistakesOfServices) {
  const std::string long_socket = "socket: /" + std::string(107, 's');
  expect_each({
      {"scheduling: auto", "scheduling: rt", "control.scheduling: \"rt\" is not one of auto, fifo"},
      {"state_dir: /var/lib/sluice", "state_dir: var/lib",
       "relay.state_dir: \"var/lib\" is not an absolute path; begin it with /"},
      {"/etc/sluice/relay.key", "relay.key",
       "relay.key_file: \"relay.key\" is not an absolute path"},
      {"/etc/sluice/relay.key", "/etc/sluice/", "ends with /; name the file itself"},
      {"udp_port: 7600", "udp_port: 0", "relay.udp_port: 0 is out of range; give 1 to 65535"},
      {"udp_port: 7600", "udp_port: 65536", "65536 is out of range"},
      {"dscp: 0", "dscp: 64", "relay.dscp: 64 is out of range; give 0 to 63"},
      {"under_load_per_s: 64", "under_load_per_s: 0", "handshake.under_load_per_s: 0 is out of"},
      {"under_load_burst: 8", "under_load_burst: 0", "handshake.under_load_burst: 0 is out of"},
      {"session_life_s: 180", "session_life_s: 149", "149 is out of range; give 150 to 180"},
      {"session_life_s: 180", "session_life_s: 181", "181 is out of range"},
      {"unconfirmed_s: 5", "unconfirmed_s: 0", "handshake.unconfirmed_s: 0 is out of range"},
      {"agent_lanes: 1", "agent_lanes: 9", "handshake.agent_lanes: 9 is out of range; give 1 to 8"},
      {"agents: 4096", "agents: 0", "limits.agents: 0 is out of range; give 1 to 1000000"},
      {"agents: 4096", "agents: 1000001", "1000001 is out of range"},
      {"edges: 65536", "edges: 1", "limits.edges: 1 is out of range; give 2 to 16000000"},
      {"edges: 65536", "edges: 16000001", "16000001 is out of range"},
      {"sessions: 16384", "sessions: 1", "limits.sessions: 1 is out of range; give 2 to 4000000"},
      {"sessions: 16384", "sessions: 4000001", "4000001 is out of range"},
      {"packet_buffers: 0", "packet_buffers: 7", "limits.packet_buffers: 7 is too few"},
      {"/run/sluice/admin.sock", "admin.sock", "admin.socket: \"admin.sock\" is not an absolute"},
      {"socket: /run/sluice/admin.sock", long_socket,
       "admin.socket: is 108 bytes long; a Unix socket's path has at most 107"},
      {"group: sluice", "group: \"a b\"", "admin.group: \"a b\" is not a group's name"},
  });
  const std::string fits = long_socket.substr(0, long_socket.size() - 1);
  EXPECT_EQ(
      shown(parse_config(replaced(std::string(kGood), "socket: /run/sluice/admin.sock", fits), {})),
      "");
}

// What is listed here is listed in the result: no mistake hides another.
TEST_F(ConfigTest, ReportsManyMistakesAtOnceSortedByLine) {
  const auto loaded = parse_config(R"(log: { level: loud }
eal:
  mode: huge
  fileprefix: x
ports:
  - name: North!
    device: eth0
    addresses: [10.0.0.1, 224.0.0.1/8]
    mtu: 100
    rx_descriptors: 1000
    tx_descriptors: many
  - name: south
    device: net_null0
    device: net_null1
    addresses: [10.0.0.9/8]
  - name: west
    device: net_null0
    addresses: [10.0.0.9/8]
cores:
  control: 4096
  workers:
    - { core: -1, queues: [south/0, south/0, sauth/1] }
    - { core: 1, queues: [] }
worker: { idle: never, burst: 1000 }
relay:
  state_dir: here
  udp_port: 70000
  dscp: 99
handshake: { session_life_s: 10, agent_lanes: 0 }
limits: { sessions: 0 }
admin: { socket: admin.sock }
trust:
  agents:
    - { name: -x, did: nobody, tenant: 0, enrol: "" }
  pairs:
    - { from: alpha, to: alpha, forward: yes }
)",
                                   {});
  const std::vector<std::pair<int, std::string_view>> wanted = {
      {1, "log.level: \"loud\""},
      {3, "eal.mode: \"huge\""},
      {4, "eal: unknown key \"fileprefix\"; did you mean \"file_prefix\"?"},
      {6, "\"North!\" is not a port name"},
      {6, "no worker reads \"North!\""},
      {7, "\"eth0\" is neither"},
      {8, "\"10.0.0.1\" has no prefix length"},
      {8, "\"224.0.0.1/8\" is a multicast address"},
      {9, "mtu: 100 is out of range"},
      {10, "rx_descriptors: 1000 is not a power of two"},
      {11, "tx_descriptors: \"many\" is not a whole number"},
      {14, "device: is given twice (first on line 13)"},
      {16, "no worker reads \"west\""},
      {17, "vdev net_null0 is used by the port on line 13"},
      {18, "\"10.0.0.9/8\" is given already on line 15"},
      {20, "cores.control: 4096"},
      {22, "core: \"-1\" is not a whole number"},
      {22, "\"south/0\" is listed already on line 22"},
      {22, "\"sauth/1\" names no port; did you mean \"south\"?"},
      {23, "cores.workers[2].queues: is empty"},
      {24, "worker.idle: \"never\""},
      {24, "worker.burst: 1000"},
      {26, "relay.state_dir: \"here\""},
      {27, "relay.udp_port: 70000"},
      {28, "relay.dscp: 99"},
      {29, "handshake.session_life_s: 10"},
      {29, "handshake.agent_lanes: 0"},
      {30, "limits.sessions: 0"},
      {31, "admin.socket: \"admin.sock\""},
      {34, "trust.agents[-x].name: \"-x\" is not an agent's name"},
      {34, "trust.agents[-x].did: \"nobody\" is not the did:key"},
      {34, "trust.agents[-x].tenant: 0 is out of range"},
      {36, "trust.pairs[1].from: no agent is called \"alpha\"; list it under trust.agents"},
      {36, "trust.pairs[1].to: no agent is called \"alpha\""},
      {36, "trust.pairs[1].forward: \"yes\" is not one of may_send, may_open, reply_only"},
  };
  for (const auto& [line, text] : wanted) {
    EXPECT_TRUE(reports(loaded, line, text)) << line << " " << text;
  }
  EXPECT_EQ(loaded.problems.size(), wanted.size()) << shown(loaded);
  EXPECT_TRUE(std::is_sorted(loaded.problems.begin(), loaded.problems.end(),
                             [](const auto& a, const auto& b) { return a.line < b.line; }));
}

TEST_F(ConfigTest, FormatsProblemsLikeACompiler) {
  EXPECT_EQ(format_problems("/etc/s.yaml", {{0, "a"}, {7, "b"}}),
            "/etc/s.yaml: a\n/etc/s.yaml:7: b");
  EXPECT_EQ(format_problems("/etc/s.yaml", {}), "");
}

class ConfigTrustTest : public ConfigTest {
 protected:
  static std::string with(const std::string& trust) {
    return std::string(kGood) + "trust:\n" + trust;
  }
  LoadedConfig parse(const std::string& trust) const { return parse_config(with(trust), relay_); }
  // An otherwise good file whose only agent is `entry`; the problem stands in the line with `at`.
  void expect_refused(const std::string& entry, std::string_view at,
                      std::string_view message) const {
    const std::string yaml = with("  agents:\n" + entry);
    expect_only(parse_config(yaml, relay_), line_in(yaml, at), message);
  }

  ByteArray<32> relay_ = crypto::X25519KeyPair::generate().public_key;
  AgentUnderTest alpha_{"alpha"};
  AgentUnderTest beta_{"beta"};
  AgentUnderTest gamma_{"gamma", 8};
};

TEST_F(ConfigTrustTest, ReadsAgentsAndPairs) {
  const auto loaded = parse("  agents:\n" + alpha_.entry(relay_) + beta_.entry(relay_) +
                            "  pairs:\n    - { from: alpha, to: beta, backward: reply_only }\n");
  ASSERT_EQ(shown(loaded), "");
  const auto& trust = loaded.config.trust;
  ASSERT_EQ(trust.agents.size(), 2u);
  EXPECT_EQ(trust.agents[1].name, "beta");
  EXPECT_EQ(trust.agents[1].tenant, 7);
  EXPECT_EQ(trust.agents[1].identity, beta_.identity.public_key());
  EXPECT_EQ(trust.agents[1].e2e_key, beta_.e2e.public_key);
  EXPECT_EQ(crypto::to_base64(trust.agents[1].enrol), beta_.sign(beta_.statement(relay_)));
  EXPECT_EQ(trust.agents[1].line,
            line_in(with("  agents:\n" + alpha_.entry(relay_)), "trust:") + 6);
  ASSERT_EQ(trust.pairs.size(), 1u);
  EXPECT_EQ(trust.pairs[0].forward, EdgeRight::kMaySend);
  EXPECT_EQ(trust.pairs[0].backward, EdgeRight::kReplyOnly);
}

TEST_F(ConfigTrustTest, WithoutARelayKeyOnlyTheRelayIsUnchecked) {
  const ByteArray<32> other = crypto::X25519KeyPair::generate().public_key;
  EXPECT_EQ(shown(parse_config(with("  agents:\n" + alpha_.entry(other)), std::nullopt)), "");
  pb::Statement nobodys = alpha_.statement(other);
  nobodys.set_relay_key("short");
  const std::string yaml = with("  agents:\n" + alpha_.entry(alpha_.sign(nobodys)));
  expect_only(parse_config(yaml, std::nullopt), line_in(yaml, "enrol:"),
              "was printed for another relay");
  expect_refused(alpha_.entry(other), "enrol:",
                 "trust.agents[alpha].enrol: was printed for another relay; run sluice-agent init "
                 "with this relay's join string");
}

TEST_F(ConfigTrustTest, RefusesStatementsThatDoNotFit) {
  const pb::Statement good = alpha_.statement(relay_);
  const auto refuse = [&](const pb::Statement& s, std::string_view message) {
    expect_refused(alpha_.entry(alpha_.sign(s)), "enrol:", message);
  };
  pb::Statement s = good;
  s.set_tenant(8);
  refuse(s, "was printed for tenant 8, not 7");
  s = good;
  s.mutable_enrol()->set_name("alpha2");
  refuse(s, "was printed for the name \"alpha2\", not \"alpha\"");
  s = good;
  s.mutable_enrol()->set_e2e_key(std::string(31, 'k'));
  refuse(s, "lacks its 32-byte end-to-end key");
  s = good;
  s.set_relay_key("short");
  refuse(s, "was printed for another relay");
  s = good;
  s.mutable_trust_revoke()->set_reason("x");
  refuse(s, "is a statement of another type");
  s = good;
  s.set_version(2);
  refuse(s, "version is not 1");
}

TEST_F(ConfigTrustTest, RefusesStatementsThatAreNotSignedByTheAgent) {
  const pb::Statement good = alpha_.statement(relay_);
  expect_refused(alpha_.entry(alpha_.sign(good, crypto::kLabelHello)),
                 "enrol:", "has a wrong signature");
  expect_refused(alpha_.entry(beta_.sign(good)), "enrol:", "was signed by another identity");
  Buffer bytes = *crypto::from_base64(alpha_.sign(good));
  bytes.back() ^= 1;
  expect_refused(alpha_.entry(crypto::to_base64(bytes)), "enrol:", "has a wrong signature");
  bytes.pop_back();
  expect_refused(alpha_.entry(crypto::to_base64(bytes)), "enrol:", "is not valid protobuf");
  expect_refused(alpha_.entry("no base64!"), "enrol:", "is not base64");
  expect_refused(alpha_.entry(""), "enrol:", "lacks its signer or signature");
  // Signed by beta, with alpha's key put in: the signer alone proves nothing.
  pb::Signed forged;
  const Buffer by_beta = *crypto::from_base64(beta_.sign(good));
  ASSERT_TRUE(wire::parse_signed(by_beta, forged));
  forged.set_signer(std::string(as_text(alpha_.identity.public_key())));
  expect_refused(alpha_.entry(crypto::to_base64(as_bytes(forged.SerializeAsString()))),
                 "enrol:", "has a wrong signature");
}

TEST_F(ConfigTrustTest, RefusesMistakesOfAgents) {
  const std::string good = alpha_.entry(relay_);
  const auto refuse = [&](std::string_view from, std::string_view to, std::string_view at,
                          std::string_view message) {
    expect_refused(replaced(good, from, to), at, message);
  };
  refuse("name: alpha", "name: Alpha", "name: Alpha", "\"Alpha\" is not an agent's name");
  refuse("name: alpha", "name: " + std::string(64, 'a'), "name: aa", "is not an agent's name");
  refuse("name: alpha\n      did", "did", "did:", "trust.agents[1].name: is missing");
  refuse("did:key:z6Mk", "did:key:z7Mk", "did:key:z7Mk", "is not the did:key of an Ed25519 key");
  refuse("tenant: 7", "tenant: 65536", "tenant: 65536", "65536 is out of range; give 1 to 65535");
  refuse("tenant: 7\n", "tenant: 7\n      key: x\n", "key: x", "trust.agents[alpha]: unknown key");
  refuse("      tenant: 7\n", "", "name: alpha", "trust.agents[alpha].tenant: is missing");
}

TEST_F(ConfigTrustTest, RefusesAWeakIdentity) {
  // y = 1: the neutral element, of order 1.
  crypto::PublicKey weak{};
  weak[0] = 1;
  const std::string entry = replaced(alpha_.entry(relay_), alpha_.did(), crypto::to_did(weak));
  expect_refused(entry, "did:", "is a weak key, outside the prime-order group");
}

TEST_F(ConfigTrustTest, RefusesWhatIsListedTwice) {
  AgentUnderTest twin("alpha", 9);
  const std::string first = alpha_.entry(relay_);
  std::string yaml = with("  agents:\n" + first + twin.entry(relay_));
  const int at = line_in(yaml, "- name: alpha");
  expect_only(parse_config(yaml, relay_), at + 4,
              "\"alpha\" is taken by the agent on line " + std::to_string(at));
  AgentUnderTest renamed("other");
  renamed.identity = crypto::Identity::from_seed(alpha_.identity.seed());
  yaml = with("  agents:\n" + first + renamed.entry(relay_));
  expect_only(parse_config(yaml, relay_), at + 5,
              "is the identity of the agent on line " + std::to_string(at + 1) + " too");
}

TEST_F(ConfigTrustTest, RefusesMistakesOfPairs) {
  const std::string agents =
      "  agents:\n" + alpha_.entry(relay_) + beta_.entry(relay_) + gamma_.entry(relay_);
  const auto refuse = [&](std::string_view pair, std::string_view message) {
    SCOPED_TRACE(pair);
    const std::string yaml = with(agents + "  pairs:\n    - " + std::string(pair) + "\n");
    expect_only(parse_config(yaml, relay_), line_in(yaml, pair), message);
  };
  refuse("{ from: alpha, to: bета }", "trust.pairs[1].to: no agent is called");
  refuse("{ from: alhpa, to: beta }", "no agent is called \"alhpa\"; did you mean \"alpha\"?");
  refuse("{ from: alpha, to: alpha }", "\"alpha\" would be paired with itself");
  refuse("{ from: alpha }", "trust.pairs[1].to: is missing");
  refuse("{ from: alpha, to: beta, forward: may_sned }", "did you mean \"may_send\"?");
  refuse("{ from: alpha, to: beta, both: may_send }", "unknown key \"both\"");
  refuse("{ from: alpha, to: gamma }",
         "\"alpha\" is in tenant 7 and \"gamma\" in tenant 8; a pair across tenants needs the "
         "operators of both");
  for (const char* again : {"{ from: alpha, to: beta }", "{ from: beta, to: alpha }"}) {
    const std::string yaml =
        with(agents + "  pairs:\n    - { from: alpha, to: beta }\n    - " + again + "  # again\n");
    const int first = line_in(yaml, "pairs:") + 1;
    expect_only(parse_config(yaml, relay_), first + 1,
                "are paired on line " + std::to_string(first));
  }
}

TEST_F(ConfigTrustTest, RefusesMoreThanTheLimits) {
  const std::string trust = "  agents:\n" + alpha_.entry(relay_) + beta_.entry(relay_) +
                            "  pairs:\n    - { from: alpha, to: beta }\n";
  const std::string yaml = replaced(with(trust), "agents: 4096", "agents: 1");
  expect_only(parse_config(yaml, relay_), line_in(yaml, "name: beta"),
              "2 agents are listed, but limits.agents is 1; raise it");
  const std::string third = with("  agents:\n" + alpha_.entry(relay_) + beta_.entry(relay_) +
                                 AgentUnderTest("delta").entry(relay_) +
                                 "  pairs:\n    - { from: alpha, to: beta }\n"
                                 "    - { from: alpha, to: delta }\n");
  EXPECT_EQ(shown(parse_config(replaced(third, "edges: 65536", "edges: 4"), relay_)), "");
  expect_only(parse_config(replaced(third, "edges: 65536", "edges: 3"), relay_),
              line_in(third, "to: delta"),
              "2 pairs are listed, which takes 4 edges, but limits.edges is 3; raise it");
}

TEST_F(ConfigTrustTest, PrintsWhatItReads) {
  std::string yaml = with("  agents:\n" + alpha_.entry(relay_) + beta_.entry(relay_) +
                          "  pairs:\n    - { from: beta, to: alpha, forward: may_open, backward: "
                          "reply_only }\n");
  yaml = replaced(yaml, "mode: shared", "mode: no_huge");
  yaml = replaced(yaml, "args: []", "args: ['a\"b\\c', \"ü ö\", \"# no comment\", \"true\"]");
  yaml = replaced(yaml, "group: sluice", "group: \"\"");
  yaml = replaced(yaml, "level: info", "level: debug");
  yaml = replaced(yaml, "burst: 32", "burst: 16");
  yaml = replaced(yaml, "scheduling: auto", "scheduling: normal");
  const auto first = parse_config(yaml, relay_);
  ASSERT_EQ(shown(first), "");
  const std::string printed = print_config(first.config);
  const auto second = parse_config(printed, relay_);
  EXPECT_EQ(shown(second), "") << printed;
  EXPECT_EQ(print_config(second.config), printed);
  const auto& c = second.config;
  EXPECT_EQ(c.topology.eal_args,
            (std::vector<std::string>{"a\"b\\c", "ü ö", "# no comment", "true"}));
  EXPECT_EQ(c.topology.mode, EalMode::kNoHuge);
  EXPECT_EQ(c.topology.ports[0].addresses[1].ip, first.config.topology.ports[0].addresses[1].ip);
  EXPECT_EQ(c.topology.burst, 16);
  EXPECT_EQ(c.topology.workers[1].queues[1].port, 1);
  EXPECT_EQ(c.log_level, "debug");
  EXPECT_EQ(c.scheduling, ControlScheduling::kNormal);
  EXPECT_EQ(c.relay.key_file, "/etc/sluice/relay.key");
  EXPECT_EQ(c.admin.group, "");
  EXPECT_EQ(c.trust.agents[0].enrol, first.config.trust.agents[0].enrol);
  EXPECT_EQ(c.trust.pairs[0].forward, EdgeRight::kMayOpen);
  EXPECT_EQ(c.trust.pairs[0].backward, EdgeRight::kReplyOnly);
}

TEST_F(ConfigTest, RefusesWhatIsNotYaml) {
  const auto expect = [](std::string_view yaml, int line, std::string_view message) {
    SCOPED_TRACE(std::string(yaml.substr(0, 40)));
    expect_only(parse_config(yaml, {}), line, message);
  };
  expect("", 0, "the file is empty; start from config/sluiced.yaml");
  expect("# only\n\n# comments\n", 0, "the file is empty");
  expect("~\n", 0, "the file is empty");
  expect("- a\n- b\n", 1, "does not consist of \"key: value\" lines");
  expect("just text\n", 1, "does not consist of \"key: value\" lines");
  expect("log:\n\tlevel: info\n", 2, "indented with a tab; YAML wants spaces");
  expect("log: {\n level: info\n", 3, "the file ends inside quotes or brackets; close them");
  expect("log: [}\n", 1, "not valid YAML at column");
  expect("log:\n   level: info\n  x: 1\n", 3, "not valid YAML at column");
  expect("log: \"open\n", 2, "the file ends inside quotes or brackets; close them");
  expect("log: 'open", 1, "the file ends inside quotes or brackets; close them");
  expect(std::string_view("log: {}\n\0junk", 13), 2, "not text: byte 0x00");
  expect("log: {}\n\x04junk", 2, "not text: byte 0x04");
  expect(
      "\x7f"
      "ELF\x02\x01",
      1, "not text: byte 0x7f");
  expect("log: {}\n# \xc3\x28\n", 2, "not text: byte 0xc3 is not UTF-8");
  expect("# \xed\xa0\x80\n", 1, "not UTF-8");
  expect("# \xf4\x90\x80\x80\n", 1, "not UTF-8");
  expect("# \xc0\x80\n", 1, "not UTF-8");
  expect("log: {}\r# old Mac\r", 1, "byte 0x0d");
  expect("a: " + std::string(20, '[') + std::string(20, ']'), 1, "nested deeper than 16 levels");
  expect("log: {}\nlong: " + std::string(65536, 'x'), 2, "longer than 65536 bytes");
  expect(std::string((4u << 20) + 1, ' '), 0, "the file is larger than 4 MiB");
  EXPECT_EQ(shown(parse_config("\xef\xbb\xbf" + std::string(kGood) + "# grüß 😀\r\n", {})), "");
}

TEST_F(ConfigTest, ReadsWindowsLineEnds) {
  std::string yaml;
  for (const char c : kGood) yaml += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(shown(parse_config(yaml, {})), "");
  expect_only(parse_config(replaced(yaml, "mtu: 1500", "mtu: 1"), {}), 10,
              "mtu: 1 is out of range");
}

TEST_F(ConfigTest, RefusesAliasesWithoutExpandingThem) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 60; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int k = 0; k < 9; ++k) bomb += ", " + before;
    bomb += "]\n";
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto loaded = parse_config(bomb, {});
  const auto within = parse_config("ports: &p [*p]\n", {});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_TRUE(reports(loaded, 1, "anchor \"&a0\": anchors are not supported; remove it"));
  EXPECT_TRUE(reports(loaded, 2, "aliases (*name) are not supported; write the value out"));
  EXPECT_LE(loaded.problems.size(), 501u);
  EXPECT_NE(loaded.problems.back().text.find("more than 500 problems"), std::string::npos);
  EXPECT_TRUE(reports(within, 1, "aliases (*name) are not supported")) << shown(within);
}

TEST_F(ConfigTest, SurvivesDamagedFiles) {
  std::mt19937 random(7600);
  for (int round = 0; round < 3000; ++round) {
    std::string yaml(kGood);
    for (unsigned n = 1 + random() % 4; n > 0; --n) {
      static constexpr std::string_view kPieces = "[]{}:,&*!|>'\"%@`#-? \n\t~<=0";
      const size_t at = random() % yaml.size();
      switch (random() % 4) {
        case 0:
          yaml[at] = kPieces[random() % kPieces.size()];
          break;
        case 1:
          yaml.insert(at, 1, kPieces[random() % kPieces.size()]);
          break;
        case 2:
          yaml.erase(at, 1 + random() % 40);
          break;
        case 3:
          yaml[at] = static_cast<char>(random());
          break;
      }
      if (yaml.empty()) break;
    }
    const auto loaded = parse_config(yaml, {});
    if (!loaded.problems.empty()) continue;
    const std::string printed = print_config(loaded.config);
    const auto again = parse_config(printed, {});
    ASSERT_EQ(shown(again), "") << yaml << "\nprinted:\n" << printed;
    ASSERT_EQ(print_config(again.config), printed);
  }
}

TEST_F(ConfigFileTest, RefusesWhatIsNoFile) {
  expect_only(load_config(folder_ + "/none.yaml"), 0,
              "cannot open the configuration: No such file");
  expect_only(load_config(folder_), 0, "is a directory; name the YAML file in it");
  expect_only(load_config("/dev/null"), 0, "is not a regular file");
  expect_only(load_config(write("c.yaml", "")), 0, "the file is empty");
  expect_only(load_config(write("c.yaml", std::string((4u << 20) + 1, '#'))), 0, "larger than");
  EXPECT_EQ(load_config(folder_).config.relay.key_file, "/var/lib/sluice/relay.key");
}

TEST_F(ConfigFileTest, ChecksStatementsAgainstTheRelaysKeyOnceThereIsOne) {
  const auto pair = crypto::X25519KeyPair::generate();
  const AgentUnderTest ours("alpha"), theirs("beta");
  const std::string yaml =
      replaced(std::string(kGood), "/etc/sluice/relay.key", folder_ + "/relay.key") +
      "trust:\n  agents:\n" + ours.entry(pair.public_key) +
      theirs.entry(crypto::X25519KeyPair::generate().public_key);
  const std::string path = write("c.yaml", yaml);
  EXPECT_EQ(shown(load_config(path)), "");
  const std::string key = crypto::to_base64(pair.secret.view()) + "\n";
  write("relay.key", key);
  const auto loaded = load_config(path);
  ASSERT_EQ(loaded.problems.size(), 1u) << shown(loaded);
  EXPECT_NE(loaded.problems[0].text.find("trust.agents[beta].enrol: was printed for another relay"),
            std::string::npos);
  // A key that cannot be used is for whoever starts the relay to report.
  write("relay.key", key, 0644);
  EXPECT_EQ(shown(load_config(path)), "");
  write("relay.key", "no key\n");
  EXPECT_EQ(shown(load_config(path)), "");
}

TEST_F(ConfigTest, TheManualIsAGoodConfiguration) {
  const char* from_environment = std::getenv("SLUICE_SOURCE_DIR");
#ifdef SLUICE_SOURCE_DIR
  const std::string source = from_environment != nullptr ? from_environment : SLUICE_SOURCE_DIR;
#else
  ASSERT_NE(from_environment, nullptr) << "set SLUICE_SOURCE_DIR to the source folder";
  const std::string source = from_environment;
#endif
  const auto text = read_file(source + "/config/sluiced.yaml");
  ASSERT_TRUE(text) << text.error().message;
  const auto loaded = parse_config(*text, {});
  ASSERT_EQ(shown(loaded), "");
  EXPECT_EQ(loaded.config.topology.ports.size(), 2u);
  EXPECT_EQ(loaded.config.topology.workers.size(), 4u);
  // What the manual shows as a value is the default, and it names every key.
  Config expected;
  expected.topology.ports = loaded.config.topology.ports;
  expected.topology.workers = loaded.config.topology.workers;
  expected.relay.key_file = "/var/lib/sluice/relay.key";
  EXPECT_EQ(print_config(loaded.config), print_config(expected));
  const std::string printed = print_config(loaded.config);
  for (size_t at = 0, end; at < printed.size(); at = end + 1) {
    end = printed.find('\n', at);
    const std::string line = printed.substr(at, end - at);
    const size_t key = line.find_first_not_of(" -");
    const std::string name = line.substr(key, line.find(':') - key + 1);
    EXPECT_NE(text->find(name), std::string::npos) << name << " is not in the manual";
  }
}

}  // namespace
}  // namespace sluice::control
