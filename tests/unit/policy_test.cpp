// The operator's policy: properties of its decisions over many random policies, and what its file
// may and may not say.
#include "control/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "control/policy_file.h"

namespace sluice::control {
namespace {

// --- Decisions ----------------------------------------------------------------------------------

struct World {
  std::mt19937_64 random;
  std::vector<PolicySubject> agents;

  explicit World(uint64_t seed) : random(seed) {
    for (const char* name : {"research-1", "research-2", "data", "data-eu", "temp-x"}) {
      for (const uint16_t tenant : {1, 2}) {
        PolicySubject s{{}, name, tenant};
        for (auto& b : s.did) b = static_cast<uint8_t>(random());
        agents.push_back(s);
      }
    }
  }
  uint64_t below(uint64_t n) { return random() % n; }
  bool chance(unsigned percent) { return below(100) < percent; }

  PolicyPattern pattern(bool role_allowed) {
    PolicyPattern p;
    if (chance(10)) {
      p.did = agents[below(agents.size())].did;
      return p;
    }
    static const char* const kNames[] = {"", "", "research-*", "data*", "data", "*-?", "**"};
    p.name = kNames[below(std::size(kNames))];
    if (role_allowed && p.name.empty() && chance(30)) p.role = chance(50) ? "r1" : "r2";
    if (chance(30)) p.tenant = static_cast<uint16_t>(1 + below(2));
    return p;
  }
  PolicyRule rule() {
    PolicyRule r{pattern(true), pattern(true), static_cast<PolicyAction>(below(3)), {}};
    if (chance(30)) r.bounds.longest_ms = 1 + below(1000);
    if (chance(30)) {
      r.bounds.scopes.emplace();
      for (const char* s : {"a", "b", "c"}) {
        if (chance(50)) r.bounds.scopes->insert(s);
      }
    }
    if (chance(20)) r.bounds.seal = static_cast<fabric::SealPolicy>(below(3));
    if (chance(20)) r.bounds.rate.packets_per_s = 1 + below(1000);
    return r;
  }
  Policy policy() {
    Policy p;
    p.otherwise = static_cast<PolicyAction>(below(3));
    for (const char* name : {"r1", "r2"}) {
      PolicyRole& role = p.roles.emplace_back();
      role.name = name;
      for (unsigned i = 0; i <= below(3); ++i) role.members.push_back(pattern(false));
    }
    for (unsigned i = 0, n = static_cast<unsigned>(below(12)); i < n; ++i)
      p.rules.push_back(rule());
    return p;
  }
};

// The rule as the documentation says it, without regard to cost.
std::vector<size_t> deciding_rules(const Policy& p, const PolicySubject& from,
                                   const PolicySubject& to) {
  std::vector<size_t> fit;
  for (size_t i = 0; i < p.rules.size(); ++i) {
    if (matches(p, p.rules[i].from, from) && matches(p, p.rules[i].to, to)) fit.push_back(i);
  }
  std::vector<size_t> out;
  for (const size_t i : fit) {
    const bool beaten = std::any_of(fit.begin(), fit.end(), [&](size_t o) {
      return specificity(p.rules[o]) > specificity(p.rules[i]);
    });
    if (!beaten) out.push_back(i);
  }
  return out;
}

bool within(const PolicyBounds& tight, const PolicyBounds& loose) {
  if (loose.longest_ms != 0 && (tight.longest_ms == 0 || tight.longest_ms > loose.longest_ms)) {
    return false;
  }
  if (loose.scopes &&
      (!tight.scopes || !std::includes(loose.scopes->begin(), loose.scopes->end(),
                                       tight.scopes->begin(), tight.scopes->end()))) {
    return false;
  }
  return loose.rate.packets_per_s == 0 ||
         (tight.rate.packets_per_s != 0 && tight.rate.packets_per_s <= loose.rate.packets_per_s);
}

TEST(PolicyProperty, MostSpecificWinsAndTheOrderOfRulesMeansNothing) {
  World w(1);
  unsigned ties = 0, decided = 0;
  for (int round = 0; round < 3000; ++round) {
    const Policy policy = w.policy();
    Policy shuffled = policy;
    std::shuffle(shuffled.rules.begin(), shuffled.rules.end(), w.random);
    for (int i = 0; i < 10; ++i) {
      const auto& from = w.agents[w.below(w.agents.size())];
      const auto& to = w.agents[w.below(w.agents.size())];
      const PolicyDecision d = decide(policy, from, to);
      const auto expected = deciding_rules(policy, from, to);
      ASSERT_EQ(d.rules, expected);
      PolicyAction strictest = expected.empty() ? policy.otherwise : PolicyAction::kApprove;
      for (const size_t r : expected) strictest = std::max(strictest, policy.rules[r].action);
      ASSERT_EQ(d.action, strictest);
      bool both = !expected.empty();
      for (const size_t r : expected) {
        ASSERT_TRUE(within(d.bounds, policy.rules[r].bounds));
        both = both && policy.rules[r].from.tenant && policy.rules[r].to.tenant;
      }
      ASSERT_EQ(d.names_both_tenants, both);
      const PolicyDecision again = decide(shuffled, from, to);
      ASSERT_EQ(again.action, d.action);
      ASSERT_EQ(again.bounds, d.bounds);
      ASSERT_EQ(again.names_both_tenants, d.names_both_tenants);
      ties += expected.size() > 1 ? 1 : 0;
      decided += expected.empty() ? 0 : 1;
    }
  }
  EXPECT_GT(ties, 300u);  // or the above has shown nothing
  EXPECT_GT(decided, 5000u);
}

TEST(PolicyProperty, ADenialOfExactlyTwoAgentsDeniesThemAndNobodyElse) {
  World w(2);
  for (int round = 0; round < 2000; ++round) {
    const Policy before = w.policy();
    const auto& from = w.agents[w.below(w.agents.size())];
    const auto& to = w.agents[w.below(w.agents.size())];
    Policy after = before;
    after.rules.push_back({{.did = from.did, .name = {}, .role = {}, .tenant = {}},
                           {.did = to.did, .name = {}, .role = {}, .tenant = {}},
                           PolicyAction::kDeny,
                           {}});
    ASSERT_EQ(decide(after, from, to).action, PolicyAction::kDeny);
    for (const auto& a : w.agents) {
      for (const auto& b : w.agents) {
        if (a.did == from.did && b.did == to.did) continue;
        ASSERT_EQ(decide(after, a, b).action, decide(before, a, b).action);
      }
    }
  }
}

TEST(PolicyProperty, SomebodyUnknownIsMeantByWildcardsAlone) {
  World w(3);
  for (int round = 0; round < 2000; ++round) {
    const Policy policy = w.policy();
    const auto& from = w.agents[w.below(w.agents.size())];
    for (const size_t r : decide(policy, from, {}).rules) {
      const PolicyPattern& to = policy.rules[r].to;
      ASSERT_FALSE(to.did || to.tenant || !to.name.empty());
      // A role may itself mean everybody.
      ASSERT_TRUE(to.role.empty() || matches(policy, to, {}));
    }
  }
}

TEST(Policy, Table) {
  const PolicySubject alice{{1}, "research-alice", 1}, data{{2}, "data", 1}, other{{3}, "data", 2};
  const auto rule = [](const char* from, const char* to, PolicyAction action) {
    return PolicyRule{{.did = {}, .name = from, .role = {}, .tenant = {}},
                      {.did = {}, .name = to, .role = {}, .tenant = {}},
                      action,
                      {}};
  };
  Policy p;
  EXPECT_EQ(decide(p, alice, data).action, PolicyAction::kAsk);
  p.otherwise = PolicyAction::kDeny;
  EXPECT_EQ(decide(p, alice, data).action, PolicyAction::kDeny);
  p.rules = {rule("research-*", "data", PolicyAction::kApprove)};
  EXPECT_EQ(decide(p, alice, data).action, PolicyAction::kApprove);
  EXPECT_EQ(decide(p, data, alice).action, PolicyAction::kDeny) << "rules have a direction";
  EXPECT_EQ(decide(p, alice, other).action, PolicyAction::kApprove);
  p.rules.push_back(rule("*", "data", PolicyAction::kDeny));
  EXPECT_EQ(decide(p, alice, data).action, PolicyAction::kApprove) << "more letters win";
  p.rules[1].to.tenant = 2;
  EXPECT_EQ(decide(p, alice, other).action, PolicyAction::kApprove)
      << "letters stand before tenants";
  p.rules[1].from.name = "research-*";
  EXPECT_EQ(decide(p, alice, other).action, PolicyAction::kDeny) << "now it is the narrower one";
}

// --- The file -----------------------------------------------------------------------------------

LoadedPolicy load(std::string_view yaml) {
  return parse_policy(yaml, [](const std::string& text) -> std::optional<uint16_t> {
    if (text == "acme" || text == "7") return 7;
    if (text == "beta") return 9;
    return std::nullopt;
  });
}

TEST(PolicyFile, ReadsWhatItSays) {
  const auto loaded = load(R"(
default: deny
roles:
  researcher: ["research-*@acme", "alice@beta"]
rules:
  - { from: "role:researcher@acme", to: "data-?@7", action: approve, for: 30d, scopes: [read, list],
      protocols: [], seal: header, rate: { packets_per_s: 500 } }
  - { from: "*", to: "@beta" }
)");
  ASSERT_TRUE(loaded.problems.empty()) << loaded.problems[0].text;
  const Policy& p = loaded.policy;
  EXPECT_EQ(p.otherwise, PolicyAction::kDeny);
  ASSERT_EQ(p.roles.size(), 1u);
  ASSERT_EQ(p.roles[0].members.size(), 2u);
  EXPECT_EQ(p.roles[0].members[0].name, "research-*");
  EXPECT_EQ(p.roles[0].members[0].tenant, 7);
  EXPECT_EQ(p.roles[0].members[1].tenant, 9);
  ASSERT_EQ(p.rules.size(), 2u);
  const PolicyRule& r = p.rules[0];
  EXPECT_EQ(r.from.role, "researcher");
  EXPECT_EQ(r.to.name, "data-?");
  EXPECT_EQ(r.action, PolicyAction::kApprove);
  EXPECT_EQ(r.bounds.longest_ms, 30ull * 24 * 3600 * 1000);
  EXPECT_EQ(r.bounds.scopes, (std::set<std::string>{"read", "list"}));
  EXPECT_EQ(r.bounds.protocols, std::set<std::string>{}) << "an empty list allows nothing";
  EXPECT_EQ(r.bounds.seal, fabric::SealPolicy::kHeader);
  EXPECT_EQ(r.bounds.rate.packets_per_s, 500u);
  EXPECT_EQ(p.rules[1].action, PolicyAction::kAsk);
  EXPECT_FALSE(p.rules[1].bounds.scopes);
  EXPECT_EQ(p.rules[1].to.tenant, 9);
  EXPECT_EQ(p.rules[1].to.name, "");
}

TEST(PolicyFile, SaysAllMistakesAtOnceWithTheirLines) {
  const auto loaded = load(R"(default: allow
roles:
  Bad: [x]
  good: []
rules:
  - { from: "did:key:z6Mkwrong", to: "*" }
  - { from: "role:god", to: "*" }
  - { from: "a@nowhere", to: "a b" }
  - { to: "*", action: aprove, for: soon }
  - { from: "*", to: "*", scopes: [""], quota: 5 }
)");
  const auto has = [&](int line, std::string_view what) {
    return std::any_of(loaded.problems.begin(), loaded.problems.end(), [&](const auto& p) {
      return p.line == line && p.text.find(what) != std::string::npos;
    });
  };
  EXPECT_TRUE(has(1, "default")) << "allow";
  EXPECT_TRUE(has(3, "is not a role's name"));
  EXPECT_TRUE(has(4, "needs a list"));
  EXPECT_TRUE(has(6, "is not the did:key"));
  EXPECT_TRUE(has(7, "names no role; did you mean \"good\"") || has(7, "names a role that"));
  EXPECT_TRUE(has(8, "names a tenant that is not there"));
  EXPECT_TRUE(has(8, "is not a pattern"));
  EXPECT_TRUE(has(9, "from"));
  EXPECT_TRUE(has(9, "did you mean \"approve\""));
  EXPECT_TRUE(has(9, "is no time"));
  EXPECT_TRUE(has(10, "1 to 64 bytes"));
  EXPECT_TRUE(has(10, "quota"));
  EXPECT_EQ(loaded.problems.size(), 12u);
}

TEST(PolicyFile, ReadsWhatHoldsCalls) {
  const auto loaded = load(R"(windows:
  office: { zone: Europe/Berlin, days: [mon-fri, sun], hours: ["09:00-12:30", "22:00-06:00"] }
  launch: { zone: America/New_York, from: "2026-12-01 08:00", to: "2026-12-01T20:00" }
rules:
  - from: "*"
    to: "*"
    rate: { calls_per_s: 7 }
    calls: { at_once: 4, quota: { calls: 5, per: 1h }, approval: { capabilities: [read, tool_call], scopes: [pay] } }
    windows: [office, launch]
)");
  ASSERT_TRUE(loaded.problems.empty()) << loaded.problems.front().text;
  const PolicyBounds& b = loaded.policy.rules[0].bounds;
  EXPECT_EQ(b.rate.calls_per_s, 7u);
  EXPECT_EQ(b.calls.at_once, 4);
  EXPECT_EQ(b.calls.quota, (CallQuota{5, 3600}));
  EXPECT_EQ(b.calls.approve_capabilities, 0x0a);
  EXPECT_EQ(b.calls.approve_scopes, std::vector<std::string>{"pay"});
  ASSERT_EQ(b.calls.windows.size(), 1u);
  ASSERT_EQ(b.calls.windows[0].size(), 2u);
  EXPECT_EQ(b.calls.windows[0][1].days, 0x5f);
  EXPECT_EQ(b.calls.windows[0][1].hours,
            (std::vector<std::pair<uint16_t, uint16_t>>{{540, 750}, {1320, 360}}));
  EXPECT_EQ(to_string(loaded.policy.rules[0]),
            "* -> *: ask, 7 calls/s, 4 calls at once, 5 calls in 3600 s, approval of "
            "read/tool_call, approval of scope pay, open launch (from: \"2026-12-01 08:00\", to: "
            "\"2026-12-01 20:00\", America/New_York) or office (days: [mon, tue, wed, thu, fri, "
            "sun], hours: [\"09:00-12:30\", \"22:00-06:00\"], Europe/Berlin)");
}

TEST(PolicyFile, SaysWhatIsWrongWithWindowsAndQuotas) {
  const auto loaded = load(R"(windows:
  a: { zone: Mars/Olympus, hours: ["09:00-17:00"] }
  b: { hours: ["9-17"] }
  c: { days: [monday] }
  d: { from: "2026-12-01 08:00" }
  e: { from: "2026-12-01 08:00", to: "2026-12-01 07:00" }
  f: { from: "2026-12-01 08:00", to: "2026-12-02 07:00", days: [mon] }
  g: {}
  Bad: { hours: ["09:00-17:00"] }
rules:
  - { from: "*", to: "*", windows: [ofice] }
  - { from: "*", to: "*", windows: [] }
  - { from: "*", to: "*", calls: { quota: { calls: 5 } } }
  - { from: "*", to: "*", calls: { quota: { calls: 0, per: 1h } } }
  - { from: "*", to: "*", calls: { quota: { calls: 1, per: soon } } }
  - { from: "*", to: "*", calls: { approval: { capabilities: [everything] } } }
  - { from: "*", to: "*", calls: { approval: { scopes: [a, b, c, d, e] } } }
  - { from: "*", to: "*", calls: {} }
)");
  const auto has = [&](int line, std::string_view what) {
    return std::any_of(loaded.problems.begin(), loaded.problems.end(), [&](const auto& p) {
      return p.line == line && p.text.find(what) != std::string::npos;
    });
  };
  EXPECT_TRUE(has(2, "is no time zone"));
  EXPECT_TRUE(has(3, "is no span of hours"));
  EXPECT_TRUE(has(4, "is no day"));
  EXPECT_TRUE(has(5, "to: is missing"));
  EXPECT_TRUE(has(6, "is not after from"));
  EXPECT_TRUE(has(7, "make two windows"));
  EXPECT_TRUE(has(8, "is never closed"));
  EXPECT_TRUE(has(9, "is not a window's name"));
  EXPECT_TRUE(has(11, "no window is called"));
  EXPECT_TRUE(has(12, "names no window"));
  EXPECT_TRUE(has(13, "per: is missing"));
  EXPECT_TRUE(has(14, "out of range"));
  EXPECT_TRUE(has(15, "is no time"));
  EXPECT_TRUE(has(16, "is no capability"));
  EXPECT_TRUE(has(17, "at most 4 scopes"));
  EXPECT_TRUE(has(18, "holds nothing"));
  EXPECT_EQ(loaded.problems.size(), 16u);
}

// Of rules that fit equally well all hold, in whichever order they stand.
TEST(PolicyFile, BoundsOfCallsHoldTogether) {
  const auto decide_in = [](const std::string& rules) {
    const auto loaded = load(
        "windows:\n  w: { hours: [\"09:00-17:00\"] }\n"
        "  v: { days: [mon] }\nrules:\n" +
        rules);
    EXPECT_TRUE(loaded.problems.empty());
    return decide(loaded.policy, {.did = {}, .name = "a", .tenant = 1},
                  {.did = {}, .name = "b", .tenant = 1});
  };
  const std::string one =
      "  - { from: a, to: b, calls: { at_once: 4, quota: { calls: 5, per: 1h }, approval: { "
      "scopes: "
      "[s] } }, windows: [w] }\n";
  const std::string other =
      "  - { from: a, to: b, calls: { at_once: 2, quota: { calls: 20, per: 1d }, approval: { "
      "capabilities: [read] } }, windows: [v] }\n";
  const CallTerms terms = decide_in(one + other).bounds.calls;
  EXPECT_EQ(terms.at_once, 2);
  EXPECT_EQ(terms.quota, (CallQuota{5, 86'400}));
  EXPECT_EQ(terms.approve_capabilities, 2);
  EXPECT_EQ(terms.approve_scopes, std::vector<std::string>{"s"});
  EXPECT_EQ(terms.windows.size(), 2u);
  CallTerms swapped = decide_in(other + one).bounds.calls;
  std::reverse(swapped.windows.begin(), swapped.windows.end());
  EXPECT_EQ(swapped, terms);
}

TEST(PolicyFile, ReadsItsOwnSpellingAndTellsWhatChanged) {
  const auto before = load("rules: [{ from: \"a*@7\", to: \"*\", action: deny }]");
  const auto after = load("default: deny\nrules: [{ from: \"a*@acme\", to: \"*\", action: ask }]");
  ASSERT_TRUE(before.problems.empty() && after.problems.empty());
  const PolicyDiff diff = compare(before.policy, after.policy);
  EXPECT_EQ(diff.added, (std::vector<std::string>{"a*@7 -> *: ask", "default: deny"}));
  EXPECT_EQ(diff.removed, (std::vector<std::string>{"a*@7 -> *: deny", "default: ask"}));
  EXPECT_TRUE(compare(after.policy, after.policy).added.empty());
}

}  // namespace
}  // namespace sluice::control
