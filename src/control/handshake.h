// The responder's side of wire.md §4: HELLOs from the workers' rings to sessions, in batches. No
// public-key work for a source without a cookie while under load. Owned and run by the control
// thread.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "control/config.h"
#include "control/cookie_jar.h"
#include "control/enrolment.h"
#include "control/fair_queue.h"
#include "control/handshake_batch.h"
#include "control/handshake_outcome.h"
#include "control/prepared_keys.h"
#include "control/relay_keyring.h"
#include "control/session_table.h"
#include "control/trust_table.h"
#include "fabric/mailbox.h"
#include "wire/tunnel.h"

namespace sluice::control {

class Handshakes {
 public:
  struct Setting {
    const RelayKeyring& keyring;
    HandshakeConfig config;
    uint64_t epoch;
    uint8_t workers;                 // lanes that agents must receive
    std::vector<uint16_t> port_mtu;  // by port index
  };
  Handshakes(Setting setting, const Clock& clock, TrustTable& trust, SessionTable& sessions,
             Enrolment& enrolment, PreparedKeys& prepared, fabric::Arena& arena,
             fabric::Mailboxes& mailboxes);

  // Takes what the rings hold, within a budget of work. True if it did something.
  bool poll();

  const OutcomeCounts& counts() const { return counts_; }
  // HELLOs with a good cookie wait to be served: the caller should not sleep.
  bool backlog() const { return !with_cookie_.empty(); }
  bool under_load() const { return clock_.ticks() < loaded_until_; }

 private:
  void take_hellos();
  void decide_held();
  void refill();
  void extend_load();
  void serve_queued();
  void serve_batch(std::span<fabric::Parcel> parcels);
  HandshakeOutcome admit(Greeting& greeting);
  HandshakeOutcome conclude(Greeting& greeting, const HelloDigest& digest, fabric::Parcel& parcel);
  std::optional<HandshakeOutcome> repeat(const HelloDigest& digest, fabric::Parcel& parcel);
  bool timely(const Greeting& greeting, const AgentEntry& agent) const;
  AgentEntry* active_agent(const Greeting& greeting, HandshakeOutcome& why) const;
  HandshakeOutcome send_retry(fabric::Parcel parcel);
  HandshakeOutcome send_welcome(fabric::Parcel& parcel, uint32_t slot, Buffer welcome);
  Buffer build_welcome(Greeting& greeting, const AgentEntry& agent, uint32_t slot, uint16_t mtu);
  bool has_valid_cookie(fabric::Parcel& parcel);
  void count(HandshakeOutcome o) { ++counts_[size_t(o)]; }

  Setting s_;
  const Clock& clock_;
  TrustTable& trust_;
  SessionTable& sessions_;
  Enrolment& enrolment_;
  PreparedKeys& prepared_;
  fabric::Arena& arena_;
  fabric::Mailboxes& mailboxes_;
  CookieJar cookies_;
  OutcomeCounts counts_{};

  // HELLOs without a cookie wait 2 ms, so that a flood is seen as one before any of it costs a
  // scalar multiplication.
  struct Held {
    fabric::Parcel parcel;
    uint64_t since;
  };
  std::deque<Held> held_;
  FairQueue<fabric::Parcel> with_cookie_;
  // What the next batch takes; rekeys come first.
  std::vector<fabric::Parcel> queued_;
  std::array<std::optional<Greeting>, HandshakeBatch::kMax> greetings_;
  HandshakeBatch batch_;
  uint64_t loaded_until_ = 0;
  double tokens_ = 0;
  uint64_t tokens_at_ = 0;
};

}  // namespace sluice::control
