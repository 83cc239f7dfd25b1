// Fills the slots from which workers give calls their credentials (fabric/credential.h), as the
// vault says what is usable and until when. Plaintext stands in a slot only while its window is
// open. A slot is wiped once no worker can read it any more, and only then whoever took it away is
// answered. The control thread's.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <vector>

#include "base/clock.h"
#include "control/credentials.h"
#include "control/trust_table.h"
#include "fabric/rcu.h"

namespace sluice::control {

class CredentialPublisher final : public CredentialSlots {
 public:
  CredentialPublisher(const Clock& clock, fabric::Arena& arena, fabric::Qsbr& qsbr,
                      TrustTable& trust);

  // Whom to ask. Places are filled, or closed, as changed() tells of them.
  void serve(Credentials& credentials) { credentials_ = &credentials; }

  void changed(const CredentialPlace& place, std::function<void()> done) override;
  // Instants are at other ticks.
  void clock_was_set();
  // True if it did something.
  bool poll();

  // Why calls to that place are denied; empty: they are not.
  std::string problem(const CredentialPlace& place) const;
  struct Counts {
    uint32_t usable = 0;
    uint32_t outside_window = 0;
    uint32_t unavailable = 0;
    uint32_t room = 0;     // slots
    uint32_t resting = 0;  // of them, until they can be wiped
  };
  Counts counts() const;

 private:
  struct Place {
    uint32_t slot = fabric::kNone;
    int64_t look_again_ms = INT64_MAX;
    CredentialState state = CredentialState::kUnavailable;
    std::string problem;
  };
  struct Resting {
    uint32_t slot;  // kNone: there is only somebody to answer
    uint64_t token;
    std::function<void()> done;
  };
  void fill(const CredentialPlace& at, Place& place);
  void write(const CredentialPlace& at, Place& place, const CredentialStatus& status,
             Bytes content);
  void set_times(fabric::CredentialSlot& slot, const CredentialStatus& status) const;
  void close(const CredentialPlace& at, Place& place, std::string why);
  void publish(const CredentialPlace& at, uint32_t value);
  void look_again(const CredentialPlace& at, Place& place, int64_t unix_ms);
  void rest(uint32_t slot, std::function<void()> done);
  uint64_t ticks_at(int64_t unix_ms) const;

  const Clock& clock_;
  fabric::Arena& arena_;
  fabric::Qsbr& qsbr_;
  TrustTable& trust_;
  Credentials* credentials_ = nullptr;
  std::map<CredentialPlace, Place> places_;
  std::set<std::pair<int64_t, CredentialPlace>> due_;
  std::set<CredentialPlace> crowded_out_;  // filled as soon as there is a slot
  std::vector<uint32_t> free_;
  std::deque<Resting> resting_;
  uint32_t next_version_ = 1;
};

}  // namespace sluice::control
