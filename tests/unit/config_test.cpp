// The configuration loader: every mistake is found on its line with its remedy, all of them at
// once; good files give the values that they say.
#include <fmt/format.h>

#include "unit/config_fixture.h"

namespace sluice::control {
namespace {

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

TEST_F(ConfigTest, ReadsTheVaultsKeysAndRefusesMistakes) {
  const std::string good = std::string(kGood) +
                           "vault:\n  source: tpm\n  key_file: /a/k\n"
                           "  passphrase: { memory_mb: 64, passes: 1 }\n"
                           "  tpm: { tcti: \"swtpm:port=1\", pcrs: [7, 0], auth_file: /a/auth }\n";
  const auto loaded = parse_config(good, {});
  ASSERT_EQ(shown(loaded), "");
  const vault::KeySourceOptions& v = loaded.config.vault;
  EXPECT_EQ(v.source, vault::KeySource::kTpm);
  EXPECT_EQ(v.key_file, "/a/k");
  EXPECT_EQ(v.argon2, (crypto::Argon2Costs{1, 64}));
  EXPECT_EQ(v.tpm.pcrs, (std::vector<uint8_t>{0, 7}));
  const auto again = parse_config(print_config(loaded.config), {});
  ASSERT_EQ(shown(again), "");
  EXPECT_EQ(again.config.vault.tpm, v.tpm);
  const auto plain = parse_config(kGood, {});
  EXPECT_EQ(plain.config.vault.source, vault::KeySource::kFile);
  EXPECT_EQ(plain.config.vault.key_file, "/var/lib/sluice/vault.key");
  EXPECT_EQ(plain.config.vault.tpm.auth_file, "/var/lib/sluice/vault.auth");
  for (const Mistake& m : std::vector<Mistake>{
           {"source: tpm", "source: hsm",
            "vault.source: \"hsm\" is not one of file, passphrase, tpm"},
           {"key_file: /a/k", "key_file: k", "vault.key_file: \"k\" is not an absolute path"},
           {"memory_mb: 64", "memory_mb: 8", "vault.passphrase.memory_mb: 8 is out of range"},
           {"pcrs: [7, 0]", "pcrs: [24]", "vault.tpm.pcrs: \"24\" is no PCR; they are 0 to 23"},
           {"pcrs: [7, 0]", "pcrs: [7, 7]", "vault.tpm.pcrs: names one twice"},
           {"\"swtpm:port=1\"", "\"\"", "vault.tpm.tcti: is empty"},
           {"auth_file", "auth", "vault.tpm: unknown key \"auth\""}}) {
    const std::string bad = replaced(good, m.from, m.to);
    expect_only(parse_config(bad, {}), line_in(bad, m.to), m.message);
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

TEST_F(ConfigTest, ReadsHowMuchOfTheAuditLogStays) {
  const auto with = [](const std::string& keys) {
    return parse_config(std::string(kGood) + "\naudit: { " + keys + " }\n", {});
  };
  const auto none = with("folder: /a");
  ASSERT_EQ(shown(none), "");
  EXPECT_EQ(none.config.audit.keep_for_s, 0u);
  EXPECT_EQ(none.config.audit.keep_bytes, 0u);
  EXPECT_EQ(none.config.audit.alert_days, 14u);
  EXPECT_EQ(none.config.audit.when_unavailable, WhenUnavailable::kDeny);
  const auto all =
      with("keep_for: 365d, keep_bytes: 200GiB, alert_days: 0, when_unavailable: count");
  ASSERT_EQ(shown(all), "");
  EXPECT_EQ(all.config.audit.keep_for_s, 365u * 86'400);
  EXPECT_EQ(all.config.audit.keep_bytes, uint64_t{200} << 30);
  EXPECT_EQ(all.config.audit.alert_days, 0u);
  EXPECT_EQ(all.config.audit.when_unavailable, WhenUnavailable::kCount);
  const std::string printed = print_config(all.config);
  EXPECT_NE(printed.find("  keep_for: 365d\n  keep_bytes: 200GiB\n  alert_days: 0\n"
                         "  when_unavailable: count\n"),
            std::string::npos)
      << printed;
  EXPECT_EQ(with("keep_for: 90m").config.audit.keep_for_s, 5400u);
  EXPECT_EQ(with("keep_bytes: 1048576").config.audit.keep_bytes, 1u << 20);
  EXPECT_EQ(shown(with("keep_for: forever, keep_bytes: all")), "");
  for (const auto& [keys, message] : {
           std::pair{"keep_for: 0d", "audit.keep_for: \"0d\" is no time; give forever, or"},
           std::pair{"keep_for: 1y", "audit.keep_for: \"1y\" is no time"},
           std::pair{"keep_for: 99999d", "audit.keep_for: \"99999d\" is no time"},
           std::pair{"keep_bytes: 200GB", "audit.keep_bytes: \"200GB\" is no size; give all, or"},
           std::pair{"keep_bytes: -1", "audit.keep_bytes: \"-1\" is no size"},
           std::pair{"keep_bytes: 99999999TiB", "audit.keep_bytes: \"99999999TiB\" is no size"},
           std::pair{"keep_bytes: 1023KiB", "audit.keep_bytes: \"1023KiB\" is too little"},
           std::pair{"alert_days: 36501", "audit.alert_days: 36501 is out of range"},
           std::pair{"when_unavailable: ask", "is not one of deny, count"},
       }) {
    EXPECT_NE(shown(with(keys)).find(message), std::string::npos) << shown(with(keys));
  }
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

TEST_F(ConfigTest, ReadsWhatStaleControlMeansAndWhatAgentsConnectTo) {
  std::string yaml = replaced(std::string(kGood), "scheduling: auto",
                              "scheduling: auto, max_staleness_s: 7, when_stale: forward");
  yaml = replaced(yaml, "udp_port: 7600", "udp_port: 7600\n  public_host: relay.example.net");
  const auto loaded = parse_config(yaml, {});
  ASSERT_EQ(shown(loaded), "");
  EXPECT_EQ(loaded.config.max_staleness_s, 7u);
  EXPECT_EQ(loaded.config.when_stale, WhenStale::kForward);
  EXPECT_EQ(loaded.config.relay.public_host, "relay.example.net");
  const auto good = parse_config(kGood, {});
  EXPECT_EQ(good.config.max_staleness_s, 30u);
  EXPECT_EQ(good.config.when_stale, WhenStale::kRefuse);
  for (const auto& [text, what] : {std::pair{"max_staleness_s: 0", "control.max_staleness_s"},
                                   std::pair{"max_staleness_s: 3601", "control.max_staleness_s"},
                                   std::pair{"when_stale: never", "control.when_stale"}}) {
    const std::string bad =
        replaced(std::string(kGood), "scheduling: auto", std::string("scheduling: auto, ") + text);
    expect_only(parse_config(bad, {}), line_in(bad, text), what);
  }
  const std::string bad =
      replaced(std::string(kGood), "udp_port: 7600", "udp_port: 7600\n  public_host: \"a b:1\"");
  expect_only(parse_config(bad, {}), line_in(bad, "public_host"), "relay.public_host");
}

TEST_F(ConfigTest, ReadsTheAdminApiOverTls) {
  const auto with = [](const std::string& listen, const std::string& rest, const char* role) {
    return replaced(std::string(kGood), "group: sluice",
                    fmt::format("group: sluice\n  tls: {{ listen: {}, {} }}\n  roles: [{}]", listen,
                                rest, role));
  };
  const std::string files = "certificate: /a.crt, key: /a.key, client_ca: /ca.crt";
  const char* role = "{ certificate: ops, role: admin }";
  for (const auto& [listen, address, port] :
       {std::tuple{"192.0.2.1:7443", "192.0.2.1", 7443}, std::tuple{"\"[::1]:1\"", "::1", 1}}) {
    const auto loaded = parse_config(with(listen, files, role), {});
    ASSERT_EQ(shown(loaded), "");
    const auto again = parse_config(print_config(loaded.config), {});
    ASSERT_EQ(shown(again), "");
    for (const AdminTls& t : {loaded.config.admin.tls, again.config.admin.tls}) {
      EXPECT_EQ(t.address, address);
      EXPECT_EQ(t.port, port);
      EXPECT_EQ(t.certificate, "/a.crt");
      EXPECT_EQ(t.key, "/a.key");
      EXPECT_EQ(t.client_ca, "/ca.crt");
    }
  }
  EXPECT_EQ(parse_config(kGood, {}).config.admin.tls.port, 0) << "off unless it is asked for";
  for (const char* bad : {"localhost:7443", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536",
                          "\"::1:7443\"", "\"[192.0.2.1]:7443\"", "\":7443\"", "192.0.2.1:+7"}) {
    const std::string text = with(bad, files, role);
    expect_only(parse_config(text, {}), line_in(text, "tls:"), "is not ADDRESS:PORT");
  }
  for (const auto& [rest, role_text, what] :
       {std::tuple{"certificate: /a.crt, key: /a.key", role, "client_ca"},
        std::tuple{"certificate: /a.crt, client_ca: /ca.crt", role, "key"},
        std::tuple{"certificate: a.crt, key: /a.key, client_ca: /ca.crt", role, "absolute"},
        std::tuple{"certificate: /a.crt, key: /a.key, client_ca: /ca.crt",
                   "{ user: a, role: admin }", "names a certificate"}}) {
    const std::string text = with("192.0.2.1:7443", rest, role_text);
    expect_only(parse_config(text, {}), line_in(text, "tls:"), what);
  }
}

TEST_F(ConfigTest, ReadsWhatIsMeasuredAndWhereItIsServed) {
  const Config usual = parse_config(kGood, {}).config;
  EXPECT_TRUE(usual.observability.latency);
  EXPECT_EQ(usual.observability.latency_tenants, 64u);
  EXPECT_EQ(usual.observability.metrics_port, 0) << "off unless it is asked for";
  for (const auto& [listen, address] :
       {std::pair{"127.0.0.1:9090", "127.0.0.1"}, std::pair{"\"[::1]:9090\"", "::1"}}) {
    const std::string yaml =
        std::string(kGood) +
        "observability: { latency: off, latency_tenants: 3 }\nmetrics: { listen: " + listen +
        " }\n";
    const auto loaded = parse_config(yaml, {});
    ASSERT_EQ(shown(loaded), "");
    const auto again = parse_config(print_config(loaded.config), {});
    ASSERT_EQ(shown(again), "");
    for (const ObservabilityConfig& o : {loaded.config.observability, again.config.observability}) {
      EXPECT_FALSE(o.latency);
      EXPECT_EQ(o.latency_tenants, 3u);
      EXPECT_EQ(o.metrics_address, address);
      EXPECT_EQ(o.metrics_port, 9090);
    }
  }
  for (const auto& [text, what] :
       {std::pair{"metrics: { listen: 9090 }", "is not ADDRESS:PORT"},
        std::pair{"metrics: { listen: localhost:9090 }", "is not ADDRESS:PORT"},
        std::pair{"metrics: { listen: 127.0.0.1:0 }", "is not ADDRESS:PORT"},
        std::pair{"metrics: {}", "give ADDRESS:PORT"},
        std::pair{"metrics: { port: 9090, listen: 127.0.0.1:9090 }", "port"},
        std::pair{"observability: { latency: yes }", "is not one of on"},
        std::pair{"observability: { latency_tenants: 4097 }", "4096"}}) {
    const std::string yaml = std::string(kGood) + text + "\n";
    expect_only(parse_config(yaml, {}), line_in(yaml, text), what);
  }
}

TEST_F(ConfigTest, ReadsWhoMayDoWhatAtTheAdminApi) {
  const std::string roles =
      "group: sluice\n  roles: [{ user: alice, role: operator, tenant: acme }, "
      "{ user: \"1007\", role: auditor }, { certificate: ops, role: admin, tenant: \"7\" }]";
  const auto loaded = parse_config(replaced(std::string(kGood), "group: sluice", roles), {});
  ASSERT_EQ(shown(loaded), "");
  const auto& list = loaded.config.admin.roles;
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].user, "alice");
  EXPECT_EQ(list[0].role, Role::kOperator);
  EXPECT_EQ(list[0].tenant, "acme");
  EXPECT_EQ(list[1].user, "1007");
  EXPECT_EQ(list[1].role, Role::kAuditor);
  EXPECT_EQ(list[1].tenant, "");
  EXPECT_EQ(list[2].certificate, "ops");
  EXPECT_EQ(list[2].role, Role::kAdmin);
  // What is printed reads the same.
  const auto again = parse_config(print_config(loaded.config), {});
  ASSERT_EQ(shown(again), "");
  ASSERT_EQ(again.config.admin.roles.size(), 3u);
  EXPECT_EQ(again.config.admin.roles[2].tenant, "7");
  for (const auto& [entry, what] :
       {std::pair{"{ user: a }", "role"}, std::pair{"{ role: admin }", "user"},
        std::pair{"{ user: a, certificate: b, role: admin }", "stands beside user"},
        std::pair{"{ user: a, role: root }", "role"},
        std::pair{"{ user: a, role: admin, tenant: \"0\" }", "neither a tenant's name"},
        std::pair{"{ user: a, role: admin }, { user: a, role: auditor }", "has a role on line"}}) {
    const std::string bad = replaced(std::string(kGood), "group: sluice",
                                     std::string("group: sluice\n  roles: [") + entry + "]");
    expect_only(parse_config(bad, {}), line_in(bad, "roles:"), what);
  }
}

}  // namespace
}  // namespace sluice::control
