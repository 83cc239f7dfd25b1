#include "control/vault.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "control/vault_names.h"
#include "vault/content.h"

namespace sluice::control {
namespace {

constexpr uint64_t kLookAtVaultMs = 1000;
constexpr int64_t kNotByTime = INT64_MAX;

}  // namespace

Vault::Vault(const vault::KeySourceOptions& options, const Clock& clock, TrustTable& trust,
             Store& store, Events& events, Store::Post post)
    : options_(options),
      clock_(clock),
      trust_(trust),
      store_(store),
      events_(events),
      side_("vault", std::move(post)) {}

// --- What is known -------------------------------------------------------------------------------

void Vault::restore(const Snapshot& snapshot) {
  take_up(snapshot.vault);
  if (master_.number == 0) return;
  unlock_by_itself();
}

// Where its key is in a file or a TPM.
void Vault::unlock_by_itself() {
  const bool asks = master_.source == vault::KeySource::kPassphrase;
  why_ = asks ? "it opens with a passphrase: sluicectl vault unlock" : "it is being unlocked";
  if (asks) return;
  begin_change([this] {
    start_unlocking(nullptr, "relay", [this](const Result<void>& r) {
      if (!r) spdlog::error("the vault stays locked: {}", r.error().message);
      end_change();
    });
  });
}

Vault::Rows Vault::rows() const {
  auto out = std::make_shared<VaultRows>();
  out->master = master_;
  for (const auto& [number, key] : wrapped_) out->keys.push_back(key);
  for (const auto& [id, row] : credentials_) out->credentials.push_back(row);
  for (const auto& [place, row] : bindings_) out->bindings.push_back(row);
  return out;
}

void Vault::take_up(const VaultRows& rows) {
  master_ = rows.master;
  wrapped_.clear();
  credentials_.clear();
  lives_.clear();
  bindings_.clear();
  damaged_.clear();
  unproved_.clear();
  for (const auto& key : rows.keys) wrapped_[key.number] = key;
  for (const auto& row : rows.credentials) {
    auto life = parse_life(row.life);
    if (!life) damaged_.insert(row.id);
    lives_[row.id] = life ? std::move(*life) : CredentialLife{};
    credentials_[row.id] = row;
  }
  for (const auto& row : rows.bindings) {
    if (credentials_.contains(row.id)) bindings_[place_of(row)] = row;
  }
}

void Vault::reconcile(const Snapshot& snapshot) {
  found_ = snapshot.vault;
  if (!changing_) take_up_found();
}

// What a transaction that failed has written all the same.
void Vault::take_up_found() {
  const VaultRows found = std::move(*found_);
  found_.reset();
  std::vector<CredentialPlace> concerned = places();
  const uint64_t master = master_.number;
  take_up(found);
  for (const CredentialPlace& p : places()) concerned.push_back(p);
  std::sort(concerned.begin(), concerned.end());
  concerned.erase(std::unique(concerned.begin(), concerned.end()), concerned.end());
  if (keys_) {
    auto ring = master_.number == master ? keys_->with(found.keys)
                                         : fail(ErrorCode::kStore, "its master key is another one");
    auto opened = ring ? look_at_all(std::move(*ring), found) : tl::unexpected(ring.error());
    if (opened) {
      open_with(std::move(*opened));
    } else {
      keys_.reset();
      why_ = opened.error().message;
      spdlog::error("the vault is locked: {}", why_);
    }
  }
  tell(concerned, {});
  const bool others = master_.number != master && master_.number != 0;
  if (!keys_ && others) unlock_by_itself();
}

const CredentialRow* Vault::by_name(uint16_t tenant, const std::string& name) const {
  const auto it = std::find_if(credentials_.begin(), credentials_.end(), [&](const auto& c) {
    return c.second.tenant == tenant && c.second.name == name;
  });
  return it == credentials_.end() ? nullptr : &it->second;
}

std::vector<CredentialPlace> Vault::places() const {
  std::vector<CredentialPlace> out;
  for (const auto& [place, row] : bindings_) out.push_back(place);
  return out;
}

std::vector<CredentialPlace> Vault::places_of(uint64_t id) const {
  std::vector<CredentialPlace> out;
  for (const auto& [place, row] : bindings_) {
    if (row.id == id) out.push_back(place);
  }
  return out;
}

CredentialStatus Vault::status(const CredentialPlace& place, int64_t unix_ms) const {
  const auto binding = bindings_.find(place);
  if (binding == bindings_.end()) {
    return {.until_ms = kNotByTime, .why = "no credential is bound to these calls"};
  }
  CredentialStatus out = status_of(binding->second.id, unix_ms);
  if (keys_ && unproved_.contains(place)) {
    out.state = CredentialState::kUnavailable;
    out.until_ms = kNotByTime;
    out.why = "its binding was changed in the store: bind it anew";
  }
  return out;
}

CredentialStatus Vault::status_of(uint64_t id, int64_t unix_ms) const {
  CredentialStatus out{.until_ms = kNotByTime};
  const CredentialRow& row = credentials_.at(id);
  if (keys_ && !damaged_.contains(id)) {
    out = judge(lives_.at(id), row.set_ms, static_cast<uint64_t>(std::max<int64_t>(unix_ms, 0)));
  } else if (keys_) {
    out.why = "it was changed in the store: set it anew";
  } else {
    out.why = "the vault is locked: " + why_;
  }
  out.version = row.version;
  out.id = id;
  out.is_oauth2 = (row.parts & vault::kOauth2Part) != 0;
  return out;
}

Result<crypto::SecretBuffer> Vault::open(const CredentialPlace& place) {
  const CredentialStatus s = status(place, static_cast<int64_t>(clock_.unix_ms()));
  if (s.state == CredentialState::kOutsideWindow) {
    return fail(ErrorCode::kRefused, "it is outside of the times at which it may be used");
  }
  if (s.state != CredentialState::kUsable) return fail(ErrorCode::kRefused, s.why);
  const BindingRow& binding = bindings_.at(place);
  const CredentialRow& row = credentials_.at(binding.id);
  if (vault::binding_holds(*keys_, binding.key, binding_name(binding, row.tenant), binding.proof)) {
    if (auto text = vault::open_record(*keys_, row.key, record_name(row), row.sealed)) {
      return std::move(*text);
    }
  }
  return fail(ErrorCode::kStore, "it was changed in the store: set it anew");
}

// --- Keys ----------------------------------------------------------------------------------------

// Damage is to be known before it is met by a call.
Result<Vault::Opened> Vault::look_at_all(vault::KeyRing keys, const VaultRows& rows) {
  Opened out{std::move(keys), {}, {}};
  std::map<uint64_t, uint16_t> tenants;
  for (const CredentialRow& row : rows.credentials) {
    tenants[row.id] = row.tenant;
    if (!vault::open_record(out.keys, row.key, record_name(row), row.sealed) ||
        !parse_life(row.life)) {
      out.damaged.insert(row.id);
    }
  }
  for (const BindingRow& row : rows.bindings) {
    if (!vault::binding_holds(out.keys, row.key, binding_name(row, tenants[row.id]), row.proof)) {
      out.unproved.insert(place_of(row));
    }
  }
  return out;
}

void Vault::open_with(Opened opened) {
  keys_ = std::move(opened.keys);
  damaged_ = std::move(opened.damaged);
  unproved_ = std::move(opened.unproved);
  why_.clear();
  note_damage();
}

void Vault::note_damage() {
  for (const uint64_t id : damaged_) {
    const CredentialRow& row = credentials_.at(id);
    spdlog::error("the credential {} of tenant {} is not what was sealed: set it anew", row.name,
                  row.tenant);
    events_.add(EventKind::kCredentialDamaged, row.name, "it was changed in the store");
  }
  for (const CredentialPlace& place : unproved_) {
    const CredentialRow& row = credentials_.at(bindings_.at(place).id);
    spdlog::error("nobody has bound the credential {} to calls to {}: unbind it", row.name,
                  to_string(place.target));
    events_.add(EventKind::kCredentialDamaged, row.name, "its binding was changed in the store");
  }
}

void Vault::start_unlocking(Passphrase passphrase, const std::string& actor, Done done) {
  unlocking_ = true;
  side_.run([this, options = options_, all = rows(), passphrase = std::move(passphrase), actor,
             done = std::move(done)]() mutable -> std::function<void()> {
    Result<Opened> opened = [&]() -> Result<Opened> {
      const auto key =
          vault::recover_master(options, all->master, passphrase ? passphrase->view() : Bytes{});
      if (!key) return tl::unexpected(key.error());
      if (all->keys.empty()) {
        return fail(ErrorCode::kStore,
                    "the vault's data keys are gone from the store: restore it from a backup");
      }
      auto ring = vault::KeyRing::open(*key, all->master.number, all->keys);
      if (!ring) return tl::unexpected(ring.error());
      // The key is found wherever it waits: its name is not worth staying locked for.
      (void)vault::settle_master(options, all->master);
      return look_at_all(std::move(*ring), *all);
    }();
    passphrase.reset();
    return [this, actor, done = std::move(done),
            opened = std::make_shared<Result<Opened>>(std::move(opened))] {
      unlocking_ = false;
      if (!*opened) {
        if (!keys_) why_ = opened->error().message;
        return done(tl::unexpected(opened->error()));
      }
      open_with(std::move(**opened));
      spdlog::info("the vault is unlocked: {} credentials", credentials_.size());
      events_.add(EventKind::kVaultUnlocked);
      if (heard_) heard_(true, actor);
      tell(places(), [this, actor, done] {
        done({});
        if (keys_ && !is_resealed()) {
          // A rotation was cut off.
          begin_change([this, actor] {
            reseal(actor, {}, [this](const Result<RotationAnswer>&) { end_change(); });
          });
        }
      });
    };
  });
}

void Vault::init(Passphrase passphrase, const std::string& actor, Done done) {
  begin_change(
      [this, passphrase = std::move(passphrase), actor, answer = std::move(done)]() mutable {
        const Done end = [this, answer = std::move(answer)](const Result<void>& r) {
          answer(r);
          end_change();
        };
        if (master_.number != 0) {
          return end(fail(ErrorCode::kConflict,
                          "the vault is there already: sluicectl vault rotate --master gives it "
                          "another master key"));
        }
        struct Made {
          vault::NewMaster master;
          vault::KeyRing keys;
          vault::WrappedKey first;
        };
        side_.run([this, options = options_, passphrase = std::move(passphrase), actor, end,
                   now = clock_.unix_ms()]() mutable -> std::function<void()> {
          auto made = std::make_shared<Result<Made>>([&]() -> Result<Made> {
            auto master =
                vault::make_master(options, 1, now, passphrase ? passphrase->view() : Bytes{});
            if (!master) return tl::unexpected(master.error());
            auto ring = vault::KeyRing::open(master->key, 1, {});
            if (!ring) return tl::unexpected(ring.error());
            auto first = ring->add(now);
            return Made{std::move(*master), std::move(*ring), std::move(first)};
          }());
          passphrase.reset();
          return [this, actor, end, made] {
            if (!*made) return end(tl::unexpected(made->error()));
            const vault::MasterRecord record = (*made)->master.record;
            const vault::WrappedKey first = (*made)->first;
            apply(actor, {VaultMasterSet{record}, VaultKeyAdded{first}},
                  [this, actor, end, made, record, first](const Result<void>& r) {
                    if (!r) return end(r);
                    master_ = record;
                    wrapped_[first.number] = first;
                    open_with({std::move((*made)->keys), {}, {}});
                    if (heard_) heard_(true, actor);
                    end({});
                  });
          };
        });
      });
}

void Vault::unlock(Passphrase passphrase, const std::string& actor, Done done) {
  begin_change(
      [this, passphrase = std::move(passphrase), actor, answer = std::move(done)]() mutable {
        const Done end = [this, answer = std::move(answer)](const Result<void>& r) {
          answer(r);
          end_change();
        };
        if (master_.number == 0) {
          return end(fail(ErrorCode::kNotFound, "there is no vault yet: sluicectl vault init"));
        }
        if (keys_) return end({});
        start_unlocking(std::move(passphrase), actor, end);
      });
}

void Vault::lock(const std::string& actor, Done done) {
  begin_change([this, actor, answer = std::move(done)] {
    const auto end = [this, answer](const Result<void>& r) {
      answer(r);
      end_change();
    };
    if (master_.number == 0) {
      return end(fail(ErrorCode::kNotFound, "there is no vault yet: sluicectl vault init"));
    }
    if (!keys_) return end({});
    keys_.reset();
    why_ = "an operator locked it: sluicectl vault unlock";
    spdlog::warn("the vault is locked by {}", actor);
    events_.add(EventKind::kVaultLocked, {}, actor);
    if (heard_) heard_(false, actor);
    tell(places(), [end] { end({}); });
  });
}

// --- Changes -------------------------------------------------------------------------------------

void Vault::begin_change(std::function<void()> change) {
  if (changing_ || !waiting_.empty()) {
    waiting_.push_back(std::move(change));
    return;
  }
  changing_ = true;
  change();
}

void Vault::end_change() {
  changing_ = false;
  if (found_) take_up_found();
}

void Vault::apply(const std::string& actor, std::vector<Change> list, Done then) {
  store_.apply({actor, clock_.unix_ms(), std::move(list)},
               [this, then = std::move(then)](const Result<WriteTimes>& r) {
                 // What was read before this was written knows nothing of it.
                 if (r) found_.reset();
                 then(r ? Result<void>() : tl::unexpected(r.error()));
               });
}

void Vault::serve(CredentialSlots* slots) {
  slots_ = slots;
  tell(places(), {});
}

void Vault::tell(const std::vector<CredentialPlace>& places, std::function<void()> done) {
  if (slots_ == nullptr || places.empty()) {
    if (done) done();
    return;
  }
  if (!done) {
    for (const CredentialPlace& p : places) slots_->changed(p, {});
    return;
  }
  const auto left = std::make_shared<size_t>(places.size());
  const auto last = std::make_shared<std::function<void()>>(std::move(done));
  for (const CredentialPlace& p : places) {
    slots_->changed(p, [left, last] {
      if (--*left == 0) (*last)();
    });
  }
}

bool Vault::poll() {
  bool busy = false;
  // One a round: each begins with what the one before has left.
  if (!changing_ && !waiting_.empty()) {
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    changing_ = true;
    next();
    busy = true;
  }
  const uint64_t now = clock_.ticks();
  if (looked_at_ != 0 && now - looked_at_ < clock_.ticks_from_ms(kLookAtVaultMs)) return busy;
  looked_at_ = now;
  let_go_of_the_gone();
  look_at_ages();
  return busy;
}

void Vault::look_at_ages() {
  const uint64_t now = clock_.unix_ms();
  for (const auto& [id, row] : credentials_) {
    const CredentialLife& life = lives_.at(id);
    if (life.max_age_ms == 0) continue;
    if (now >= row.set_ms + life.max_age_ms) {
      aging_.insert(id);
      if (too_old_.insert(id).second) {
        events_.add(EventKind::kCredentialTooOld, row.name, "calls are refused: set it anew");
        spdlog::error(
            "the credential {} of tenant {} is too old: calls are refused until it is set "
            "anew",
            row.name, row.tenant);
      }
    } else if (now >= aging_from_ms(life, row.set_ms) && aging_.insert(id).second) {
      events_.add(EventKind::kCredentialAging, row.name, "set it anew before calls are refused");
      spdlog::warn("the credential {} of tenant {} is too old soon: set it anew", row.name,
                   row.tenant);
    }
  }
}

}  // namespace sluice::control
