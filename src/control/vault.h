// The vault of the relay (docs/credentials.md): credentials sealed in the store, their bindings to
// calls, and the keys that open them. What waits, for the disk, a TPM or Argon2id, is done beside;
// changes are made one after another, each durable before it is in force, in force before it is
// answered. While it is locked everything is known of a credential but its text. Control thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/credential_life.h"
#include "control/credentials.h"
#include "control/events.h"
#include "control/side_thread.h"
#include "control/store.h"
#include "control/trust_table.h"
#include "vault/key_ring.h"

namespace sluice::control {

enum class VaultState : uint8_t { kUninitialised, kLocked, kUnlocked };
constexpr const char* name_of(VaultState s) {
  return s == VaultState::kUnlocked ? "unlocked"
         : s == VaultState::kLocked ? "locked"
                                    : "uninitialised";
}

// What an operator gives.
struct NewCredential {
  uint16_t tenant = 0;
  std::string name;
  std::shared_ptr<crypto::SecretBuffer> text;  // in the form of wire/credential.h
  std::optional<CredentialLife> life;          // none: as before; of a new one, without limits
  std::optional<CredentialPlace> place;        // to be bound to
};

struct RotationAnswer {
  uint64_t key = 0;      // number of the data key, or of the master key
  uint64_t records = 0;  // sealed anew
};

class Vault : public Credentials {
 public:
  static constexpr size_t kMostCredentials = 100'000;

  using Done = std::function<void(Result<void>)>;
  using Passphrase = std::shared_ptr<crypto::SecretBuffer>;  // null: none was given

  Vault(const vault::KeySourceOptions& options, const Clock& clock, TrustTable& trust, Store& store,
        Events& events, Store::Post post);

  // At start: bindings are known when it returns. A vault whose key is in a file or a TPM begins to
  // unlock itself.
  void restore(const Snapshot& snapshot);
  // A store read again after an error may hold what seemed to have failed.
  void reconcile(const Snapshot& snapshot);
  // Who fills the workers' slots, and from now on hears of every change; null: nobody.
  void serve(CredentialSlots* slots);
  // Hears who unlocked or locked it.
  void on_turn(std::function<void(bool unlocked, const std::string& actor)> heard) {
    heard_ = std::move(heard);
  }
  // True if something was done.
  bool poll();

  std::vector<CredentialPlace> places() const override;
  bool is_bound(const CredentialPlace& place) const override { return bindings_.contains(place); }
  CredentialStatus status(const CredentialPlace& place, int64_t unix_ms) const override;
  // Of a credential, bound or not.
  CredentialStatus status_of(uint64_t id, int64_t unix_ms) const;
  Result<crypto::SecretBuffer> open(const CredentialPlace& place) override;

  // For operators. Answers come when what was asked for is durable and in force everywhere.
  void init(Passphrase passphrase, const std::string& actor, Done done);
  void unlock(Passphrase passphrase, const std::string& actor, Done done);
  void lock(const std::string& actor, Done done);
  using Rotated = std::function<void(Result<RotationAnswer>)>;
  void rotate(const std::string& actor, Rotated done);
  void rotate_master(Passphrase passphrase, const std::string& actor, Rotated done);
  // The credential's version from now on.
  void set(NewCredential what, const std::string& actor,
           std::function<void(Result<uint32_t>)> done);
  void remove(uint64_t id, const std::string& actor, Done done);
  void bind(uint64_t id, const CredentialPlace& place, const std::string& actor, Done done);
  void unbind(const CredentialPlace& place, const std::string& actor, Done done);

  VaultState state() const {
    return master_.number == 0 ? VaultState::kUninitialised
           : keys_             ? VaultState::kUnlocked
                               : VaultState::kLocked;
  }
  const std::string& why_locked() const { return why_; }
  bool unlocking() const { return unlocking_; }
  const vault::MasterRecord& master() const { return master_; }
  const std::map<uint64_t, vault::WrappedKey>& data_keys() const { return wrapped_; }
  const std::map<uint64_t, CredentialRow>& credentials() const { return credentials_; }
  const std::map<CredentialPlace, BindingRow>& bindings() const { return bindings_; }
  const CredentialRow* by_name(uint16_t tenant, const std::string& name) const;
  const CredentialLife& life_of(uint64_t id) const { return lives_.at(id); }
  bool is_damaged(uint64_t id) const { return damaged_.contains(id); }
  // Records and bindings that are not what was sealed.
  size_t damaged() const { return damaged_.size() + unproved_.size(); }
  // Credentials that reach their maximum age soon, or have.
  size_t aging() const { return aging_.size(); }
  const vault::KeySourceOptions& options() const { return options_; }

 private:
  // What a look at every record with the keys found.
  struct Opened {
    vault::KeyRing keys;
    std::set<uint64_t> damaged;
    std::set<CredentialPlace> unproved;
  };
  using Rows = std::shared_ptr<const VaultRows>;

  // Changes one after another: `change` ends with end_change().
  void begin_change(std::function<void()> change);
  void end_change();
  void apply(const std::string& actor, std::vector<Change> list, Done then);
  // To whoever fills the slots; `done` once all of them are as these are now.
  void tell(const std::vector<CredentialPlace>& places, std::function<void()> done);
  std::vector<CredentialPlace> places_of(uint64_t id) const;

  Rows rows() const;
  void take_up(const VaultRows& rows);
  void take_up_found();
  void unlock_by_itself();
  static Result<Opened> look_at_all(vault::KeyRing keys, const VaultRows& rows);
  void open_with(Opened opened);
  void start_unlocking(Passphrase passphrase, const std::string& actor, Done done);
  void note_damage();

  // How far it has come in either table.
  struct Resealed {
    uint64_t records = 0;  // so far
    uint64_t id = 0;
    std::optional<CredentialPlace> place;
  };
  void reseal(const std::string& actor, Resealed so_far, Rotated done);
  void remove_old_keys(const std::string& actor, uint64_t so_far, Rotated done);
  bool is_resealed() const;
  void store_credential(NewCredential what, const std::string& actor,
                        std::function<void(Result<uint32_t>)> done);
  Result<BindingRow> make_binding(const CredentialRow& row, const CredentialPlace& place) const;
  void drop_binding(const CredentialPlace& place, const std::string& actor, Done done);
  Result<void> must_be_open() const;
  void let_go_of_the_gone();
  void look_at_ages();

  const vault::KeySourceOptions options_;
  const Clock& clock_;
  TrustTable& trust_;
  Store& store_;
  Events& events_;
  CredentialSlots* slots_ = nullptr;
  std::function<void(bool, const std::string&)> heard_;

  vault::MasterRecord master_;
  std::map<uint64_t, vault::WrappedKey> wrapped_;
  std::map<uint64_t, CredentialRow> credentials_;
  std::map<uint64_t, CredentialLife> lives_;  // of each of those
  std::map<CredentialPlace, BindingRow> bindings_;
  std::optional<vault::KeyRing> keys_;  // none: locked
  std::set<uint64_t> damaged_;          // credentials that are not what was sealed
  std::set<CredentialPlace> unproved_;  // bindings that nobody made
  std::string why_;                     // it is locked
  bool unlocking_ = false;

  std::deque<std::function<void()>> waiting_;
  bool changing_ = false;
  std::optional<VaultRows> found_;      // by reconcile(), while a change is under way
  uint64_t looked_at_ = 0;              // ticks
  std::set<uint64_t> aging_, too_old_;  // credentials, of whose age was told
  SideThread side_;                     // last: it dies first
};

}  // namespace sluice::control
