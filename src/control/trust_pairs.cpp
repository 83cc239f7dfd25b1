// The pairs of the trust table: which edges stand, and the arena's records of them.
#include "control/trust_table.h"

#include <algorithm>
#include <utility>

#include "wire/frame.h"

namespace sluice::control {
std::vector<EdgeEntry> TrustTable::edges_of(uint32_t agent) const {
  std::vector<EdgeEntry> out;
  for (const uint32_t slot : edges_.of(agent)) out.push_back(edges_.at(slot));
  return out;
}

std::optional<TrustTable::Wanted> TrustTable::wanted(PairKey pair) const {
  const AgentEntry& a = agents_[pair.first];
  const AgentEntry& b = agents_[pair.second];
  if (a.revoked || b.revoked || !a.standing() || !b.standing()) return std::nullopt;
  if (const auto c = configured_pairs_.find(pair); c != configured_pairs_.end()) {
    return Wanted{c->second.forward, c->second.backward, 0, 0};
  }
  const Agreement* g = agreements_.find(pair);
  return g == nullptr ? std::nullopt : agreed(*g, policy_);
}

uint64_t TrustTable::end_of(const Agreement& g, const PolicyTable& policy) const {
  const PolicyDecision d = policy.decide(agents_[g.requester], &agents_[g.approver]);
  // What is denied is suspended, and its time goes on as it was agreed.
  const uint64_t longest = d.action == PolicyAction::kDeny ? 0 : d.bounds.longest_ms;
  if (longest == 0) return g.expires_ms;
  return g.expires_ms == 0 ? g.made_ms + longest : std::min(g.expires_ms, g.made_ms + longest);
}

std::optional<TrustTable::Wanted> TrustTable::agreed(const Agreement& g,
                                                     const PolicyTable& policy) const {
  const AgentEntry& asked = agents_[g.requester];
  const AgentEntry& granted = agents_[g.approver];
  const PolicyDecision there = policy.decide(asked, &granted);
  // Who asked is who needs to be allowed; the other direction has bounds of its own.
  if (there.action == PolicyAction::kDeny) return std::nullopt;
  const uint64_t end = end_of(g, policy);
  if (end != 0 && end <= clock_.unix_ms()) return std::nullopt;
  EdgeTerms forward = g.forward, backward = g.backward;
  const auto bound = [this](EdgeTerms& terms, const PolicyBounds& b) {
    if (b.seal) terms.seal = *b.seal;
    terms.rate = b.rate;
    terms.calls = limits_.terms().number_of(b.calls);
  };
  bound(forward, there.bounds);
  bound(backward, policy.decide(granted, &asked).bounds);
  const bool low = g.requester < g.approver;
  return Wanted{low ? forward : backward, low ? backward : forward, g.number, end};
}

PolicyEffect TrustTable::effect_of(const Policy& policy) const {
  PolicyTable candidate;
  candidate.set(policy);
  PolicyEffect out;
  agreements_.each([&](const Agreement& g) {
    const AgentEntry& a = agents_[g.requester];
    const AgentEntry& b = agents_[g.approver];
    if (a.revoked || b.revoked || !a.standing() || !b.standing() ||
        configured_pairs_.contains(g.pair())) {
      return;
    }
    const auto before = agreed(g, policy_), after = agreed(g, candidate);
    if (const uint64_t end = end_of(g, candidate); end != 0 && end <= clock_.unix_ms()) {
      ++out.ended;
      return;
    }
    if (before && !after) ++out.suspended;
    if (!before && after) ++out.resumed;
    if (before && after &&
        (before->forward != after->forward || before->backward != after->backward ||
         before->expires_ms != after->expires_ms)) {
      ++out.changed;
    }
  });
  return out;
}

void TrustTable::set_end(Agreement& g) {
  const uint64_t end = end_of(g, policy_);
  if (end == g.ends_ms) return;
  if (g.ends_ms != 0) expiries_.erase({g.ends_ms, g.pair()});
  if (end != 0) expiries_.insert({end, g.pair()});
  g.ends_ms = end;
}

size_t TrustTable::rested() const {
  const uint64_t now = clock_.ticks();
  return static_cast<size_t>(std::count_if(resting_.begin(), resting_.end(),
                                           [now](const Resting& r) { return r.until <= now; }));
}

std::vector<PairKey> TrustTable::set_policy(Policy policy) {
  policy_.set(std::move(policy));
  std::vector<PairKey> changed;
  agreements_.each([&](Agreement& g) {
    set_end(g);
    if (settle(g.pair()) != Settled::kSame) changed.push_back(g.pair());
  });
  return changed;
}

// Workers read an edge's terms without synchronisation, so a pair on other terms is a new pair.
TrustTable::Settled TrustTable::settle(PairKey pair) {
  const auto w = wanted(pair);
  // Pairs are opened and closed whole.
  const uint32_t there = edges_.slot_of(pair.first, pair.second);
  const bool open = there != fabric::kNone;
  if (open && w) {
    const EdgeEntry& e = edges_.at(there);
    const EdgeEntry& back = edges_.at(edges_.slot_of(pair.second, pair.first));
    if (e.terms == w->forward && back.terms == w->backward && e.agreement == w->agreement &&
        e.expires_ms == w->expires_ms) {
      return Settled::kSame;
    }
  }
  if (open) close_pair(pair);
  if (!waiting_.empty()) waiting_.erase(pair);
  if (!w) return open ? Settled::kChanged : Settled::kSame;
  if (open_pair(pair, *w)) return Settled::kChanged;
  waiting_.insert(pair);
  return Settled::kWaiting;
}

bool TrustTable::agree(Agreement agreement, const GrantedScopes& scopes) {
  const PairKey key = agreement.pair();
  agreement.number = next_agreement_++;
  // Before the former ones are let go: they are often the same.
  const uint16_t tenant = agents_[agreement.requester].address.tenant;
  agreement.forward.scopes = scopes_.hold(tenant, scopes.forward);
  agreement.backward.scopes = scopes_.hold(tenant, scopes.backward);
  forget(key);
  agreement.ends_ms = 0;
  set_end(agreements_.set(std::move(agreement)));
  return settle(key) != Settled::kWaiting;
}

const Agreement* TrustTable::agreement(PairKey pair) const {
  return agreements_.find(pair);
}

const Agreement* TrustTable::agreement_of(uint32_t agent, const Digest& statement) const {
  const Agreement* g = agreements_.made_by(statement);
  return g != nullptr && (g->requester == agent || g->approver == agent) ? g : nullptr;
}

void TrustTable::forget(PairKey pair) {
  const Agreement* g = agreements_.find(pair);
  if (g == nullptr) return;
  expiries_.erase({g->ends_ms, pair});
  for (const EdgeTerms* terms : {&g->forward, &g->backward}) scopes_.release(terms->scopes);
  agreements_.remove(pair);
}

void TrustTable::end_agreement(PairKey pair) {
  // The gates first: whatever comes after takes longer.
  const uint32_t there = edges_.slot_of(pair.first, pair.second);
  if (there != fabric::kNone && edges_.at(there).agreement != 0) close_pair(pair);
  forget(pair);
  // The trust: section may name the pair too.
  (void)settle(pair);
}

std::vector<PairKey> TrustTable::end_agreements_but(const Snapshot& snapshot) {
  std::set<Digest> standing;
  for (const PairRow& row : snapshot.pairs) standing.insert(row.request);
  std::vector<PairKey> out;
  agreements_.each([&](const Agreement& g) {
    if (!standing.contains(g.request)) out.push_back(g.pair());
  });
  for (const PairKey& key : out) end_agreement(key);
  return out;
}

std::vector<PairKey> TrustTable::expired(uint64_t unix_ms, size_t most) const {
  std::vector<PairKey> out;
  for (const auto& [at, key] : expiries_) {
    if (at > unix_ms || out.size() == most) break;
    out.push_back(key);
  }
  return out;
}

std::vector<PairKey> TrustTable::open_waiting() {
  std::vector<PairKey> out = std::exchange(renamed_, {});
  if (waiting_.empty() || resting_.empty() || resting_.front().until > clock_.ticks()) return out;
  for (const PairKey& key : std::set<PairKey>(waiting_)) {
    if (settle(key) == Settled::kChanged) out.push_back(key);
  }
  return out;
}

std::vector<uint32_t> TrustTable::close_edges(const AgentEntry& agent) {
  // Pairs are opened and closed whole, so who may be sent to is also who may send.
  std::vector<uint32_t> peers;
  for (const EdgeEntry& e : edges_of(agent.index)) {
    peers.push_back(e.to);
    const PairKey key = pair_key(agent.index, e.to);
    close_pair(key);
  }
  // Also those that a policy suspends or that wait for slots.
  for (const PairKey& key : agreements_.of(agent.index)) forget(key);
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

bool TrustTable::open_pair(PairKey pair, const Wanted& w) {
  if (!limits_.has_room(w.forward, w.backward)) return false;
  const uint32_t slots[2] = {take_slot(), take_slot()};
  if (slots[0] == fabric::kNone || slots[1] == fabric::kNone) {
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
    const uint32_t source = i == 0 ? pair.first : pair.second;
    e.target = i == 0 ? pair.second : pair.first;
    e.opposite_label = labels[1 - i];
    const EdgeTerms& terms = i == 0 ? w.forward : w.backward;
    e.right = static_cast<uint8_t>(terms.right);
    e.seals = fabric::seals_of(terms.seal);
    e.capabilities = terms.capabilities;
    e.protocols = terms.protocols;
    const Agreement* made = w.agreement == 0 ? nullptr : agreements_.find(pair);
    e.grant = made == nullptr ? 0 : load_le<uint64_t>(made->grant.data());
    e.scopes = terms.scopes;
    e.packets.set(0);
    e.bytes.set(0);
    e.tenant = agents_[source].address.tenant;
    const EdgeEntry entry{slots[i], source, e.target, terms, labels[i], w.agreement, w.expires_ms};
    limits_.open(entry);
    edges_.add(entry);
    e.gate.store(fabric::edge_gate(fabric::EdgeState::kOpen, e.generation(), source),
                 std::memory_order_release);
  }
  return true;
}

void TrustTable::close_pair(PairKey pair) {
  for (const auto& direction : {pair, PairKey{pair.second, pair.first}}) {
    const uint32_t slot = edges_.slot_of(direction.first, direction.second);
    if (slot != fabric::kNone) close_slot(slot, fabric::EdgeState::kRevoked);
  }
}

void TrustTable::close_slot(uint32_t slot, fabric::EdgeState state) {
  fabric::Edge& edge = arena_.edges()[slot];
  edge.gate.store(fabric::edge_gate(state, edge.generation(), edge.source()),
                  std::memory_order_release);
  resting_.push_back({slot, clock_.ticks() + clock_.ticks_from_ms(fabric::kEdgeRestMs)});
  limits_.close(edges_.at(slot));
  edges_.remove(slot);
}

}  // namespace sluice::control
