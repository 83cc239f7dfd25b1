// What the tests of the configuration share: a good file to spoil, agents with real enrolments, and
// the two ways to look at the loader's problems.
#pragma once

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
using fabric::EalMode;
using fabric::IdleMode;

inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("not in the text: " + std::string(from));
  return text.replace(at, from.size(), to);
}

// The line on which `what` first stands, from 1.
inline int line_in(const std::string& text, std::string_view what) {
  const size_t at = text.find(what);
  if (at == std::string::npos) throw std::logic_error("not in the text: " + std::string(what));
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + std::ptrdiff_t(at), '\n'));
}

inline std::string shown(const LoadedConfig& loaded) {
  return format_problems("FILE", loaded.problems);
}

inline bool reports(const LoadedConfig& loaded, int line, std::string_view what) {
  return std::any_of(loaded.problems.begin(), loaded.problems.end(), [&](const auto& p) {
    return p.line == line && p.text.find(what) != std::string::npos;
  });
}

// Exactly one problem, on that line, with those words.
inline void expect_only(const LoadedConfig& loaded, int line, std::string_view what) {
  EXPECT_EQ(loaded.problems.size(), 1u) << shown(loaded);
  EXPECT_TRUE(reports(loaded, line, what)) << "wanted line " << line << " \"" << what << "\", got\n"
                                           << shown(loaded);
}

inline constexpr std::string_view kGood = R"(log: { level: info }
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

inline void expect_each(const std::vector<Mistake>& mistakes) {
  for (const auto& m : mistakes) {
    SCOPED_TRACE(std::string(m.from) + " -> " + std::string(m.to));
    const std::string yaml = replaced(std::string(kGood), m.from, m.to);
    expect_only(parse_config(yaml, {}), line_in(yaml, m.at.empty() ? m.to : m.at), m.message);
  }
}

}  // namespace sluice::control
