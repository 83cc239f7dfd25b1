// What main remembers of one agent: where its session stands, and the greeting under way.
#pragma once

#include <memory>

#include "agent/handshake.h"
#include "pktgen/agent_keys.h"

namespace sluice::pktgen {

// The public-key side of one greeting; the party points into its own keys, so it stays where it is.
struct Greeting {
  Greeting(AgentKeys agent_keys, const ByteArray<32>& relay_key, uint32_t index,
           uint32_t relay_index, uint64_t time_ms)
      : keys(std::move(agent_keys)),
        handshake({&keys.identity, &keys.tunnel, relay_key, {}}, index, relay_index, time_ms) {}

  AgentKeys keys;
  agent::Handshake handshake;
  uint64_t made_ms = 0;
  uint8_t cookies = 0;
};

enum class Standing : uint8_t {
  kNone,
  kGreeting,    // HELLO sent
  kConfirming,  // confirmed by KEEPALIVE; the relay has yet to tell the edges
  kUp,
};

struct AgentSession {
  Standing standing = Standing::kNone;
  uint8_t generation = 0;  // of the running session
  uint8_t tries = 0;
  uint32_t relay_index = 0;
  uint64_t born_ms = 0;
  uint64_t last_time_ms = 0;  // of the last HELLO
  uint64_t due_ms = 0;        // when to do something about what was expected
  std::unique_ptr<Greeting> greeting;

  uint8_t next_generation() const { return static_cast<uint8_t>(generation % 15 + 1); }
};

}  // namespace sluice::pktgen
