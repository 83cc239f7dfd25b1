#include "control/trust_table.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "control.pb.h"
#include "wire/frame.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

// Of a statement that was verified when it was accepted; 0 where there is none.
uint64_t issued_ms(Bytes signed_statement) {
  pb::Signed envelope;
  pb::Statement statement;
  if (!wire::parse_signed(signed_statement, envelope) ||
      !wire::parse_statement(as_bytes(envelope.statement()), statement)) {
    return 0;
  }
  return statement.issued_ms();
}

}  // namespace

uint64_t AgentEntry::enrol_issued_ms() const {
  return issued_ms(enrol);
}

bool AgentEntry::enrolled_as_itself() const {
  if (formers.empty() || enrol.empty()) return true;
  pb::Signed envelope;
  return wire::parse_signed(enrol, envelope) && envelope.signer() == as_text(identity);
}

Result<uint32_t> TrustTable::add_agent(const AgentRow& row) {
  if (const auto it = by_identity_.find(row.identity); it != by_identity_.end()) return it->second;
  // It has handed over while this was on its way.
  if (const auto it = formers_.find(row.identity); it != formers_.end()) return it->second;
  const auto index = static_cast<uint32_t>(agents_.size());
  if (index >= arena_.sizes().agents) {
    return fail(ErrorCode::kResource,
                fmt::format("limits.agents is {}, and the store and the trust: section name more "
                            "agents than that: raise it",
                            arena_.sizes().agents));
  }
  AgentEntry entry;
  entry.index = index;
  entry.identity = row.identity;
  entry.name = row.name;
  entry.address = {row.tenant, row.node};
  entry.source = row.source;
  entry.visibility = row.visibility;
  entry.enrol = row.enrol;
  addresses_[entry.address] = index;
  // A row that nothing stands on must not take a name from one that stands.
  if (row.source != AgentSource::kConfig) {
    names_[{row.tenant, row.name}] = index;
  } else {
    names_.try_emplace({row.tenant, row.name}, index);
  }
  fabric::Agent& record = arena_.agents()[index];
  record.tenant = row.tenant;
  tenants_.insert(row.tenant);
  arena_.relay().tenants.store(static_cast<uint32_t>(tenants_.size()), std::memory_order_relaxed);
  record.latency_place.store(latency_places_.of(row.tenant), std::memory_order_relaxed);
  record.address = entry.address.to_u64();
  record.identity.set(entry.identity);
  agents_.push_back(std::move(entry));
  by_identity_[row.identity] = index;
  set_admission(agents_[index], row.expires_ms);
  if (const auto r = revocations_.find(row.identity); r != revocations_.end()) {
    mark_revoked(agents_[index], r->second.reason, r->second.at_ms);
  }
  return index;
}

static EdgeTerms terms_of(uint8_t right, uint16_t calls) {
  return {.right = static_cast<EdgeRight>(right),
          .capabilities = static_cast<uint8_t>(calls),
          .protocols = static_cast<uint8_t>(calls >> 8),
          .rate = {}};
}

void TrustTable::restore(const Snapshot& snapshot) {
  reconcile(snapshot);
  agents_.reserve(snapshot.agents.size());
  by_identity_.reserve(snapshot.agents.size());
  edges_.reserve(snapshot.agents.size(), 2 * snapshot.pairs.size());
  agreements_.reserve(snapshot.pairs.size());
  for (const auto& row : snapshot.agents) (void)add_agent(row);
  mark_durable(snapshot.agents);
  // From the last on, each former one's agent is known by what came after it.
  for (auto r = snapshot.rotations.rbegin(); r != snapshot.rotations.rend(); ++r) {
    const AgentEntry* now = by_identity(r->successor);
    if (now == nullptr) now = successor_of(r->successor);
    if (now == nullptr) continue;  // limits.agents is too small: said elsewhere
    formers_[r->former] = now->index;
    agents_[now->index].formers.push_back({r->former, r->digest, r->at_ms});
  }
  for (AgentEntry& a : agents_) std::reverse(a.formers.begin(), a.formers.end());
  for (const QuotaUseRow& row : snapshot.quota_uses) {
    const AgentEntry* from = by_address(VirtualAddress::from_u64(row.from));
    const AgentEntry* to = by_address(VirtualAddress::from_u64(row.to));
    if (from == nullptr || to == nullptr) continue;
    limits_.restore(from->index, to->index, {{0, row.period_s}, row.used, row.ends_ms});
  }
  for (const auto& row : snapshot.pairs) {
    const AgentEntry* from = by_identity(row.requester);
    const AgentEntry* to = by_identity(row.approver);
    if (from == nullptr || to == nullptr) continue;  // limits.agents is too small: said elsewhere
    Agreement agreement{.request = row.request,
                        .grant = row.grant,
                        .requester = from->index,
                        .approver = to->index,
                        .forward = terms_of(row.forward, row.forward_calls),
                        .backward = terms_of(row.backward, row.backward_calls),
                        .made_ms = row.made_ms,
                        .expires_ms = row.expires_ms};
    agreement.forward.granted = {row.quota_calls, row.quota_s};
    agree(std::move(agreement), {row.forward_scopes, row.backward_scopes});
  }
}

std::vector<uint32_t> TrustTable::reconcile(const Snapshot& snapshot) {
  std::vector<uint32_t> found;
  for (const auto& r : snapshot.revocations) {
    revocations_[r.identity] = r;
    if (AgentEntry* a = by_identity(r.identity); a != nullptr && !a->revoked) {
      mark_revoked(*a, r.reason, r.at_ms);
      found.push_back(a->index);
    }
  }
  return found;
}

VirtualAddress TrustTable::fresh_address(uint16_t tenant) const {
  for (;;) {
    const VirtualAddress address{tenant, static_cast<uint32_t>(crypto::random_u64())};
    if (address.node != 0 && !addresses_.contains(address)) return address;
  }
}

EdgeTerms TrustTable::configured_terms(EdgeRight right, const TrustPair& pair,
                                       const RateConfig& rate, const CallTerms& calls) {
  return {.right = right,
          .seal = pair.seal,
          .rate = rate,
          .calls = limits_.terms().number_of(calls),
          .granted = {}};
}

Result<TrustChange> TrustTable::apply(const TrustConfig& trust) {
  size_t unknown = 0;
  for (const auto& a : trust.agents) unknown += by_identity_.count(a.identity) == 0 ? 1 : 0;
  if (agents_.size() + unknown > arena_.sizes().agents) {
    return fail(ErrorCode::kResource,
                fmt::format("limits.agents is {}, {} agents are needed: raise it and restart",
                            arena_.sizes().agents, agents_.size() + unknown));
  }
  for (const auto& a : trust.agents) {
    const AgentEntry* holder = by_name(a.tenant, a.name);
    if (holder != nullptr && holder->identity != a.identity &&
        holder->source == AgentSource::kOperator) {
      return fail(ErrorCode::kConfig,
                  fmt::format("line {}: {} is the name of an agent of tenant {} that was enrolled "
                              "without this file ({}): give one of them another name",
                              a.line, a.name, a.tenant, crypto::to_did(holder->identity)));
    }
  }
  for (const auto& a : trust.agents) {
    const AgentEntry* known = by_identity(a.identity);
    if (known != nullptr && known->address.tenant != a.tenant) {
      return fail(
          ErrorCode::kConfig,
          fmt::format("line {}: {} was enrolled in tenant {} with the address {}, which is for "
                      "good: keep its tenant, or give it a new identity",
                      a.line, a.name, known->address.tenant, to_string(known->address)));
    }
  }
  for (const auto& a : trust.agents) {
    if (const AgentEntry* now = successor_of(a.identity); now != nullptr) {
      return fail(
          ErrorCode::kConfig,
          fmt::format("line {}: {} has handed over to another identity: put {} in the place "
                      "of its did, and its new statement",
                      a.line, a.name, crypto::to_did(now->identity)));
    }
  }
  // The worst case: every pair is new while every old slot rests.
  const size_t free_slots = arena_.edges().size() - next_slot_ + resting_.size();
  if (trust.pairs.size() * 2 > free_slots + edges_.size()) {
    return fail(ErrorCode::kResource,
                fmt::format("limits.edges is {}, {} pairs need more: raise it "
                            "and restart",
                            arena_.sizes().edges, trust.pairs.size()));
  }

  if (auto r = rates_.apply(trust.tenants); !r) return tl::unexpected(r.error());

  TrustChange change;
  std::set<uint32_t> touched;
  std::map<std::string, uint32_t> index_of;
  std::set<uint32_t> configured;
  bool moved = false;  // somebody stands now who did not, or no longer
  for (const auto& a : trust.agents) {
    AgentEntry* entry = by_identity(a.identity);
    if (entry == nullptr) {
      const VirtualAddress address = fresh_address(a.tenant);
      AgentRow row{.identity = a.identity,
                   .tenant = address.tenant,
                   .node = address.node,
                   .name = a.name,
                   .created_ms = clock_.unix_ms(),
                   .enrol = {}};
      auto index = add_agent(row);
      if (!index) return tl::unexpected(index.error());
      entry = &agents_[*index];
    }
    if (!entry->durable) {
      change.new_agents.push_back({.identity = a.identity,
                                   .tenant = entry->address.tenant,
                                   .node = entry->address.node,
                                   .name = a.name,
                                   .created_ms = clock_.unix_ms(),
                                   .enrol = {}});
    }
    // An agent may have told a later one since; going back is what its peers refuse.
    if (entry->enrol != a.enrol && issued_ms(a.enrol) >= entry->enrol_issued_ms()) {
      for (const auto& e : edges_of(entry->index)) touched.insert(e.to);
      entry->enrol = a.enrol;
    }
    // A name that an agent chose for itself gives way to the operator's.
    AgentEntry* holder = by_name(a.tenant, a.name);
    if (holder != nullptr && holder != entry) {
      rename(*holder, fmt::format("{}-{:08x}", a.name, holder->address.node));
    }
    rename(*entry, a.name);
    moved = moved || !entry->standing();
    entry->configured = true;
    arena_.agents()[entry->index].bucket.set(limit_of(a.rate, clock_));
    arena_.agents()[entry->index].call_bucket.set(a.rate.calls_per_s, clock_.hz());
    configured.insert(entry->index);
    index_of[a.name] = entry->index;
  }
  for (auto& entry : agents_) {
    arena_.agents()[entry.index].tenant_slot.store(rates_.slot_of(entry.address.tenant),
                                                   std::memory_order_release);
    if (!entry.configured || configured.contains(entry.index)) continue;
    entry.configured = false;
    if (entry.standing()) continue;  // the operator or a token enrolled it as well
    moved = true;
    arena_.agents()[entry.index].state.store(uint32_t(fabric::AgentState::kFree),
                                             std::memory_order_release);
    change.removed.push_back(entry.index);
  }

  // What the section named and names, in its order, and what standing agents' agreements open.
  std::vector<PairKey> pairs;
  for (const auto& [key, terms] : configured_pairs_) pairs.push_back(key);
  configured_pairs_.clear();
  for (const auto& p : trust.pairs) {
    const uint32_t a = index_of.at(p.from), b = index_of.at(p.to);
    const EdgeTerms forward = configured_terms(p.forward, p, p.forward_rate, p.forward_calls);
    const EdgeTerms backward = configured_terms(p.backward, p, p.backward_rate, p.backward_calls);
    configured_pairs_[pair_key(a, b)] =
        a < b ? ConfiguredPair{forward, backward} : ConfiguredPair{backward, forward};
    pairs.push_back(pair_key(a, b));
  }
  if (moved) agreements_.each([&](const Agreement& g) { pairs.push_back(g.pair()); });
  for (const PairKey& key : pairs) {
    if (Agreement* g = agreements_.find(key)) set_end(*g);
    if (settle(key) != Settled::kChanged) continue;
    touched.insert(key.first);
    touched.insert(key.second);
  }
  change.pairs = static_cast<unsigned>(edges_.size() / 2 + waiting_.size());
  change.waiting = static_cast<unsigned>(waiting_.size());
  change.agents = static_cast<unsigned>(configured.size());
  change.touched.assign(touched.begin(), touched.end());
  return change;
}

void TrustTable::mark_durable(const std::vector<AgentRow>& rows) {
  for (const auto& row : rows) {
    if (AgentEntry* a = by_identity(row.identity)) a->durable = true;
  }
}

void TrustTable::activate() {
  for (const auto& a : agents_) {
    if (!a.standing() || !a.durable || a.revoked) continue;
    arena_.agents()[a.index].state.store(uint32_t(fabric::AgentState::kActive),
                                         std::memory_order_release);
  }
}

AgentEntry* TrustTable::by_identity(const crypto::PublicKey& identity) {
  const auto it = by_identity_.find(identity);
  return it == by_identity_.end() ? nullptr : &agents_[it->second];
}

const AgentEntry* TrustTable::by_identity(const crypto::PublicKey& identity) const {
  const auto it = by_identity_.find(identity);
  return it == by_identity_.end() ? nullptr : &agents_[it->second];
}

std::vector<uint32_t> TrustTable::catch_up(const Snapshot& snapshot) {
  std::vector<uint32_t> out;
  for (const RotationRow& r : snapshot.rotations) {
    const AgentEntry* agent = by_identity(r.former);
    if (agent == nullptr) continue;
    out.push_back(agent->index);
    rotate(agent->index, r.successor, r.digest, r.at_ms);
  }
  return out;
}

const AgentEntry* TrustTable::successor_of(const crypto::PublicKey& former) const {
  const auto it = formers_.find(former);
  return it == formers_.end() ? nullptr : &agents_[it->second];
}

bool TrustTable::is_free(const crypto::PublicKey& identity) const {
  return !by_identity_.contains(identity) && !formers_.contains(identity) &&
         !revocations_.contains(identity);
}

void TrustTable::rotate(uint32_t index, const crypto::PublicKey& successor, const Digest& statement,
                        uint64_t at_ms) {
  AgentEntry& agent = agents_[index];
  if (agent.identity == successor) return;  // found in a store that was read again
  by_identity_.erase(agent.identity);
  formers_[agent.identity] = index;
  agent.formers.push_back({agent.identity, statement, at_ms});
  agent.identity = successor;
  by_identity_[successor] = index;
  arena_.agents()[index].identity.set(successor);
  // Revoked while it was being written.
  if (agent.revoked) revocations_[successor] = {successor, agent.revoked_reason, agent.revoked_ms};
  judge_anew(agent);
}

AgentEntry* TrustTable::by_address(VirtualAddress address) {
  const auto it = addresses_.find(address);
  return it == addresses_.end() ? nullptr : &agents_[it->second];
}

AgentEntry* TrustTable::by_name(uint16_t tenant, const std::string& name) {
  const auto it = names_.find({tenant, name});
  if (it == names_.end()) return nullptr;
  AgentEntry& entry = agents_[it->second];
  return (entry.standing() || entry.over) && !entry.revoked ? &entry : nullptr;
}

void TrustTable::rename(AgentEntry& entry, const std::string& name) {
  if (entry.name == name && names_.contains({entry.address.tenant, name})) {
    names_[{entry.address.tenant, name}] = entry.index;
    return;
  }
  const auto old = names_.find({entry.address.tenant, entry.name});
  if (old != names_.end() && old->second == entry.index) names_.erase(old);
  entry.name = name;
  names_[{entry.address.tenant, name}] = entry.index;
  judge_anew(entry);
}

// A policy goes by names and identities, also for what was agreed under another one.
void TrustTable::judge_anew(const AgentEntry& entry) {
  policy_.forget(entry.index);
  if (policy_.policy().rules.empty()) return;
  for (const PairKey& pair : agreements_.of(entry.index)) {
    set_end(*agreements_.find(pair));
    if (settle(pair) != Settled::kSame) renamed_.push_back(pair);
  }
}

AgentEntry* TrustTable::resolve(const std::string& text, Error* why,
                                std::optional<uint16_t> tenant) {
  const auto refuse = [&](ErrorCode code, std::string sentence) -> AgentEntry* {
    if (why != nullptr) *why = {code, std::move(sentence)};
    return nullptr;
  };
  AgentEntry* found = nullptr;
  if (const auto did = crypto::parse_did(text)) {
    found = by_identity(*did);
    if (const auto it = formers_.find(*did); found == nullptr && it != formers_.end()) {
      found = &agents_[it->second];
    }
  } else if (const auto address = parse_virtual_address(text)) {
    found = by_address(*address);
  } else {
    // Who stands before who is revoked, and both before who is known from earlier alone.
    const auto rank = [](const AgentEntry& a) { return a.standing() ? a.revoked ? 1 : 2 : 0; };
    for (auto& a : agents_) {
      if (tenant && a.address.tenant != *tenant) continue;
      if (a.name != text || (found != nullptr && rank(a) < rank(*found))) continue;
      if (found != nullptr && rank(a) == rank(*found) && rank(a) != 0) {
        return refuse(ErrorCode::kConflict,
                      fmt::format("more than one agent is called {}: name one by its address, {} "
                                  "or {}",
                                  text, to_string(found->address), to_string(a.address)));
      }
      found = &a;
    }
  }
  if (found != nullptr && (!tenant || found->address.tenant == *tenant)) return found;
  return refuse(ErrorCode::kNotFound,
                fmt::format("no agent '{}' here: sluicectl agents lists them", text));
}

Result<uint32_t> TrustTable::enrol(const AgentRow& row) {
  auto index = add_agent(row);
  if (!index) return index;
  AgentEntry& entry = agents_[*index];
  entry.durable = true;
  entry.source = row.source;
  entry.visibility = row.visibility;
  if (entry.identity == row.identity) entry.enrol = row.enrol;
  const bool stood = entry.standing();
  set_admission(entry, row.expires_ms);
  rename(entry, row.name);
  if (entry.standing() && !stood) settle_all_of(*index);
  if (entry.standing() && !entry.revoked) {
    arena_.agents()[*index].tenant_slot.store(rates_.slot_of(row.tenant),
                                              std::memory_order_release);
    arena_.agents()[*index].state.store(uint32_t(fabric::AgentState::kActive),
                                        std::memory_order_release);
  }
  return index;
}

void TrustTable::set_admission(AgentEntry& entry, uint64_t expires_ms) {
  if (entry.expires_ms != 0) admissions_.erase({entry.expires_ms, entry.index});
  entry.expires_ms = expires_ms;
  entry.over = expires_ms != 0 && expires_ms <= clock_.unix_ms();
  if (expires_ms != 0 && !entry.over) admissions_.insert({expires_ms, entry.index});
}

// What its agreements open, or no longer do.
void TrustTable::settle_all_of(uint32_t agent) {
  for (const PairKey& pair : agreements_.of(agent)) {
    if (settle(pair) != Settled::kSame) renamed_.push_back(pair);
  }
}

std::vector<uint32_t> TrustTable::end_admissions(uint64_t unix_ms, size_t most) {
  std::vector<uint32_t> out;
  while (!admissions_.empty() && admissions_.begin()->first <= unix_ms && out.size() < most) {
    AgentEntry& entry = agents_[admissions_.begin()->second];
    admissions_.erase(admissions_.begin());
    entry.over = true;
    if (entry.revoked || entry.standing()) continue;
    arena_.agents()[entry.index].state.store(uint32_t(fabric::AgentState::kFree),
                                             std::memory_order_release);
    settle_all_of(entry.index);
    out.push_back(entry.index);
  }
  return out;
}

void TrustTable::mark_revoked(AgentEntry& agent, const std::string& reason, uint64_t at_ms) {
  arena_.agents()[agent.index].state.store(uint32_t(fabric::AgentState::kRevoked),
                                           std::memory_order_release);
  agent.revoked = true;
  agent.revoked_reason = reason;
  agent.revoked_ms = at_ms;
  revocations_[agent.identity] = {agent.identity, reason, at_ms};
}

}  // namespace sluice::control
