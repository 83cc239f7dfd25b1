// Who plays in the evaluation: callers, callees, what was agreed between them, and the calls that
// they try. Every call is sent on the tunnel as an agent would; what comes of it is read from what
// arrives at every agent.
#pragma once

#include <deque>
#include <random>

#include "packet/call_fixture.h"
#include "packet/call_oracle.h"
#include "packet/ceremony_fixture.h"

namespace rig {

// One direction of a pair. What was agreed, the callers' side believes in as well.
struct Line {
  Agent* caller = nullptr;
  Agent* callee = nullptr;
  uint32_t label = 0;
  uint32_t back = 0;  // what the callee calls it
  Agreed agreed;
};

struct Attempt {
  Line* line = nullptr;
  uint32_t label = 0;  // that it is sent under
  bool own_label = true;
  Envelope envelope;
  Buf bytes;  // as sent; a signature is part of it
  uint64_t frame_id = 0;
  bool signature_holds = true;
  bool rate_left = true, quota_left = true;
  bool replay = false;  // of a message id, or of a key, that was let through before
  // What becomes of it.
  uint16_t expected = 0;
  std::vector<uint16_t> got;  // 0: it arrived at its callee; else what a CALL_DENY said
  unsigned elsewhere = 0;     // arrivals where it does not belong

  uint64_t message_counter() const { return oracle::get_le<uint64_t>(bytes, 24); }
  Buf trace() const { return {bytes.begin(), bytes.begin() + 16}; }
};

class EvaluationCast : public Ceremony {
 protected:
  static constexpr unsigned kCallers = 10;
  static constexpr unsigned kRoom = 16;

  EvaluationCast();
  void SetUp() override;

  Line& line(const std::string& from, const std::string& to);
  CallOracle& oracle_of(const Agent& caller) { return oracles_.at(&caller); }
  // A call that nothing is wrong with, not signed yet.
  Attempt good(Line& on);
  void sign(Attempt& a);
  // All at once, in their order; then what arrived is noted in them. `moment`: without times.
  void run(std::vector<Attempt>& calls, Moment moment);
  // Of calls that were let through: accepted, data each way with `payload` in it, closed by both.
  void live(const std::vector<Attempt*>& calls, const Buf& payload);
  // Until so many calls have ended; the sweep takes some rounds.
  bool wait_for_ends(uint64_t calls);
  void renew_sessions();

  // A frame of `from`, on the queue of its flow, so that order is kept.
  void put(Agent& from, const Buf& udp_payload);
  void settle();
  // All that arrived, by receiver. Frames of other types are not calls'.
  std::vector<std::pair<Agent*, oracle::Frame>> collect();
  uint64_t counter(sluice::fabric::Counter sluice::fabric::WorkerCounters::*member) const;

  std::mt19937_64 random{1};
  std::vector<Line*> busy;  // every caller's own, where most of its calls go
  // Totals over the run that are not one call's.
  unsigned forged_accepts = 0, forged_accepts_passed = 0;
  unsigned repeated_packets = 0, repeated_packets_passed = 0;
  unsigned lost_frames = 0;  // of calls that stand: what should have arrived and did not
  uint64_t ended = 0;

 private:
  std::deque<Line> lines_;
  std::map<const Agent*, CallOracle> oracles_;
  std::map<const Agent*, uint64_t> next_;
  uint64_t next_key_ = 1;
  uint64_t connected_ms_ = 0;
};

}  // namespace rig
