#include "control/trust_table.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "wire/frame.h"

namespace sluice::control {
namespace {

// wire.md §1: a slot rests at least this long after its edge ends.
constexpr uint64_t kRestMs = 180'000;

}  // namespace

Result<uint32_t> TrustTable::add_agent(const AgentRow& row) {
  if (const auto it = by_identity_.find(row.identity); it != by_identity_.end()) return it->second;
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
  addresses_.insert(entry.address);
  fabric::Agent& record = arena_.agents()[index];
  record.tenant = row.tenant;
  record.address = entry.address.to_u64();
  agents_.push_back(std::move(entry));
  by_identity_[row.identity] = index;
  if (const auto r = revocations_.find(row.identity); r != revocations_.end()) {
    mark_revoked(agents_[index], r->second.reason, r->second.at_ms);
  }
  return index;
}

void TrustTable::restore(const Snapshot& snapshot) {
  reconcile(snapshot);
  for (const auto& row : snapshot.agents) (void)add_agent(row);
  mark_durable(snapshot.agents);
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

Result<TrustChange> TrustTable::apply(const TrustConfig& trust) {
  size_t unknown = 0;
  for (const auto& a : trust.agents) unknown += by_identity_.count(a.identity) == 0 ? 1 : 0;
  if (agents_.size() + unknown > arena_.sizes().agents) {
    return fail(ErrorCode::kResource,
                fmt::format("limits.agents is {}, {} agents are needed: raise it and restart",
                            arena_.sizes().agents, agents_.size() + unknown));
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
  for (const auto& a : trust.agents) {
    AgentEntry* entry = by_identity(a.identity);
    if (entry == nullptr) {
      const VirtualAddress address = fresh_address(a.tenant);
      const AgentRow row{a.identity, address.tenant, address.node, a.name, clock_.unix_ms()};
      auto index = add_agent(row);
      if (!index) return tl::unexpected(index.error());
      entry = &agents_[*index];
    }
    if (!entry->durable) {
      change.new_agents.push_back(
          {a.identity, entry->address.tenant, entry->address.node, a.name, clock_.unix_ms()});
    }
    if (entry->enrol != a.enrol) {
      for (const auto& e : edges_of(entry->index)) touched.insert(e.to);
    }
    entry->name = a.name;
    entry->enrol = a.enrol;
    entry->configured = true;
    fabric::Agent& record = arena_.agents()[entry->index];
    record.bucket.set(limit_of(a.rate, clock_));
    record.tenant_slot.store(rates_.slot_of(a.tenant), std::memory_order_release);
    configured.insert(entry->index);
    index_of[a.name] = entry->index;
  }
  for (auto& entry : agents_) {
    if (!entry.configured || configured.contains(entry.index)) continue;
    entry.configured = false;
    arena_.agents()[entry.index].state.store(uint32_t(fabric::AgentState::kFree),
                                             std::memory_order_release);
    change.removed.push_back(entry.index);
  }

  std::map<std::pair<uint32_t, uint32_t>, EdgeTerms> wanted;
  for (const auto& p : trust.pairs) {
    const uint32_t a = index_of.at(p.from), b = index_of.at(p.to);
    if (agents_[a].revoked || agents_[b].revoked) continue;
    wanted[{a, b}] = {p.forward, p.seal, p.forward_rate};
    wanted[{b, a}] = {p.backward, p.seal, p.backward_rate};
    ++change.pairs;
  }
  std::vector<uint32_t> stale;
  for (const auto& [slot, e] : edges_) {
    const auto w = wanted.find({e.from, e.to});
    const auto back = wanted.find({e.to, e.from});
    const auto other = slot_of_pair_.find({e.to, e.from});
    const bool same = w != wanted.end() && back != wanted.end() && w->second == e.terms &&
                      other != slot_of_pair_.end() &&
                      edges_.at(other->second).terms == back->second;
    if (!same) stale.push_back(slot);
  }
  for (const uint32_t slot : stale) {
    touched.insert(edges_[slot].from);
    close_slot(slot, fabric::EdgeState::kRevoked);
  }
  for (const auto& [pair, terms] : wanted) {
    if (pair.first > pair.second || slot_of_pair_.contains(pair)) continue;
    if (!open_pair(pair.first, pair.second, terms, wanted[{pair.second, pair.first}])) {
      ++change.waiting;
      continue;
    }
    touched.insert(pair.first);
    touched.insert(pair.second);
  }
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
    if (!a.configured || !a.durable || a.revoked) continue;
    arena_.agents()[a.index].state.store(uint32_t(fabric::AgentState::kActive),
                                         std::memory_order_release);
  }
}

AgentEntry* TrustTable::by_identity(const crypto::PublicKey& identity) {
  const auto it = by_identity_.find(identity);
  return it == by_identity_.end() ? nullptr : &agents_[it->second];
}

AgentEntry* TrustTable::resolve(const std::string& text) {
  if (const auto did = crypto::parse_did(text)) return by_identity(*did);
  const auto address = parse_virtual_address(text);
  AgentEntry* found = nullptr;
  for (auto& a : agents_) {
    if (address ? a.address == *address : a.name == text) {
      // A name that the configuration gave to somebody else meanwhile means the configured one.
      if (found == nullptr || a.configured) found = &a;
    }
  }
  return found;
}

std::vector<EdgeEntry> TrustTable::edges_of(uint32_t agent) const {
  std::vector<EdgeEntry> out;
  for (auto it = slot_of_pair_.lower_bound({agent, 0});
       it != slot_of_pair_.end() && it->first.first == agent; ++it) {
    out.push_back(edges_.at(it->second));
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

std::vector<uint32_t> TrustTable::close_edges(const AgentEntry& agent) {
  // Pairs are opened and closed whole, so who may be sent to is also who may send.
  std::vector<uint32_t> peers;
  for (const EdgeEntry& e : edges_of(agent.index)) {
    peers.push_back(e.to);
    close_slot(e.slot, fabric::EdgeState::kRevoked);
    if (const auto back = slot_of_pair_.find({e.to, e.from}); back != slot_of_pair_.end()) {
      close_slot(back->second, fabric::EdgeState::kRevoked);
    }
  }
  return peers;
}

uint32_t TrustTable::take_slot() {
  if (!resting_.empty() && resting_.front().until <= clock_.ticks()) {
    const uint32_t slot = resting_.front().slot;
    resting_.pop_front();
    return slot;
  }
  return next_slot_ < arena_.edges().size() ? next_slot_++ : fabric::kNone;
}

bool TrustTable::open_pair(uint32_t a, uint32_t b, const EdgeTerms& ab, const EdgeTerms& ba) {
  const uint32_t slots[2] = {take_slot(), take_slot()};
  if (slots[0] == fabric::kNone || slots[1] == fabric::kNone) {
    // Only while slots rest: the next reload finds them free.
    for (const uint32_t s : slots) {
      if (s != fabric::kNone) resting_.push_front({s, 0});
    }
    return false;
  }
  uint32_t labels[2];
  for (int i = 0; i < 2; ++i) {
    fabric::Edge& e = arena_.edges()[slots[i]];
    const auto generation = static_cast<uint8_t>(e.generation() + 1);
    e.gate.store(fabric::edge_gate(fabric::EdgeState::kFree, generation, fabric::kNone),
                 std::memory_order_release);
    labels[i] = wire::make_label(slots[i], generation);
  }
  for (int i = 0; i < 2; ++i) {
    fabric::Edge& e = arena_.edges()[slots[i]];
    const uint32_t source = i == 0 ? a : b;
    e.target = i == 0 ? b : a;
    e.opposite_label = labels[1 - i];
    const EdgeTerms& terms = i == 0 ? ab : ba;
    e.right = static_cast<uint8_t>(terms.right);
    e.seals = fabric::seals_of(terms.seal);
    e.bucket.set(limit_of(terms.rate, clock_));
    e.bucket.reset();
    e.packets.set(0);
    e.bytes.set(0);
    e.tenant = agents_[source].address.tenant;
    const EdgeEntry entry{slots[i], source, e.target, terms, labels[i]};
    edges_[slots[i]] = entry;
    slot_of_pair_[{entry.from, entry.to}] = slots[i];
    e.gate.store(fabric::edge_gate(fabric::EdgeState::kOpen, e.generation(), source),
                 std::memory_order_release);
  }
  return true;
}

void TrustTable::close_slot(uint32_t slot, fabric::EdgeState state) {
  const EdgeEntry& e = edges_.at(slot);
  fabric::Edge& edge = arena_.edges()[slot];
  edge.gate.store(fabric::edge_gate(state, edge.generation(), edge.source()),
                  std::memory_order_release);
  slot_of_pair_.erase({e.from, e.to});
  resting_.push_back({slot, clock_.ticks() + clock_.ticks_from_ms(kRestMs)});
  edges_.erase(slot);
}

}  // namespace sluice::control
