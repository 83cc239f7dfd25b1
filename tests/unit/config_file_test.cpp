// Files: what is no YAML, hostile or damaged is refused in no time; the manual is a good example.
#include "unit/config_fixture.h"

namespace sluice::control {
namespace {

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
  expect(std::string((512u << 20) + 1, ' '), 0, "the file is larger than 512 MiB");
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
  const std::string large = write("large.yaml", "#");
  ASSERT_EQ(truncate(large.c_str(), (512 << 20) + 1),
            0);  // a hole, which takes no room on the disk
  expect_only(load_config(large), 0, "larger than");
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
  expected.audit.folder = "/var/lib/sluice/audit";
  expected.vault.key_file = "/var/lib/sluice/vault.key";
  expected.vault.tpm.auth_file = "/var/lib/sluice/vault.auth";
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
