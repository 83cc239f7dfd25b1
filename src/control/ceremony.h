// How two agents come to trust each other (wire.md §5): requests that wait for their receiver,
// grants, rejections, and revocations by either side, each a signed statement that is kept. What
// changes trust is durable before it is in force and before it is answered; a revocation is in
// force first. Control thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>

#include "control/agent_pace.h"
#include "control/enrolment.h"
#include "control/relay_keys.h"
#include "control/revocation.h"
#include "control/waiting_requests.h"

namespace sluice::control {

class Ceremony {
 public:
  using Done = std::function<void(Outcome)>;

  Ceremony(const RelayKeys& keys, const Clock& clock, TrustTable& trust, Channel& channel,
           Store& store, Enrolment& enrolment, Revocations& revocations, AgentPace& pace);

  void restore(const Snapshot& snapshot);

  // A statement from the agent's own session. Never answered: it is being written already, or the
  // agent asks too fast; it repeats itself.
  void submit(uint32_t agent, const pb::Signed& envelope, Done done);
  // Requests that wait, for an agent that has just connected.
  void introduce(uint32_t agent);
  // The operator ends an agreement.
  void revoke_pair(PairKey pair, const std::string& reason, const std::string& actor,
                   Revocations::Done done);

  // The operators of one tenant let a request across tenants be shown. kNotFound, kConflict.
  void consent(const Digest& request, uint16_t tenant, const std::string& actor,
               std::function<void(Result<void>)> done);
  // Another policy is in force: what waits may be shown now, or no longer.
  void policy_changed();

  // Called when an agent goes on under another identity.
  void on_rotation(std::function<void(uint32_t agent)> rotated) { rotated_ = std::move(rotated); }

  // What a store that was read again does not hold as waiting does not wait.
  void reconcile(const Snapshot& snapshot);

  // What has expired.
  void poll();

  // Whom it waits for: "receiver", "consent" of operators, "policy", or "enrolment" of the
  // receiver.
  const char* waits_for(const WaitingRequest& w) const;

  const WaitingRequests& waiting() const { return waiting_; }
  // What an agreement calls the scope that envelopes name so; its hash in hex where none does.
  std::string scope_name(uint16_t tenant, uint64_t hash) const;

 private:
  using IdentityPair = std::pair<crypto::PublicKey, crypto::PublicKey>;

  void request(const AgentEntry& agent, CheckedStatement s, Done done);
  void grant(const AgentEntry& agent, CheckedStatement s, Done done);
  void reject(const AgentEntry& agent, CheckedStatement s, Done done);
  void revoke(const AgentEntry& agent, CheckedStatement s, Done done);
  void rotate(const AgentEntry& agent, CheckedStatement s, Done done);
  OutcomeCode check_rotation(const AgentEntry& agent, const CheckedStatement& s) const;
  bool writes_pair_of(const crypto::PublicKey& identity) const;
  OutcomeCode check_request(const AgentEntry& agent, const CheckedStatement& s) const;
  bool consented(const WaitingRequest& w, const AgentEntry& receiver) const;
  const WaitingRequest* crossed(const pb::TrustRequest& request) const;
  // What makes a pair of a request.
  struct Conclusion {
    WaitingRequest request;
    bool fresh = false;  // the request is not in the store yet
    Digest submitted{};  // the statement that is answered
    Digest answer{};     // that grants
    Buffer bytes;        // of the answer, Signed
    pb::Terms forward, backward;
    uint64_t expires_ms = 0;
    std::string actor;
    CallQuota quota;  // of the requester's calls
  };
  void conclude(Conclusion c, Done done);
  bool grant_by_policy(WaitingRequest request, const AgentEntry& receiver, Done& done);
  void cut(PairKey pair, const Agreement& agreement, Digest digest, Buffer statement,
           const std::string& reason, const std::string& actor, Revocations::Done done);
  void show_waiting(uint32_t agent);
  void show_waiting(const crypto::PublicKey& identity);
  bool deliverable(const WaitingRequest& w, const AgentEntry& receiver) const;
  // No name among these would be taken for another one.
  bool scopes_free(const pb::Terms& terms, uint16_t tenant) const;
  size_t names_of(uint16_t tenant) const;
  void know_scope(const ScopeNameRow& row);
  void add_scopes(const pb::Terms& terms, uint16_t tenant, Changes& changes) const;
  uint64_t floor_of(const crypto::PublicKey& a, const crypto::PublicKey& b) const;
  void remember(const Digest& digest);
  void expire();

  const RelayKeys& keys_;
  const Clock& clock_;
  TrustTable& trust_;
  Channel& channel_;
  Store& store_;
  Enrolment& enrolment_;
  Revocations& revocations_;

  AgentPace& pace_;

  WaitingRequests waiting_;
  std::map<IdentityPair, uint64_t> floors_;
  std::map<std::pair<uint16_t, uint64_t>, std::string> scope_names_;  // by tenant and hash
  std::map<uint16_t, size_t> names_by_tenant_;
  std::set<Digest> writing_;  // statements that are on their way to the disk
  std::set<IdentityPair> writing_pairs_;
  std::set<uint32_t> rotating_;  // agents whose change of identity is
  std::function<void(uint32_t)> rotated_;
  // Statements that were accepted lately: their repetition gets the same answer.
  std::set<Digest> accepted_;
  std::deque<Digest> accepted_order_;
  uint64_t next_expiry_ = 0;
};

}  // namespace sluice::control
