// Every key of every agent, derived from one secret file: nothing else has to be kept between
// `trust` and `run`. Keys exist only while they are needed; wiped with their owner.
#pragma once

#include <string>

#include "base/error.h"
#include "crypto/identity.h"
#include "crypto/x25519.h"

namespace sluice::pktgen {

struct AgentKeys {
  crypto::Identity identity;
  crypto::X25519KeyPair tunnel;
};

class KeySource {
 public:
  // 32 random bytes, mode 0600. A missing file is made if `create`, else refused.
  static Result<KeySource> open(const std::string& path, bool create);

  AgentKeys agent(uint32_t agent) const;
  crypto::Identity identity(uint32_t agent) const;
  crypto::X25519KeyPair end_to_end(uint32_t agent) const;

 private:
  explicit KeySource(crypto::Key256 seed) : seed_(std::move(seed)) {}
  crypto::Key256 derive(std::string_view purpose, uint32_t agent) const;

  crypto::Key256 seed_;
};

}  // namespace sluice::pktgen
