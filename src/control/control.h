// The slow path as one object: trust, sessions, handshakes, the channel to agents, revocation.
// Built by the main thread after the dataplane's rings and before any worker runs; from then on
// owned by the control thread (the same thread in relayd), which calls `poll`.
#pragma once

#include <memory>

#include "control/approvals.h"
#include "control/audit_trail.h"
#include "control/ceremony.h"
#include "control/channel.h"
#include "control/config.h"
#include "control/credential_publisher.h"
#include "control/credential_tokens.h"
#include "control/directory.h"
#include "control/enrolment.h"
#include "control/events.h"
#include "control/handshake.h"
#include "control/ownership.h"
#include "control/policies.h"
#include "control/prepared_keys.h"
#include "control/relay_keyring.h"
#include "control/relay_keys.h"
#include "control/revocation.h"
#include "control/session_table.h"
#include "control/store.h"
#include "control/trust_table.h"
#include "control/vault.h"
#include "control/watch.h"

namespace sluice::control {

// What the control plane is given: everything with an owner elsewhere.
struct Surroundings {
  const Clock& clock;
  fabric::Arena& arena;
  fabric::Qsbr& qsbr;
  fabric::Mailboxes& mailboxes;
  fabric::PortStatusReader ports;
  Store::Post post;  // to the control thread; outlives the control plane
  // Cores for threads that are neither worker nor control; empty: as the control thread's.
  std::vector<unsigned> spare_cores = {};
  // Of verifier cores, which read prepared keys; null: there are none.
  fabric::Qsbr* verifiers = nullptr;
  // Whether each port's link is up; none: nobody watches them.
  std::function<std::vector<bool>()> links = {};
};

class Control {
 public:
  // Restores agents and revocations from the store, applies the trust section, makes new agents
  // durable: when it returns, every revocation is in force and nothing has been polled.
  static Result<std::unique_ptr<Control>> create(const Config& config, RelayKeys keys,
                                                 std::unique_ptr<Store> store, Surroundings around);

  // One round: events, handshakes, messages, revocations, expiry. Returns how soon it wants to be
  // called again, in microseconds.
  unsigned poll();

  // SIGHUP: the trust section of a configuration that loaded without problems.
  Result<TrustChange> reload(const TrustConfig& trust);

  // After an I/O error the store was read again; revocations that it turned out to hold.
  void reconcile(const Snapshot& snapshot);

  const Config& config() const { return config_; }
  const RelayKeys& keys() const { return keys_; }
  const Surroundings& around() const { return around_; }
  TrustTable& trust() { return trust_; }
  SessionTable& sessions() { return sessions_; }
  const PreparedKeys& prepared_keys() const { return prepared_; }
  Handshakes& handshakes() { return handshakes_; }
  Channel& channel() { return channel_; }
  Revocations& revocations() { return revocations_; }
  Enrolment& enrolment() { return enrolment_; }
  Ceremony& ceremony() { return ceremony_; }
  Policies& policies() { return policies_; }
  Store& store() { return *store_; }
  RelayKeyring& keyring() { return keyring_; }
  AuditTrail& audit() { return *audit_; }
  Approvals& approvals() { return approvals_; }
  Events& events() { return events_; }
  Vault& vault() { return vault_; }
  CredentialPublisher& credential_slots() { return slots_; }
  const Watch& watch() const { return watch_; }
  uint64_t epoch() const { return around_.arena.relay().epoch; }
  uint64_t started() const { return started_; }

 private:
  Control(const Config& config, RelayKeys keys, std::unique_ptr<Store> store, Surroundings around);
  void on_event(const fabric::Event& e);
  void circuit_changed(uint32_t slot, uint32_t state);
  void answer_submit(uint32_t agent, uint64_t request, const Outcome& outcome);
  void enforce(const TrustChange& change);

  const Config config_;
  RelayKeys keys_;
  Surroundings around_;
  uint64_t started_;
  void publish(uint64_t now);
  void keep_quotas(uint64_t now);
  bool end_admissions();

  uint64_t last_busy_ = 0;         // ticks
  std::vector<uint32_t> to_tell_;  // agents that do not know the relay's key yet
  uint64_t published_ = 0;         // ticks: when workers were last told that control runs
  int64_t clock_known_ = 0;        // Unix time of tick 0 that ends of edges were computed with
  uint64_t quotas_kept_ = 0;       // ticks
  bool keeping_quotas_ = false;    // they are on their way to the disk
  Events events_;
  Watch watch_;
  TrustTable trust_;
  SessionTable sessions_;
  PreparedKeys prepared_;
  Channel channel_;
  Ownership owners_;
  std::unique_ptr<Store> store_;
  Enrolment enrolment_;
  RelayKeyring keyring_;
  Handshakes handshakes_;
  Revocations revocations_;
  AgentPace pace_;
  Directory directory_;
  Ceremony ceremony_;
  Policies policies_;
  Approvals approvals_;
  Vault vault_;
  CredentialPublisher slots_;
  CredentialTokens credentials_;
  std::unique_ptr<AuditTrail> audit_;  // from create() on
};

// Puts the running relay's numbers and secrets where workers read them.
uint64_t fill_relay_record(fabric::Arena& arena);

// The calls: section as workers have it.
fabric::CallOptions call_options(const CallsConfig& calls);

}  // namespace sluice::control
