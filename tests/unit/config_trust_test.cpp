// The trust section: only what its agents signed for this relay is taken; rates and seals; what is
// printed is read back.
#include "unit/config_fixture.h"

namespace sluice::control {
namespace {

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

TEST_F(ConfigTrustTest, RefusesMoreTenantsThanTheLimit) {
  const std::string yaml = replaced(with("  tenants:\n    - { id: 7, rate: { packets_per_s: 1 } }\n"
                                         "    - { id: 8, rate: { packets_per_s: 1 } }\n"),
                                    "agents: 4096", "tenants: 1\n  agents: 4096");
  expect_only(parse_config(yaml, relay_), line_in(yaml, "id: 8"),
              "2 tenants are listed, but limits.tenants is 1; raise it");
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

TEST_F(ConfigTrustTest, ReadsSealsAndRates) {
  const std::string with_rate =
      alpha_.entry(relay_) + "      rate: { packets_per_s: 1000000000 }\n";
  const auto loaded = parse(
      "  tenants:\n    - { id: 7, rate: { bytes_per_s: 1000000000000, burst_ms: 10000 } }\n"
      "  agents:\n" +
      with_rate + beta_.entry(relay_) + gamma_.entry(relay_) +
      "  pairs:\n    - from: alpha\n      to: beta\n      seal: header\n"
      "      forward_rate: { packets_per_s: 5, bytes_per_s: 9000, burst_ms: 1 }\n");
  ASSERT_EQ(shown(loaded), "");
  const auto& trust = loaded.config.trust;
  ASSERT_EQ(trust.tenants.size(), 1u);
  EXPECT_EQ(trust.tenants[0].id, 7);
  EXPECT_EQ(trust.tenants[0].rate, (RateConfig{0, 1'000'000'000'000, 10'000}));
  EXPECT_EQ(trust.agents[0].rate, (RateConfig{1'000'000'000, 0, 10}));
  EXPECT_FALSE(trust.agents[1].rate.limited());
  EXPECT_EQ(trust.pairs[0].seal, fabric::SealPolicy::kHeader);
  EXPECT_EQ(trust.pairs[0].forward_rate, (RateConfig{5, 9000, 1}));
  EXPECT_FALSE(trust.pairs[0].backward_rate.limited());
  const std::string printed = print_config(loaded.config);
  const auto again = parse_config(printed, relay_);
  EXPECT_EQ(shown(again), "") << printed;
  EXPECT_EQ(print_config(again.config), printed);
  EXPECT_EQ(again.config.trust.tenants[0].rate, trust.tenants[0].rate);
  EXPECT_EQ(again.config.trust.agents[0].rate, trust.agents[0].rate);
  EXPECT_EQ(again.config.trust.pairs[0].forward_rate, trust.pairs[0].forward_rate);
  EXPECT_EQ(again.config.trust.pairs[0].seal, trust.pairs[0].seal);
}

TEST_F(ConfigTrustTest, RefusesMistakesOfSealsAndRates) {
  const std::string agents = "  agents:\n" + alpha_.entry(relay_) + beta_.entry(relay_);
  const auto refuse = [&](const std::string& trust, std::string_view at, std::string_view what) {
    SCOPED_TRACE(at);
    const std::string yaml = with(trust);
    expect_only(parse_config(yaml, relay_), line_in(yaml, at), what);
  };
  const auto pair = [&](const std::string& rest, std::string_view what) {
    refuse(agents + "  pairs:\n    - { from: alpha, to: beta, " + rest + " }\n", rest, what);
  };
  pair("seal: heder", "trust.pairs[1].seal: \"heder\" is not one of full, header, any");
  pair("forward_rate: {}",
       "forward_rate: limits nothing; give packets_per_s, bytes_per_s, calls_per_s");
  pair("backward_rate: { burst_ms: 5 }", "backward_rate: limits nothing");
  pair("forward_rate: { packets_per_s: 0 }", "packets_per_s: 0 is out of range");
  pair("forward_rate: { packets_per_s: 1000000001 }", "out of range; give 1 to 1000000000");
  pair("forward_rate: { bytes_per_s: 1000000000001 }", "out of range");
  pair("forward_rate: { bytes_per_s: 10, burst_ms: 0 }", "burst_ms: 0 is out of range");
  pair("forward_rate: { bytes_per_s: 10, burst_ms: 10001 }", "give 1 to 10000");
  pair("forward_rate: { pps: 10, bytes_per_s: 1 }", "unknown key \"pps\"");
  pair("forward_rate: 10", "is a single value; it needs keys");
  const std::string tenants = "  tenants:\n";
  refuse(tenants + "    - { id: 0, rate: { packets_per_s: 1 } }\n", "id: 0",
         "trust.tenants[1].id: 0 is out of range; give 1 to 65535");
  refuse(tenants + "    - { id: 7 }\n", "id: 7", "trust.tenants[1].rate: is missing");
  refuse(tenants + "    - { rate: { packets_per_s: 1 } }\n", "- { rate",
         "tenants[1].id: is missing");
  refuse(tenants +
             "    - { id: 7, rate: { packets_per_s: 1 } }\n"
             "    - { id: 7, rate: { packets_per_s: 2 } }\n",
         "packets_per_s: 2", "is listed on line");
}

TEST_F(ConfigTrustTest, PrintsWhatHoldsCalls) {
  const std::string yaml = with(
      "  windows:\n    office: { zone: Europe/Berlin, days: [mon-fri], hours: [\"09:00-17:00\"] }\n"
      "    once: { from: \"2026-12-01 08:00\", to: \"2026-12-01 08:00:30\" }\n"
      "  agents:\n" +
      alpha_.entry(relay_) + beta_.entry(relay_) +
      "  pairs:\n    - { from: alpha, to: beta, windows: [office, once], forward_rate: { "
      "calls_per_s: 3 "
      "},\n        forward_calls: { at_once: 4, quota: { calls: 5, per: 1h } },\n"
      "        backward_calls: { approval: { capabilities: [read], scopes: [\"a b\"] } } }\n");
  const auto first = parse_config(yaml, relay_);
  ASSERT_EQ(shown(first), "");
  const std::string printed = print_config(first.config);
  const auto second = parse_config(printed, relay_);
  EXPECT_EQ(shown(second), "") << printed;
  EXPECT_EQ(print_config(second.config), printed);
  const TrustPair& pair = second.config.trust.pairs[0];
  EXPECT_EQ(pair.forward_rate.calls_per_s, 3u);
  EXPECT_EQ(pair.forward_calls.quota, (CallQuota{5, 3600}));
  EXPECT_EQ(pair.forward_calls.at_once, 4);
  EXPECT_EQ(pair.backward_calls.approve_scopes, std::vector<std::string>{"a b"});
  EXPECT_EQ(pair.backward_calls.windows, pair.forward_calls.windows);
  EXPECT_EQ(pair.forward_calls.windows, first.config.trust.pairs[0].forward_calls.windows);
  ASSERT_EQ(pair.forward_calls.windows.size(), 1u);
  EXPECT_EQ(pair.forward_calls.windows[0].size(), 2u);
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

}  // namespace
}  // namespace sluice::control
