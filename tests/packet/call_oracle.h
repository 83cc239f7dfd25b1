// Decides what a CALL_OPEN must get, by docs/protocol.md §7 alone: a second reading of its list,
// that shares no code with src/. It remembers what it let through, as the relay has to.
#pragma once

#include <array>
#include <map>
#include <set>
#include <vector>

#include "reference/peer.h"

namespace rig {

// The numbers and names of the decisions that something can produce today.
struct Decision {
  uint16_t number;
  const char* name;
};
inline constexpr Decision kDecisions[] = {{0, "authorized"},
                                          {1, "malformed_envelope"},
                                          {2, "no_edge"},
                                          {3, "revoked"},
                                          {4, "wrong_tenant"},
                                          {5, "missing_trace_or_idempotency"},
                                          {6, "wrong_audience"},
                                          {7, "not_yet_valid"},
                                          {8, "expired_message"},
                                          {9, "replayed"},
                                          {10, "duplicate_idempotency_key"},
                                          {11, "missing_scope"},
                                          {12, "capability_not_allowed"},
                                          {13, "protocol_not_allowed"},
                                          {14, "outside_window"},
                                          {15, "control_stale"},
                                          {16, "circuit_open"},
                                          {17, "rate_limited"},
                                          {18, "quota_exhausted"},
                                          {19, "idempotency_table_full"},
                                          {20, "credential_unavailable"},
                                          {21, "audit_unavailable"},
                                          {22, "bad_signature"},
                                          {23, "approval_required"},
                                          {24, "approval_denied"}};

// What was agreed about one direction of a pair.
struct Agreed {
  uint64_t grant = 0;
  bool any_scope = true;
  std::set<int> capabilities = {1, 2, 3, 4};
  std::set<int> protocols = {0, 1, 2, 3, 4, 5};
  bool reply_only = false;
  bool callee_revoked = false;
};

// The relay's state at the time, as far as a caller cannot see it.
struct Moment {
  uint64_t now_ms = 0;
  uint64_t epoch = 0;
  bool stale = false;
  bool audited = true;
  bool credential = true;  // can be had, where one is needed
  bool rate_left = true;
  bool quota_left = true;
  bool in_window = true;
  bool circuit_closed = true;
  bool asks = false;  // somebody has to approve it
};

class CallOracle {
 public:
  CallOracle(uint64_t address, uint16_t tenant, unsigned room)
      : address_(address), tenant_(tenant), room_(room) {}

  // `edge`: null where the label is not the caller's. `callee`: the edge's.
  uint16_t decide(const oracle::Buf& e, uint64_t frame_id, const Agreed* edge, uint64_t callee,
                  bool signature_holds, const Moment& m) {
    using oracle::get_le;
    if (edge == nullptr) return 2;
    const auto counter = get_le<uint64_t>(e, 24);
    if (!consistent(e) || counter != frame_id || get_le<uint64_t>(e, 72) != address_) return 1;
    if (edge->callee_revoked || get_le<uint64_t>(e, 120) != edge->grant) return 3;
    if (get_le<uint16_t>(e, 80) != tenant_) return 4;
    if (is_zero(e, 0, 16) || is_zero(e, 32, 16)) return 5;
    if (get_le<uint64_t>(e, 64) != callee) return 6;
    const auto issued = get_le<uint64_t>(e, 48), expires = get_le<uint64_t>(e, 56);
    if (issued > m.now_ms + 30'000) return 7;
    if (issued + 30'000 < m.now_ms || expires <= m.now_ms) return 8;
    if (get_le<uint64_t>(e, 16) != m.epoch || ids_.contains(counter)) return 9;
    const oracle::Buf key(e.begin() + 32, e.begin() + 48);
    if (const auto it = keys_.find(key); it != keys_.end() && it->second > m.now_ms) return 10;
    if (e[86] != 0 && !edge->any_scope) return 11;
    if (edge->reply_only || !edge->capabilities.contains(e[84])) return 12;
    if (!edge->protocols.contains(e[85])) return 13;
    if (!m.in_window) return 14;
    if (m.stale) return 15;
    if (!m.circuit_closed) return 16;
    if (!m.rate_left) return 17;
    if (!m.quota_left) return 18;
    if (open_ >= room_) return 19;
    if (!m.credential) return 20;
    if (!m.audited) return 21;
    if (!signature_holds) return 22;
    ids_.insert(counter);
    keys_[key] = expires + 30'000;
    if (m.asks) return 23;
    ++open_;
    return 0;
  }
  // One that waited for it.
  void approved() { ++open_; }
  void ended(unsigned calls) { open_ -= calls; }
  unsigned open() const { return open_; }

 private:
  static bool is_zero(const oracle::Buf& e, size_t at, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      if (e[at + i] != 0) return false;
    }
    return true;
  }
  static bool consistent(const oracle::Buf& e) {
    using oracle::get_le;
    const auto issued = get_le<uint64_t>(e, 48), expires = get_le<uint64_t>(e, 56);
    if (e[87] != 0 || e[86] > 4 || expires <= issued || expires - issued > 300'000) return false;
    uint64_t before = 0;
    for (size_t i = 0; i < 4; ++i) {
      const auto scope = get_le<uint64_t>(e, 88 + 8 * i);
      if (i < e[86] ? scope <= before : scope != 0) return false;
      before = scope;
    }
    return true;
  }

  const uint64_t address_;
  const uint16_t tenant_;
  const unsigned room_;
  unsigned open_ = 0;
  std::set<uint64_t> ids_;
  std::map<oracle::Buf, uint64_t> keys_;
};

}  // namespace rig
