#include "pktgen/trust.h"

#include <sched.h>

#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/clock.h"
#include "control.pb.h"
#include "crypto/text.h"
#include "wire/statement.h"

namespace sluice::pktgen {
namespace {

std::string text_of(Bytes bytes) {
  return std::string(as_text(bytes));
}

std::string agent_line(const KeySource& keys, const TrustOptions& o, uint32_t agent,
                       uint64_t now_ms) {
  const auto identity = keys.identity(agent);
  const uint16_t tenant = o.population.tenant_of(agent);
  pb::Statement statement;
  statement.set_version(1);
  statement.set_relay_key(text_of(o.relay_key));
  statement.set_tenant(tenant);
  statement.set_issued_ms(now_ms);
  statement.mutable_enrol()->set_name(agent_name(agent));
  statement.mutable_enrol()->set_e2e_key(text_of(keys.end_to_end(agent).public_key));
  const pb::Signed enrol = wire::sign_statement(statement, identity.public_key(), [&](Bytes bytes) {
    return identity.sign(crypto::kLabelStatement, {bytes});
  });
  return fmt::format("    - {{ name: {}, did: \"{}\", tenant: {}, enrol: \"{}\" }}\n",
                     agent_name(agent), crypto::to_did(identity.public_key()), tenant,
                     crypto::to_base64(as_bytes(enrol.SerializeAsString())));
}

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1u, static_cast<unsigned>(CPU_COUNT(&set)));
}

}  // namespace

std::string trust_section(const KeySource& keys, const TrustOptions& o) {
  const uint64_t now_ms = Clock(1).unix_ms();
  const unsigned parts = std::min<unsigned>(usable_cpus(), 64);
  std::vector<std::string> texts(parts);
  std::vector<std::thread> threads;
  for (unsigned p = 0; p < parts; ++p) {
    threads.emplace_back([&, p] {
      const auto begin = static_cast<uint32_t>(uint64_t{o.population.agents} * p / parts);
      const auto end = static_cast<uint32_t>(uint64_t{o.population.agents} * (p + 1) / parts);
      for (uint32_t i = begin; i < end; ++i) texts[p] += agent_line(keys, o, i, now_ms);
    });
  }
  for (auto& t : threads) t.join();

  std::string out = "trust:\n  agents:\n";
  for (const auto& t : texts) out += t;
  out += "  pairs:\n";
  const std::string seal = o.seal == "full" ? "" : fmt::format(", seal: {}", o.seal);
  o.population.each_pair([&](uint32_t from, uint32_t to) {
    out += fmt::format("    - {{ from: {}, to: {}{} }}\n", agent_name(from), agent_name(to), seal);
  });
  return out;
}

}  // namespace sluice::pktgen
