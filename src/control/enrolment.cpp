#include "control/enrolment.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/log.h"
#include "crypto/hash.h"
#include "crypto/text.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr size_t kTokenBytes = 24;  // 192 random bits; wire.md asks for 128
constexpr size_t kMostTokens = 10'000;
constexpr uint16_t kFirstFreeTenant = 1;

std::string provisional_name(VirtualAddress address) {
  return fmt::format("agent-{:08x}", address.node);
}

}  // namespace

void Enrolment::restore(const Snapshot& snapshot) {
  for (const auto& t : snapshot.tenants) tenants_[t.id] = t;
  for (const auto& t : snapshot.tokens) tokens_[t.hash] = t;
}

void Enrolment::apply(Changes changes, std::function<void(Result<void>)> then) {
  store_.apply(std::move(changes),
               [then = std::move(then)](Result<WriteTimes> r) { then(r.map([](WriteTimes) {})); });
}

// --- Tenants ------------------------------------------------------------------------------------

void Enrolment::add_tenant(const std::string& name, std::optional<uint16_t> id,
                           const std::string& actor, std::function<void(Result<TenantRow>)> done) {
  if (!wire::is_agent_name(name) || (name[0] >= '0' && name[0] <= '9')) {
    return done(fail(ErrorCode::kUsage,
                     "a tenant's name has 1 to 63 of a-z, 0-9, ., _ and -, the first a letter"));
  }
  uint16_t number = id.value_or(kFirstFreeTenant);
  for (const auto& [known, row] : tenants_) {
    if (row.name == name) {
      return done(
          fail(ErrorCode::kConflict, fmt::format("tenant {} is called {} already", known, name)));
    }
    if (!id && known == number) ++number;
  }
  if (number == 0 || tenants_.contains(number)) {
    return done(fail(ErrorCode::kConflict, number == 0
                                               ? "a tenant's number is 1 to 65535"
                                               : fmt::format("tenant {} is called {} already",
                                                             number, tenants_.at(number).name)));
  }
  const TenantRow row{number, name, clock_.unix_ms()};
  tenants_[number] = row;
  apply({actor, row.created_ms, {row}}, [this, row, done = std::move(done)](Result<void> r) {
    if (r) return done(row);
    tenants_.erase(row.id);
    done(tl::unexpected(r.error()));
  });
}

Result<uint16_t> Enrolment::tenant(const std::string& text) const {
  for (const auto& [id, row] : tenants_) {
    if (row.name == text) return id;
  }
  unsigned number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec == std::errc() && end == text.data() + text.size() && number > 0 && number <= 0xffff) {
    return static_cast<uint16_t>(number);
  }
  return fail(ErrorCode::kNotFound,
              fmt::format("there is no tenant '{}': sluicectl tenant list shows them, sluicectl "
                          "tenant add makes one",
                          text));
}

std::string Enrolment::tenant_name(uint16_t id) const {
  const auto it = tenants_.find(id);
  return it == tenants_.end() ? std::string() : it->second.name;
}

// --- Agents -------------------------------------------------------------------------------------

Result<void> Enrolment::room_for(uint16_t tenant, const std::string& name,
                                 const crypto::PublicKey& identity) {
  const AgentEntry* holder = trust_.by_name(tenant, name);
  if ((holder != nullptr && holder->identity != identity) ||
      names_taken_.contains({tenant, name})) {
    return fail(ErrorCode::kConflict,
                fmt::format("{} is the name of another agent of that tenant: choose one that is "
                            "free",
                            name));
  }
  if (trust_.by_identity(identity) == nullptr && trust_.full()) {
    return fail(ErrorCode::kResource, "limits.agents is reached: raise it and restart the relay");
  }
  return {};
}

void Enrolment::add_agent(const crypto::PublicKey& identity, uint16_t tenant,
                          const std::string& name, uint64_t life_ms, const std::string& actor,
                          std::function<void(Result<uint32_t>)> done) {
  if (!wire::is_agent_name(name)) {
    return done(fail(ErrorCode::kUsage,
                     "an agent's name has 1 to 63 of a-z, 0-9, ., _ and -, the first a letter or "
                     "digit"));
  }
  if (!crypto::acceptable_identity(identity)) {
    return done(fail(ErrorCode::kUsage,
                     "this DID is a weak key, outside the prime-order group: the agent needs a new "
                     "identity"));
  }
  if (auto room = room_for(tenant, name, identity); !room) {
    return done(tl::unexpected(room.error()));
  }
  if (const AgentEntry* now = trust_.successor_of(identity)) {
    return done(
        fail(ErrorCode::kConflict,
             fmt::format("{} has handed over from this DID to {}: an identity that was given "
                         "up does not come back",
                         now->name, crypto::to_did(now->identity))));
  }
  const AgentEntry* known = trust_.by_identity(identity);
  if (known != nullptr && known->revoked) {
    return done(fail(ErrorCode::kConflict,
                     fmt::format("{} was revoked ({}): a revoked identity does not come back, the "
                                 "agent needs a new one",
                                 known->name, known->revoked_reason)));
  }
  if (known != nullptr && known->address.tenant != tenant) {
    return done(fail(ErrorCode::kConflict,
                     "this DID was enrolled in another tenant, which is for good: the agent needs "
                     "a new identity"));
  }
  if (!enrolling_.insert(identity).second) {
    return done(fail(ErrorCode::kConflict, "this agent is being enrolled at the moment"));
  }
  AgentRow row;
  row.identity = identity;
  row.created_ms = clock_.unix_ms();
  row.name = name;
  row.source = AgentSource::kOperator;
  if (life_ms != 0) row.expires_ms = row.created_ms + life_ms;
  const VirtualAddress address = known != nullptr ? known->address : trust_.fresh_address(tenant);
  row.tenant = address.tenant;
  row.node = address.node;
  Changes changes{actor, row.created_ms, {}};
  if (known == nullptr) {
    changes.list.push_back(row);
  } else {
    row.visibility = known->visibility;
    row.enrol = known->enrol;
    changes.list.push_back(
        AgentUpdate{identity, name, row.source, row.visibility, row.enrol, row.expires_ms});
  }
  names_taken_.insert({tenant, name});
  apply(std::move(changes), [this, row, done = std::move(done)](Result<void> r) {
    enrolling_.erase(row.identity);
    names_taken_.erase({row.tenant, row.name});
    if (!r) return done(tl::unexpected(r.error()));
    done(trust_.enrol(row));
  });
}

// --- Tokens -------------------------------------------------------------------------------------

void Enrolment::create_token(uint16_t tenant, uint64_t life_ms, uint32_t uses,
                             const std::string& actor, std::function<void(Result<NewToken>)> done) {
  const uint64_t now = clock_.unix_ms();
  std::erase_if(tokens_, [&](const auto& t) { return t.second.expires_ms <= now; });
  if (tokens_.size() >= kMostTokens) {
    return done(fail(
        ErrorCode::kResource,
        fmt::format("{} tokens are in force: end some with sluicectl token end", tokens_.size())));
  }
  NewToken token;
  token.secret.resize(kTokenBytes);
  crypto::random_bytes(token.secret);
  token.row = {.hash = crypto::sha256({token.secret}),
               .tenant = tenant,
               .uses = uses,
               .used = 0,
               .created_ms = now,
               .expires_ms = now + life_ms};
  Changes changes{actor, now, {token.row}};
  apply(std::move(changes),
        [this, token = std::move(token), done = std::move(done)](Result<void> r) mutable {
          if (!r) return done(tl::unexpected(r.error()));
          tokens_[token.row.hash] = token.row;
          done(std::move(token));
        });
}

void Enrolment::end_token(const Digest& hash, const std::string& actor,
                          std::function<void(Result<void>)> done) {
  // At once, whatever the disk says; listed until that is done as well.
  tokens_.at(hash).ended = true;
  apply({actor, clock_.unix_ms(), {TokenEnd{hash}}},
        [this, hash, done = std::move(done)](const Result<void>& r) {
          if (r) tokens_.erase(hash);
          done(r);
        });
}

const TokenRow* Enrolment::spendable(Bytes token) const {
  // Found by its hash: how long that takes tells nothing about a token that somebody guesses.
  const auto it = tokens_.find(crypto::sha256({token}));
  if (it == tokens_.end()) return nullptr;
  const TokenRow& row = it->second;
  return !row.ended && row.used < row.uses && row.expires_ms > clock_.unix_ms() ? &row : nullptr;
}

bool Enrolment::would_admit(Bytes token) const {
  return !token.empty() && spendable(token) != nullptr;
}

void Enrolment::enrol_by_token(const crypto::PublicKey& identity, Bytes token) {
  const TokenRow* t = spendable(token);
  if (t == nullptr || enrolling_.contains(identity) || !crypto::acceptable_identity(identity) ||
      trust_.successor_of(identity) != nullptr) {
    return;
  }
  const AgentEntry* known = trust_.by_identity(identity);
  // Of another tenant it is, and stays, somebody else; revoked it does not come back.
  if (known != nullptr &&
      (known->revoked || known->standing() || known->address.tenant != t->tenant)) {
    return;
  }
  if (known == nullptr && trust_.full()) {
    spdlog::warn("an agent with a good token finds no room: raise limits.agents");
    return;
  }
  AgentRow row;
  row.identity = identity;
  row.created_ms = clock_.unix_ms();
  row.source = AgentSource::kToken;
  const VirtualAddress address =
      known != nullptr ? known->address : trust_.fresh_address(t->tenant);
  row.tenant = address.tenant;
  row.node = address.node;
  // Whose admission was over is called as before.
  row.name = known != nullptr && known->over ? known->name : provisional_name(address);
  Changes changes{crypto::to_did(identity), row.created_ms, {}};
  if (known == nullptr) {
    changes.list.push_back(row);
  } else {
    row.enrol = known->enrol;
    changes.list.push_back(
        AgentUpdate{identity, row.name, row.source, row.visibility, row.enrol, row.expires_ms});
  }
  changes.list.push_back(TokenUse{t->hash, identity, row.created_ms});
  enrolling_.insert(identity);
  // Counted at once: more at the same time than it has uses would each look good.
  ++tokens_.at(t->hash).used;
  apply(std::move(changes), [this, row, hash = t->hash](Result<void> r) {
    enrolling_.erase(row.identity);
    const auto spent = tokens_.find(hash);
    if (!r) {
      if (spent != tokens_.end()) --spent->second.used;
      spdlog::warn("an agent with a token could not be enrolled: {}", r.error().message);
      return;
    }
    if (spent != tokens_.end() && spent->second.used == spent->second.uses) tokens_.erase(spent);
    if (auto index = trust_.enrol(row); !index) {
      spdlog::error("an agent with a token could not be enrolled: {}", index.error().message);
      return;
    }
    spdlog::info("{} enrolled by token in tenant {} as {}", crypto::to_did(row.identity),
                 row.tenant, to_string(VirtualAddress{row.tenant, row.node}));
  });
}

// --- What agents say of themselves ---------------------------------------------------------------

void Enrolment::submit(uint32_t index, const CheckedStatement& s,
                       std::function<void(OutcomeCode)> done) {
  AgentEntry& agent = trust_.agent(index);
  const pb::Enrol& enrol = s.statement.enrol();
  if (enrol.e2e_key().size() != 32 || enrol.visibility() > 1 ||
      !wire::is_agent_name(enrol.name())) {
    return done(OutcomeCode::kMalformed);
  }
  if (s.bytes == agent.enrol) return done(OutcomeCode::kOk);
  // The later issued holds among those of one identity.
  if (agent.enrolled_as_itself() && s.statement.issued_ms() <= agent.enrol_issued_ms()) {
    return done(OutcomeCode::kStale);
  }
  AgentRow row;
  row.identity = agent.identity;
  row.tenant = agent.address.tenant;
  row.node = agent.address.node;
  row.source = agent.source;
  row.expires_ms = agent.expires_ms;
  row.visibility = static_cast<Visibility>(enrol.visibility());
  row.enrol = s.bytes;
  // A name that the operator gave stays; who came by token chooses one that is free, once: rules of
  // a policy go by names.
  const bool chooses =
      agent.source == AgentSource::kToken && !agent.configured && agent.enrol.empty();
  row.name = chooses ? enrol.name() : agent.name;
  if (row.name != agent.name) {
    if (!room_for(row.tenant, row.name, row.identity)) return done(OutcomeCode::kNameTaken);
    names_taken_.insert({row.tenant, row.name});
  }
  enrolling_.insert(row.identity);
  apply({crypto::to_did(row.identity),
         clock_.unix_ms(),
         {AgentUpdate{row.identity, row.name, row.source, row.visibility, row.enrol,
                      row.expires_ms}}},
        [this, row, index, old = agent.name, done = std::move(done)](Result<void> r) {
          enrolling_.erase(row.identity);
          if (row.name != old) names_taken_.erase({row.tenant, row.name});
          if (!r) return done(OutcomeCode::kStore);
          (void)trust_.enrol(row);
          done(OutcomeCode::kOk);
          for (const EdgeEntry& e : trust_.edges_of(index)) channel_.sync_edges(e.to);
        });
}

}  // namespace sluice::control
