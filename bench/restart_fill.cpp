// Fills a relay's store with agents and pairs as years of ceremonies would leave it: for
// `scripts/bench control`. Agents 0 and 1 have known seeds and are a pair; restart_probe plays
// them.
#include <cstdio>

#include <fmt/format.h>

#include "base/clock.h"
#include "bench/command_line.h"
#include "bench/progress.h"
#include "bench/restart.h"
#include "control.pb.h"
#include "control/relay_keys.h"
#include "control/store.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "wire/statement.h"

namespace sluice::bench {
namespace {

using namespace control;

constexpr size_t kAgentsAtOnce = 5'000;
constexpr size_t kPairsAtOnce = 5'000;
constexpr size_t kStatementBytes = 340;  // of a Signed TrustRequest with a sentence and two scopes
constexpr uint16_t kTenant = 1;

// Evidence is not read at start, so its content does not matter, only its place.
Buffer evidence() {
  Buffer out(kStatementBytes);
  crypto::random_bytes(out);
  return out;
}

AgentRow agent_row(uint32_t i, const ByteArray<32>& relay_key, uint64_t now_ms) {
  const crypto::Identity identity = i < kProbes ? probe_identity(i) : crypto::Identity::generate();
  const auto e2e = crypto::X25519KeyPair::generate();
  pb::Statement s;
  s.set_version(1);
  s.set_relay_key(relay_key.data(), relay_key.size());
  s.set_tenant(kTenant);
  s.set_issued_ms(now_ms);
  s.mutable_enrol()->set_name(fmt::format("g{}", i));
  s.mutable_enrol()->set_e2e_key(e2e.public_key.data(), e2e.public_key.size());
  const pb::Signed enrol = wire::sign_statement(s, identity.public_key(), [&](Bytes bytes) {
    return identity.sign(crypto::kLabelStatement, {bytes});
  });
  return {.identity = identity.public_key(),
          .tenant = kTenant,
          .node = i + 1,
          .name = fmt::format("g{}", i),
          .created_ms = now_ms,
          .source = AgentSource::kOperator,
          .enrol = to_buffer(as_bytes(enrol.SerializeAsString()))};
}

void add_pair(Changes& changes, const ByteArray<32>& from, const ByteArray<32>& to) {
  const Buffer asked = evidence(), granted = evidence();
  const Digest request = crypto::sha256({asked}), grant = crypto::sha256({granted});
  const uint64_t at = changes.at_ms;
  changes.list.push_back(RequestRow{request, from, to, at, at + 1000, asked});
  changes.list.push_back(RequestEnd{request, RequestState::kGranted, grant, granted, at});
  changes.list.push_back(PairRow{request, grant, from, to, 1, 1, at, 0});
}

int run(const std::string& folder, const std::string& key_file, uint32_t agents, unsigned edges) {
  const auto failed = [](const Error& e) {
    fmt::print(stderr, "restart_fill: {}\n", e.message);
    return 1;
  };
  const auto key = read_tunnel_key(key_file);
  if (!key) return failed(key.error());
  auto store = Store::open(folder, [](const std::function<void()>&) {});
  if (!store) return failed(store.error());
  const uint64_t now = Clock(1).unix_ms();
  if (auto r = (*store)->apply_now({"bench", now, {TenantRow{kTenant, "bench", now}}}); !r) {
    return failed(r.error());
  }
  std::vector<ByteArray<32>> identities;
  Changes changes{"bench", now, {}};
  const auto flush = [&](size_t most) -> Result<void> {
    if (changes.list.size() <= most) return {};
    auto r = (*store)->apply_now(std::exchange(changes, {"bench", now, {}}));
    note(fmt::format("{} of {} agents, their pairs after them", identities.size(), agents));
    return r;
  };
  for (uint32_t i = 0; i < agents; ++i) {
    AgentRow row = agent_row(i, key->public_key, now);
    identities.push_back(row.identity);
    changes.list.push_back(std::move(row));
    if (auto r = flush(kAgentsAtOnce); !r) return failed(r.error());
  }
  size_t pairs = 0;
  for (uint32_t i = 0; i < agents; ++i) {
    for (uint32_t bits = 1; bits <= edges; ++bits) {
      if ((i ^ bits) < i) continue;
      add_pair(changes, identities[i], identities[i ^ bits]);
      ++pairs;
      if (auto r = flush(3 * kPairsAtOnce); !r) return failed(r.error());
    }
  }
  if (auto r = flush(0); !r) return failed(r.error());
  clear_note();
  fmt::print("{{\"agents\":{},\"pairs\":{}}}\n", agents, pairs);
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::CommandLine app{"Fills a relay's store for scripts/bench control"};
  std::string folder, key;
  uint32_t agents = 99'968;
  unsigned edges = 10;
  app.add_option("--state", folder).required();
  app.add_option("--key", key, "the relay's tunnel key file").required();
  app.add_option("--agents", agents, "a multiple of 64").range(64, 1'000'000);
  app.add_option("--edges-each", edges).range(1, 32);
  if (const auto done = app.parse(argc, argv)) return *done;
  if (!sluice::crypto::init()) return 1;
  return sluice::bench::run(folder, key, agents & ~63u, edges);
}
