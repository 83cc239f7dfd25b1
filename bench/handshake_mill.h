// The relay's side of many handshakes without packets or tables: the same code as in the control
// thread, all at once on lanes, or one at a time on libsodium.
#pragma once

#include <memory>
#include <vector>

#include "control/handshake_batch.h"

namespace sluice::bench {

class HandshakeMill {
 public:
  // `count` agents (at most a batch), each with a HELLO that is answered again and again.
  explicit HandshakeMill(size_t count);
  ~HandshakeMill();

  // From now on answer_together has the identities' prepared keys. False where nothing is prepared.
  bool prepare();

  // Both answer every HELLO, up to the WELCOME's payload and the session's keys; how many.
  size_t answer_together();
  size_t answer_one_by_one();
  [[nodiscard]] size_t failures() const { return failures_; }

 private:
  struct Agent;
  size_t answer(control::HandshakeBatch& batch, size_t at_once);

  crypto::X25519KeyPair relay_key_;
  control::HandshakeBatch lanes_;
  control::HandshakeBatch sodium_;
  std::vector<std::unique_ptr<Agent>> agents_;
  size_t failures_ = 0;
};

}  // namespace sluice::bench
