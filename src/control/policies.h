// The operator's policy and its changes: durable, then in force with one pass over all agreements,
// answered when every core has seen it. Control thread.
#pragma once

#include <functional>
#include <optional>

#include "control/ceremony.h"
#include "control/policy_file.h"
#include "fabric/rcu.h"

namespace sluice::control {

struct PolicyPreview {
  uint64_t number = 0;  // of the policy in force
  PolicyDiff diff;
  PolicyEffect effect;
};

struct PolicyAnswer {
  uint64_t number = 0;
  PolicyPreview preview;
  double sync_us = 0;
  double cut_us = 0;  // from its coming into force until every worker had passed a quiescent point
  bool proven = true;
};

class Policies {
 public:
  using Done = std::function<void(Result<PolicyAnswer>)>;

  Policies(const Clock& clock, fabric::Qsbr& qsbr, TrustTable& trust, Channel& channel,
           Ceremony& ceremony, Enrolment& enrolment, Store& store);

  // After the tenants and before the pairs. kStore: the stored policy cannot be read.
  Result<void> restore(const Snapshot& snapshot);

  // `problems` of the text; one text may be good now and bad later, when a tenant is not there.
  LoadedPolicy parse(std::string_view yaml) const;
  PolicyPreview preview(const Policy& policy) const;
  // kConflict where the policy in force is not number `after` any more, or another is on its way.
  void apply(Policy policy, std::string yaml, uint64_t after, const std::string& actor, Done done);

  const PolicyRow& row() const { return row_; }
  // A store read again after an error may hold a policy whose writing seemed to have failed.
  void reconcile(const Snapshot& snapshot);
  // True while a proof is awaited.
  bool poll();

 private:
  struct Proof {
    uint64_t token;
    uint64_t started;
    PolicyAnswer answer;
    Done done;
  };
  void enforce(Policy policy, PolicyAnswer answer, Done done);

  const Clock& clock_;
  fabric::Qsbr& qsbr_;
  TrustTable& trust_;
  Channel& channel_;
  Ceremony& ceremony_;
  Enrolment& enrolment_;
  Store& store_;
  PolicyRow row_;
  bool writing_ = false;
  std::optional<Proof> proof_;
};

}  // namespace sluice::control
