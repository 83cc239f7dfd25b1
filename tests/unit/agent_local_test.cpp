// The parts of the agent that never see the network: join strings, the identity file, the inbox,
// runs of pings.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "agent/identity_file.h"
#include "agent/inbox.h"
#include "agent/offload_probe.h"
#include "agent/ping_run.h"
#include "base/file.h"
#include "control.pb.h"
#include "crypto/text.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

const std::string kKey(43, 'B');
const std::string kToken = "AAECAwQFBgcICQoLDA0ODw";  // bytes 0 to 15

std::string key_text() {
  return crypto::to_base64url(Buffer(32, 7));
}

TEST(JoinTest, GoodForms) {
  const struct {
    std::string text, host;
    uint16_t port;
    size_t token;
  } rows[] = {
      {"sluice://relay.example.com:7600/#" + key_text(), "relay.example.com", 7600, 0},
      {"sluice://192.0.2.1:1/#" + key_text() + "." + kToken, "192.0.2.1", 1, 16},
      {"sluice://[2001:db8::1]:65535/#" + key_text() + "\n", "2001:db8::1", 65535, 0},
      {"sluice://[::ffff:192.0.2.1]:7600/#" + key_text() + "\r\n", "::ffff:192.0.2.1", 7600, 0},
      {"sluice://a:7600/#" + key_text(), "a", 7600, 0},
      {"sluice://a:7600/#" + crypto::to_base64url(Buffer(32, 8)) + "~" + key_text() + "." + kToken,
       "a", 7600, 16},
      {"sluice://1host.2:80/#" + key_text(), "", 0, 0},  // its last label is a number: not a name
  };
  for (const auto& row : rows) {
    const auto join = parse_join(row.text);
    if (row.host.empty()) {
      EXPECT_FALSE(join) << row.text;
      continue;
    }
    ASSERT_TRUE(join) << row.text << join.error().message;
    EXPECT_EQ(join->host, row.host);
    EXPECT_EQ(join->port, row.port);
    EXPECT_EQ(join->token.size(), row.token);
    EXPECT_EQ(join->relay_id[31], 7);
    EXPECT_EQ(join->relay_key[31], row.text.find('~') == std::string::npos ? 7 : 8);
  }
}

TEST(JoinTest, HostileForms) {
  const std::string k = key_text();
  const std::string tail = "/#" + k;
  const std::string rows[] = {"",
                              "\n",
                              "sluice://",
                              "sluice:///#" + k,
                              "http://h:1" + tail,
                              "SLUICE://h:1" + tail,
                              " sluice://h:1" + tail,
                              "sluice://h:1" + tail + " ",
                              "sluice://h:1" + tail + "\n\n",
                              "sluice://h:1" + tail + "\nsluice://h:1" + tail,
                              "sluice://h" + tail,
                              "sluice://h:" + tail,
                              "sluice://h:0" + tail,
                              "sluice://h:65536" + tail,
                              "sluice://h:99999999999999999999" + tail,
                              "sluice://h:-1" + tail,
                              "sluice://h:+1" + tail,
                              "sluice://h:0x50" + tail,
                              "sluice://h:08" + tail,
                              "sluice://h:1 " + tail,
                              "sluice://h:1:2" + tail,
                              "sluice://user@h:1" + tail,
                              "sluice://u:p@h:1" + tail,
                              "sluice://2001:db8::1:7600" + tail,
                              "sluice://[2001:db8::1]" + tail,
                              "sluice://[2001:db8::1:7600" + tail,
                              "sluice://[fe80::1%eth0]:1" + tail,
                              "sluice://[192.0.2.1]:1" + tail,
                              "sluice://[]:1" + tail,
                              "sluice://h/:1" + tail,
                              "sluice://h_h:1" + tail,
                              "sluice://-h:1" + tail,
                              "sluice://h-:1" + tail,
                              "sluice://h..h:1" + tail,
                              "sluice://.h:1" + tail,
                              "sluice://h.:1" + tail,
                              "sluice://256.1.1.1:1" + tail,
                              "sluice://1.2.3:1" + tail,
                              "sluice://h\tx:1" + tail,
                              "sluice://" + std::string(64, 'a') + ":1" + tail,
                              "sluice://h\xc3\xa4:1" + tail,
                              std::string("sluice://h\0h:1", 14) + tail,
                              "sluice://h:1?x=1" + tail,
                              "sluice://h:1/path#" + k,
                              "sluice://h:1#" + k,
                              "sluice://h:1/" + k,
                              "sluice://h:1/#",
                              "sluice://h:1/#" + k.substr(1),
                              "sluice://h:1/#" + k + "A",
                              "sluice://h:1/#" + k + "=",
                              "sluice://h:1/#" + crypto::to_base64(Buffer(32, 0xfb)),
                              "sluice://h:1/#" + crypto::to_base64url(Buffer(32, 0)),
                              "sluice://h:1/#" + kKey,  // trailing bits that no encoder writes
                              "sluice://h:1/#" + k + ".",
                              "sluice://h:1/#" + k + ".short",
                              "sluice://h:1/#" + k + "." + kToken + "." + kToken,
                              "sluice://h:1/##" + k,
                              "sluice://h:1/#" + k + "#" + kToken,
                              "sluice://h:1/#" + k + "." + crypto::to_base64url(Buffer(256, 1)),
                              "sluice://h:1/#." + kToken};
  for (const std::string& row : rows) {
    const auto join = parse_join(row);
    EXPECT_FALSE(join) << row;
    if (join) continue;
    EXPECT_EQ(join.error().code, ErrorCode::kUsage);
    EXPECT_EQ(join.error().message.find(kToken), std::string::npos);  // never quoted
    EXPECT_EQ(join.error().message.find(k), std::string::npos);
  }
}

class StateTest : public testing::Test {
 protected:
  StateTest() {
    crypto::init();
    char name[] = "/tmp/sluice-agent-test-XXXXXX";
    root = mkdtemp(name);
    state = root + "/deep/state";
  }
  ~StateTest() override { std::filesystem::remove_all(root); }

  AgentIdentity make() const {
    return make_identity("alice", 7,
                         *parse_join("sluice://[::1]:7600/#" + key_text() + "." + kToken), 42);
  }
  void put(const std::string& text, mode_t mode = 0600) const {
    ASSERT_TRUE(write_file(identity_path(state), as_bytes(text), mode));
  }

  std::string root, state;
};

TEST_F(StateTest, IdentitySurvivesAndIsNotOverwritten) {
  const AgentIdentity made = make();
  ASSERT_TRUE(create_identity_file(state, made));
  struct stat st {};
  ASSERT_EQ(stat(identity_path(state).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(state.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);

  const auto loaded = load_identity_file(state);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->did(), made.did());
  EXPECT_EQ(loaded->e2e_key.public_key, made.e2e_key.public_key);
  EXPECT_EQ(loaded->name, "alice");
  EXPECT_EQ(loaded->tenant, 7u);
  EXPECT_EQ(loaded->relay_name(), "[::1]:7600");
  EXPECT_EQ(loaded->join.token, made.join.token);

  const auto again = create_identity_file(state, make());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_EQ(load_identity_file(state)->did(), made.did());
}

TEST_F(StateTest, UnusableIdentityFilesAreOneClearSentence) {
  EXPECT_EQ(load_identity_file(state).error().code, ErrorCode::kKeyFile);
  ASSERT_TRUE(create_identity_file(state, make()));
  const std::string good = *read_file(identity_path(state));
  put(good, 0644);
  EXPECT_EQ(load_identity_file(state).error().code, ErrorCode::kPermission);
  for (size_t n = 0; n + 2 < good.size(); n += 7) {
    put(good.substr(0, n));
    const auto loaded = load_identity_file(state);
    ASSERT_FALSE(loaded) << n;
    EXPECT_EQ(loaded.error().code, ErrorCode::kKeyFile);
    EXPECT_EQ(loaded.error().message.find('\n'), std::string::npos);
  }
  for (const char* key : {"identity_seed", "e2e_secret", "relay_key", "relay_port", "version"}) {
    std::string bent = good;
    bent.replace(bent.find(key), 1, "X");
    put(bent);
    EXPECT_FALSE(load_identity_file(state)) << key;
  }
  put(good);
  EXPECT_TRUE(load_identity_file(state));
}

TEST_F(StateTest, StatementIsCanonicalAndSigned) {
  const AgentIdentity id = make();
  const auto bytes = crypto::from_base64(enrol_statement(id, 1'234));
  ASSERT_TRUE(bytes);
  pb::Signed envelope;
  ASSERT_TRUE(wire::parse_signed(*bytes, envelope));
  pb::Statement statement;
  ASSERT_TRUE(wire::parse_statement(as_bytes(envelope.statement()), statement));
  EXPECT_TRUE(crypto::verify(id.identity.public_key(), crypto::kLabelStatement,
                             {as_bytes(envelope.statement())},
                             take<64>(as_bytes(envelope.signature()).data())));
  EXPECT_EQ(statement.issued_ms(), 1'234u);
  EXPECT_EQ(statement.tenant(), 7u);
  EXPECT_EQ(statement.enrol().name(), "alice");
  EXPECT_EQ(statement.enrol().e2e_key(), as_text(id.e2e_key.public_key));
  EXPECT_EQ(statement.relay_key(), as_text(id.join.relay_key));
}

TEST(NameTest, Table) {
  for (const char* good : {"a", "alice", "a.b-c_d", "9"})
    EXPECT_TRUE(wire::is_agent_name(good)) << good;
  for (const char* bad : {"", "Alice", ".a", "-a", "a b", "a:b", "a/b", "\xc3\xa4", "a\n"}) {
    EXPECT_FALSE(wire::is_agent_name(bad)) << bad;
  }
  EXPECT_FALSE(wire::is_agent_name(std::string(64, 'a')));
}

TEST(InboxTest, BoundedInNumberAndBytesAndCounted) {
  Inbox inbox;
  const crypto::PublicKey a{1}, b{2};
  for (size_t i = 0; i < Inbox::kMaxMessages + 3; ++i) inbox.add({a, "a", Buffer(1)});
  EXPECT_EQ(inbox.size(), Inbox::kMaxMessages);
  EXPECT_EQ(inbox.take_dropped(), 3u);
  EXPECT_EQ(inbox.take_dropped(), 0u);
  EXPECT_EQ(inbox.take(10, 1u << 20, std::nullopt).size(), 10u);
  inbox.add({b, "b", Buffer(1000)});
  EXPECT_EQ(inbox.take(10, 1u << 20, b).size(), 1u);
  EXPECT_FALSE(inbox.has(b));
  EXPECT_EQ(inbox.take(100'000, 5, a).size(), 5u);
  while (inbox.has(std::nullopt)) inbox.take(4'096, 1u << 30, std::nullopt);
  for (int i = 0; i < 65; ++i) inbox.add({a, "a", Buffer(1u << 20)});
  EXPECT_EQ(inbox.size(), 64u);
  EXPECT_EQ(inbox.dropped(), 4u);
}

TEST(PingRunTest, IntervalWindowLossAndSummary) {
  PingRun run({.count = 4, .interval_us = 1'000, .window = 2, .size = 56, .timeout_ms = 10}, 100,
              0);
  EXPECT_EQ(run.next(0), 100u);
  EXPECT_EQ(run.next(0), 0u);
  EXPECT_EQ(run.wake_us(), 1'000u);
  EXPECT_EQ(run.next(1'000), 101u);
  EXPECT_EQ(run.next(5'000), 0u);  // the window is full
  run.on_pong(101, 1'300);
  run.on_pong(101, 1'400);  // a second answer does not count
  run.on_pong(55, 1'400);
  EXPECT_EQ(run.next(5'000), 102u);
  EXPECT_EQ(run.next(9'999), 0u);
  EXPECT_EQ(run.next(10'000), 103u);  // the first is lost now
  run.on_pong(100, 10'001);           // too late
  run.on_pong(102, 5'100);
  EXPECT_FALSE(run.done(10'001));
  run.on_pong(103, 10'200);
  EXPECT_TRUE(run.done(10'200));
  const auto s = run.summary();
  EXPECT_EQ(s.sent, 4u);
  EXPECT_EQ(s.received, 3u);
  EXPECT_EQ(s.lost, 1u);
  EXPECT_EQ(s.min_us, 100);
  EXPECT_EQ(s.p50_us, 200);
  EXPECT_EQ(s.p999_us, 300);
  EXPECT_EQ(s.max_us, 300);
}

TEST(OffloadProbeTest, OnlyAnAnswerTurnsItOn) {
  std::vector<uint64_t> asked;
  bool can = false;
  const auto ask = [&](Now) -> std::optional<uint64_t> {
    if (!can) return std::nullopt;
    asked.push_back(asked.size() + 100);
    return asked.back();
  };
  OffloadProbe probe(ask);
  Now now{1'000, 0};
  for (int i = 0; i < 100; ++i, now.mono_ms += 100) probe.tick(now);
  EXPECT_EQ(probe.verdict(), OffloadProbe::Verdict::kAsking) << "nobody to ask is no answer";
  can = true;
  now.mono_ms += OffloadProbe::kEveryMs;
  for (int i = 0; i < 10; ++i, now.mono_ms += 10) probe.tick(now);
  EXPECT_EQ(asked.size(), 1u) << "a relay answers once a second";
  probe.on_answer(99);
  probe.on_answer(0);
  EXPECT_EQ(probe.verdict(), OffloadProbe::Verdict::kAsking);
  probe.on_answer(asked.back());
  EXPECT_EQ(probe.verdict(), OffloadProbe::Verdict::kYes);
  EXPECT_EQ(probe.deadline(), kNever);
  probe.restart();
  EXPECT_EQ(probe.verdict(), OffloadProbe::Verdict::kAsking);
  probe.on_answer(asked.back());
  EXPECT_EQ(probe.verdict(), OffloadProbe::Verdict::kAsking) << "of the path before";
  asked.clear();
  for (int i = 0; i < 200; ++i, now.mono_ms += 100) probe.tick(now);
  EXPECT_EQ(asked.size(), OffloadProbe::kTries);
  EXPECT_EQ(probe.verdict(), OffloadProbe::Verdict::kNo);
}

}  // namespace
}  // namespace sluice::agent
