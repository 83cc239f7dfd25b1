// The agent's identity on disk: STATE/identity.json, mode 0600 in a folder of mode 0700. It holds
// both secret keys and the enrolment token. Plain values, one thread.
#pragma once

#include <optional>
#include <string>

#include "agent/join.h"
#include "crypto/identity.h"
#include "crypto/x25519.h"

namespace sluice::agent {

struct AgentIdentity {
  std::string name;
  uint32_t tenant = 0;
  crypto::Identity identity;
  crypto::X25519KeyPair e2e_key;
  Join join;
  uint64_t created_ms = 0;

  std::string did() const { return crypto::to_did(identity.public_key()); }
  std::string relay_name() const { return to_host_port(join.host, join.port); }
};

// Paths within a state folder.
std::string identity_path(const std::string& state);
std::string pins_path(const std::string& state);

// Fresh keys for `join`.
AgentIdentity make_identity(std::string name, uint32_t tenant, Join join, uint64_t unix_ms);

// kConflict when the folder already holds an identity; nothing is overwritten.
Result<void> create_identity_file(const std::string& state, const AgentIdentity& identity);
// In the place of the one that stands there; whole or not at all.
Result<void> replace_identity_file(const std::string& state, const AgentIdentity& identity);
Result<AgentIdentity> load_identity_file(const std::string& state);

// The identity that is to follow, while it is not known whether the relay has taken it: a file
// beside the other one. None: nothing is under way.
Result<std::optional<AgentIdentity>> load_next_identity(const std::string& state);
Result<void> save_next_identity(const std::string& state, const AgentIdentity& identity);
Result<void> drop_next_identity(const std::string& state);
// The same agent with a fresh identity key.
AgentIdentity with_fresh_identity(const AgentIdentity& identity, uint64_t unix_ms);

// base64 of Signed { Statement { Enrol } }: what an operator needs to enrol this agent, and what
// its peers are shown (wire.md §5), issued at `unix_ms`.
std::string enrol_statement(const AgentIdentity& identity, uint64_t unix_ms);

}  // namespace sluice::agent
