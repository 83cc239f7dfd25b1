// How agents come to the relay without its configuration (wire.md §4): the operator adds them by
// DID, or hands out tokens. Tenants' names, tokens in force, and the Enrol statements that agents
// tell. Durable before anybody is let in. Control thread.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "control/channel.h"
#include "control/statement_check.h"
#include "control/store.h"

namespace sluice::control {

struct NewToken {
  TokenRow row;
  Buffer secret;  // told once, to the operator; wiped by whoever holds it last
};

class Enrolment {
 public:
  Enrolment(const Clock& clock, TrustTable& trust, Channel& channel, Store& store)
      : clock_(clock), trust_(trust), channel_(channel), store_(store) {}

  void restore(const Snapshot& snapshot);

  // For the operator. Errors are sentences; answers come when they are durable.
  void add_tenant(const std::string& name, std::optional<uint16_t> id, const std::string& actor,
                  std::function<void(Result<TenantRow>)> done);
  // A tenant's name, or its number.
  Result<uint16_t> tenant(const std::string& text) const;
  std::string tenant_name(uint16_t id) const;  // empty: it has none
  const std::map<uint16_t, TenantRow>& tenants() const { return tenants_; }
  // Admitted for so long from now on; 0: without end. Of one that is enrolled, from now on so.
  void add_agent(const crypto::PublicKey& identity, uint16_t tenant, const std::string& name,
                 uint64_t life_ms, const std::string& actor,
                 std::function<void(Result<uint32_t>)> done);
  void create_token(uint16_t tenant, uint64_t life_ms, uint32_t uses, const std::string& actor,
                    std::function<void(Result<NewToken>)> done);
  void end_token(const Digest& hash, const std::string& actor,
                 std::function<void(Result<void>)> done);
  const std::map<Digest, TokenRow>& tokens() const { return tokens_; }

  // For handshakes: whether a stranger's token could let it in. The signature is checked before
  // `enrol_by_token`, which only begins: a later HELLO finds the agent enrolled.
  bool would_admit(Bytes token) const;
  void enrol_by_token(const crypto::PublicKey& identity, Bytes token);

  // Something of this agent is on its way to the disk; what it says next waits for that.
  bool busy(const crypto::PublicKey& identity) const { return enrolling_.contains(identity); }
  // Makes it so for a while.
  void hold(const crypto::PublicKey& identity) { enrolling_.insert(identity); }
  void let_go(const crypto::PublicKey& identity) { enrolling_.erase(identity); }
  // An Enrol statement of a standing agent that is not busy.
  void submit(uint32_t agent, const CheckedStatement& statement,
              std::function<void(OutcomeCode)> done);

 private:
  const TokenRow* spendable(Bytes token) const;
  void apply(Changes changes, std::function<void(Result<void>)> then);
  Result<void> room_for(uint16_t tenant, const std::string& name,
                        const crypto::PublicKey& identity);

  const Clock& clock_;
  TrustTable& trust_;
  Channel& channel_;
  Store& store_;
  std::map<uint16_t, TenantRow> tenants_;
  std::map<Digest, TokenRow> tokens_;
  std::set<crypto::PublicKey> enrolling_;                   // their rows are being written
  std::set<std::pair<uint16_t, std::string>> names_taken_;  // by rows that are being written
};

}  // namespace sluice::control
