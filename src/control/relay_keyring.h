// The relay's tunnel keys over time (wire.md §4): one is told to agents, and the one before it is
// answered until its end, so that agents which were away can still come and hear of the new one. A
// new key is on disk, and in the feed of changes, before anybody is told. Control thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "control/relay_keys.h"
#include "control/store.h"
#include "fabric/arena.h"
#include "wire/tunnel.h"

namespace sluice::control {

class RelayKeyring {
 public:
  static constexpr uint64_t kLongestOverlapMs = 365ull * 24 * 3600 * 1000;

  RelayKeyring(RelayKeys& keys, std::string state_dir, const Clock& clock, fabric::Arena& arena,
               Store& store);

  // At start, before workers run. kKeyFile: a key that is still in use is not where it should be.
  Result<void> restore(const Snapshot& snapshot);
  // What a transaction that failed may still have written.
  void reconcile(const Snapshot& snapshot);

  using Done = std::function<void(Result<void>)>;
  // A fresh key; the one in use is answered for another `overlap_ms`. kConflict: the one before it
  // still is, or a change is under way.
  void replace(uint64_t overlap_ms, const std::string& actor, Done done);
  // Ends the time of the key before at once. kNotFound: there is none.
  void retire(const std::string& actor, Done done);

  // Called after agents are to be told something else than before.
  void on_change(std::function<void()> tell) { tell_ = std::move(tell); }

  // Which of the keys in use a HELLO with a good mac1 is for; null: none any more.
  const crypto::X25519KeyPair* addressed(const wire::HelloView& hello) const;

  // Ends the key before when its time is over. True if it did something.
  bool poll();

 private:
  Result<void> take_up(const std::vector<RelayKeyRow>& rows);
  Result<crypto::X25519KeyPair> read(const ByteArray<32>& key) const;
  void put_in_force(crypto::X25519KeyPair pair, const RelayKeyRow& row);
  void publish();
  void take_up_found();
  void end_previous(const std::string& actor, Done done);
  void forget(const ByteArray<32>& key);
  void leave_public_text();

  RelayKeys& keys_;
  const std::string state_dir_;
  const Clock& clock_;
  fabric::Arena& arena_;
  Store& store_;
  std::function<void()> tell_;
  bool writing_ = false;
  bool retired_ = false;            // the one before, which the disk does not know yet
  std::vector<RelayKeyRow> found_;  // in a store that was read again, until a change is written
};

}  // namespace sluice::control
