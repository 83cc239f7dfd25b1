#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "control.pb.h"
#include "control/config_parts.h"
#include "crypto/text.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

// Reads one `enrol` value against what the entry says of its agent; what is wrong otherwise.
std::string read_enrol(std::string_view text, const std::optional<ByteArray<32>>& relay_key,
                       TrustAgent& agent) {
  const auto bytes = crypto::from_base64(text);
  if (!bytes) {
    return "is not base64; paste the whole line that sluice-agent info --statement prints";
  }
  pb::Signed envelope;
  if (const auto r = wire::parse_signed(*bytes, envelope); !r) {
    return fmt::format("{}; paste the whole line that sluice-agent info --statement prints",
                       r.error().message);
  }
  if (as_text(agent.identity) != envelope.signer()) {
    return "was signed by another identity than this did; take both from the same agent";
  }
  const Bytes statement = as_bytes(envelope.statement());
  if (!crypto::verify(agent.identity, crypto::kLabelStatement, {statement},
                      take<64>(as_bytes(envelope.signature()).data()))) {
    return "has a wrong signature; print it again with sluice-agent info --statement";
  }
  pb::Statement s;
  if (const auto r = wire::parse_statement(statement, s); !r) {
    return fmt::format("{}; print it again with a sluice-agent of this release", r.error().message);
  }
  if (!s.has_enrol()) {
    return "is a statement of another type; paste what sluice-agent info --statement prints";
  }
  if (s.tenant() != agent.tenant) {
    return fmt::format(
        "was printed for tenant {}, not {}; change tenant here, or run sluice-agent "
        "init again with the right one",
        s.tenant(), agent.tenant);
  }
  if (s.enrol().name() != agent.name) {
    return fmt::format(
        "was printed for the name {}, not {}; change name here, or run sluice-agent "
        "init again with the right one",
        quote(s.enrol().name()), quote(agent.name));
  }
  if (s.relay_key().size() != 32 || (relay_key && as_text(*relay_key) != s.relay_key())) {
    return "was printed for another relay; run sluice-agent init with this relay's join string";
  }
  if (s.enrol().e2e_key().size() != agent.e2e_key.size()) {
    return "lacks its 32-byte end-to-end key; print it again with sluice-agent info --statement";
  }
  agent.e2e_key = take<32>(as_bytes(s.enrol().e2e_key()).data());
  agent.enrol = *bytes;
  return {};
}

// Reads the agents, then the pairs that name them.
class TrustReader {
 public:
  TrustReader(Problems& problems, const std::optional<ByteArray<32>>& relay_key)
      : problems_(problems), relay_key_(relay_key) {}

  void read_windows_of(const Section& s) { windows_ = read_windows(s, "windows"); }

  TrustTenant read_tenant(const YamlNode& node, size_t index) {
    const Section s(problems_, &node, fmt::format("trust.tenants[{}]", index + 1), {"id", "rate"});
    TrustTenant tenant;
    tenant.line = node.line;
    if (s.require("id", "give the tenant's number, 1 to 65535") &&
        s.number("id", tenant.id, 1, 65535)) {
      const auto [at, fresh] = tenants_.emplace(tenant.id, node.line);
      if (!fresh) {
        s.problem(s.line_of("id"), "id",
                  fmt::format("tenant {} is listed on line {} too; a tenant is listed once",
                              tenant.id, at->second));
      }
    }
    if (s.require("rate", "give what all its agents together may send")) {
      read_rate(s, "rate", tenant.rate);
    }
    return tenant;
  }

  TrustAgent read_agent(const YamlNode& node, size_t index) {
    const Section s(problems_, &node, item_place("trust.agents", node, index),
                    {"name", "did", "tenant", "enrol", "rate"});
    TrustAgent agent;
    agent.line = node.line;
    read_rate(s, "rate", agent.rate);
    const bool named = read_name(s, agent);
    const bool known = read_did(s, agent);
    const bool placed = s.require("tenant", "give the tenant's number, 1 to 65535") &&
                        s.number("tenant", agent.tenant, 1, 65535);
    if (!agent.name.empty()) agents_.emplace(agent.name, agent.tenant);
    if (!s.require("enrol", "paste the line that sluice-agent info --statement prints")) {
      return agent;
    }
    const auto text = s.text("enrol");
    // The statement is compared with the rest of the entry, so that has to be readable first; and
    // a signature costs too much to check for a list that nobody reads.
    if (!text || !named || !known || !placed || problems_.full()) return agent;
    if (const auto wrong = read_enrol(text->text, relay_key_, agent); !wrong.empty()) {
      s.problem(text->line, "enrol", wrong);
    }
    return agent;
  }

  TrustPair read_pair(const YamlNode& node, size_t index) {
    const Section s(problems_, &node, fmt::format("trust.pairs[{}]", index + 1),
                    {"from", "to", "forward", "backward", "seal", "forward_rate", "backward_rate",
                     "forward_calls", "backward_calls", "windows"});
    TrustPair pair;
    pair.line = node.line;
    const auto from = read_member(s, "from", pair.from);
    const auto to = read_member(s, "to", pair.to);
    const Choices<EdgeRight> rights = {{"may_send", EdgeRight::kMaySend},
                                       {"may_open", EdgeRight::kMayOpen},
                                       {"reply_only", EdgeRight::kReplyOnly}};
    s.choice("forward", pair.forward, rights);
    s.choice("backward", pair.backward, rights);
    s.choice<fabric::SealPolicy>("seal", pair.seal,
                                 {{"full", fabric::SealPolicy::kFull},
                                  {"header", fabric::SealPolicy::kHeader},
                                  {"any", fabric::SealPolicy::kAny}});
    read_rate(s, "forward_rate", pair.forward_rate);
    read_rate(s, "backward_rate", pair.backward_rate);
    read_call_terms(s, "forward_calls", pair.forward_calls);
    read_call_terms(s, "backward_calls", pair.backward_calls);
    read_window_list(s, "windows", windows_, pair.forward_calls);
    pair.backward_calls.windows = pair.forward_calls.windows;
    if (from && to) check_pair(s, pair, *from, *to);
    return pair;
  }

 private:
  bool read_name(const Section& s, TrustAgent& agent) {
    if (!s.require("name", "give the agent's name")) return false;
    const auto v = s.text("name");
    if (!v) return false;
    agent.name = v->text;
    if (!wire::is_agent_name(v->text)) {
      s.problem(v->line, "name",
                fmt::format("{} is not an agent's name; give 1 to 63 of a-z, 0-9, ., _ and -, the "
                            "first a letter or digit",
                            quote(v->text)));
      return false;
    }
    const auto [at, fresh] = names_.emplace(v->text, v->line);
    if (fresh) return true;
    s.problem(v->line, "name",
              fmt::format("{} is taken by the agent on line {}; names must differ, pairs refer to "
                          "them",
                          quote(v->text), at->second));
    return false;
  }

  bool read_did(const Section& s, TrustAgent& agent) {
    if (!s.require("did", "give the agent's did:key, as sluice-agent info prints it")) return false;
    const auto v = s.text("did");
    if (!v) return false;
    const auto key = crypto::parse_did(v->text);
    if (!key) {
      s.problem(
          v->line, "did",
          fmt::format("{} is not the did:key of an Ed25519 key; copy it from sluice-agent info",
                      quote(v->text)));
      return false;
    }
    const auto [at, fresh] = identities_.emplace(*key, v->line);
    if (!fresh) {
      s.problem(v->line, "did",
                fmt::format("is the identity of the agent on line {} too; an agent is listed once",
                            at->second));
      return false;
    }
    if (problems_.full()) return false;
    if (!crypto::acceptable_identity(*key)) {
      s.problem(
          v->line, "did",
          fmt::format("{} is a weak key, outside the prime-order group; the agent needs a new "
                      "identity",
                      quote(v->text)));
      return false;
    }
    agent.identity = *key;
    return true;
  }

  // The tenant of the agent that `key` names, 0 where that is not known.
  std::optional<uint16_t> read_member(const Section& s, std::string_view key, std::string& out) {
    if (!s.require(key, "give the name of an agent listed under trust.agents")) return std::nullopt;
    const auto v = s.text(key);
    if (!v) return std::nullopt;
    out = v->text;
    const auto at = agents_.find(v->text);
    if (at != agents_.end()) return at->second;
    if (problems_.full()) return std::nullopt;
    std::vector<std::string_view> known;
    for (const auto& [name, tenant] : agents_) known.push_back(name);
    const std::string hint = suggestion(v->text, known);
    s.problem(v->line, key,
              fmt::format("no agent is called {}{}", quote(v->text),
                          hint.empty() ? "; list it under trust.agents" : hint));
    return std::nullopt;
  }

  void check_pair(const Section& s, const TrustPair& pair, uint16_t from, uint16_t to) {
    if (pair.from == pair.to) {
      s.problem(s.line_of("to"), "to",
                fmt::format("{} would be paired with itself; name another agent", quote(pair.to)));
      return;
    }
    if (from != 0 && to != 0 && from != to) {
      s.problem(s.line_of("to"), "to",
                fmt::format("{} is in tenant {} and {} in tenant {}; a pair across tenants needs "
                            "the operators of both and cannot be made here",
                            quote(pair.from), from, quote(pair.to), to));
    }
    const auto [at, fresh] = pairs_.emplace(std::minmax(pair.from, pair.to), pair.line);
    if (!fresh) {
      s.problem(s.line_of("to"), "to",
                fmt::format("{} and {} are paired on line {}; one pair holds both directions, see "
                            "forward and backward",
                            quote(pair.from), quote(pair.to), at->second));
    }
  }

  Problems& problems_;
  const std::optional<ByteArray<32>>& relay_key_;
  Windows windows_;
  std::map<uint16_t, int> tenants_;                           // line of the first
  std::map<std::string, int> names_;                          // line of the first
  std::map<crypto::PublicKey, int> identities_;               // line of the first
  std::map<std::string, uint16_t> agents_;                    // tenant, 0 if unreadable
  std::map<std::pair<std::string, std::string>, int> pairs_;  // line of the first
};

}  // namespace

void read_rate(const Section& parent, std::string_view key, RateConfig& out) {
  const Section s =
      parent.section(key, {"packets_per_s", "bytes_per_s", "burst_ms", "calls_per_s"});
  s.number("packets_per_s", out.packets_per_s, 1, 1'000'000'000);
  s.number("bytes_per_s", out.bytes_per_s, 1, 1'000'000'000'000);
  s.number("burst_ms", out.burst_ms, 1, 10'000);
  s.number("calls_per_s", out.calls_per_s, 1, 10'000'000);
  s.require_any({"packets_per_s", "bytes_per_s", "calls_per_s"},
                "limits nothing; give packets_per_s, bytes_per_s, calls_per_s or several");
}

void read_trust(const Section& root, const std::optional<ByteArray<32>>& relay_key,
                const LimitsConfig& limits, TrustConfig& out) {
  const Section s = root.section("trust", {"tenants", "agents", "pairs", "windows"});
  TrustReader reader(root.problems(), relay_key);
  reader.read_windows_of(s);
  const auto tenants = s.list("tenants");
  for (size_t i = 0; i < tenants.size(); ++i) {
    out.tenants.push_back(reader.read_tenant(tenants[i], i));
  }
  if (tenants.size() > limits.tenants) {
    s.problem(tenants[limits.tenants].line, "tenants",
              fmt::format("{} tenants are listed, but limits.tenants is {}; raise it",
                          tenants.size(), limits.tenants));
  }
  const auto agents = s.list("agents");
  for (size_t i = 0; i < agents.size(); ++i) out.agents.push_back(reader.read_agent(agents[i], i));
  if (agents.size() > limits.agents) {
    s.problem(agents[limits.agents].line, "agents",
              fmt::format("{} agents are listed, but limits.agents is {}; raise it", agents.size(),
                          limits.agents));
  }
  const auto pairs = s.list("pairs");
  for (size_t i = 0; i < pairs.size(); ++i) out.pairs.push_back(reader.read_pair(pairs[i], i));
  if (pairs.size() > limits.edges / 2) {
    s.problem(
        pairs[limits.edges / 2].line, "pairs",
        fmt::format("{} pairs are listed, which takes {} edges, but limits.edges is {}; raise "
                    "it",
                    pairs.size(), 2 * pairs.size(), limits.edges));
  }
}

}  // namespace sluice::control
