// The agent goes on under another key (docs/protocol.md §5). The next identity is on disk before
// the relay hears of it, and takes the place of the one in use once the relay has taken it;
// whatever stops in between, the next start asks the relay which of the two it answers to. One
// thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/agent.h"
#include "agent/identity_file.h"

namespace sluice::agent {

class IdentityChange {
 public:
  // All that is referred to outlives it; `identity` is what the agent uses, and changes in place.
  IdentityChange(std::string state, AgentIdentity& identity, Pins& pins, Agent& agent,
                 Report report);

  // At start: what a stop left. kKeyFile: the file is not whole.
  Result<void> resume();

  // kConflict: one is under way. The answer comes when both the relay and the disk have it.
  using Done = std::function<void(Result<void>)>;
  void begin(Now now, Done done);

  // To be called after whatever may have changed something, and at least every few seconds.
  void poll(Now now);

 private:
  void start_turns();
  void submit(Now now, Done done);
  void swap(Now now);
  Result<void> finish(Now now);
  void drop();

  const std::string state_;
  AgentIdentity& identity_;
  Pins& pins_;
  Agent& agent_;
  const Report report_;
  std::optional<AgentIdentity> next_;  // the other one, while `trying_`
  bool trying_ = false;                // the agent greets as the next one, unknown whether it may
  bool asking_ = false;                // the relay is being told
  Done taken_;                         // who waits for what the relay has taken
  bool unsure_ = false;                // an earlier question was left without an answer
  bool tried_ = false;                 // the next one was left unanswered for a turn
  uint64_t turn_ms_ = 0;               // before the other one is tried
  bool certain_ = false;               // and has taken it, by its own word
  uint64_t not_before_ms_ = 0;         // after a disk that refused
  uint64_t since_ms_ = 0;              // when it last did something
};

}  // namespace sluice::agent
