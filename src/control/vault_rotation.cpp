// New data keys, and a new master key, while calls go on: a credential's text stays what it is, so
// nobody else hears of it. Each step is a transaction: killed between two of them, the vault opens
// with the keys that it has then, and goes on.
#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "control/vault.h"
#include "control/vault_names.h"

namespace sluice::control {
namespace {

// Each takes some system calls for its guarded memory: a fifth of a millisecond of control's.
constexpr size_t kResealedAtOnce = 8;

}  // namespace

Result<void> Vault::must_be_open() const {
  if (master_.number == 0) {
    return fail(ErrorCode::kNotFound, "there is no vault yet: sluicectl vault init");
  }
  if (!keys_) return fail(ErrorCode::kRefused, "the vault is locked: " + why_);
  return {};
}

void Vault::rotate(const std::string& actor, Rotated done) {
  begin_change([this, actor, answer = std::move(done)] {
    const Rotated end = [this, answer](const Result<RotationAnswer>& r) {
      answer(r);
      end_change();
    };
    if (auto open = must_be_open(); !open) return end(tl::unexpected(open.error()));
    vault::KeyRing ring = *keys_;
    const vault::WrappedKey fresh = ring.add(clock_.unix_ms());
    apply(actor, {VaultKeyAdded{fresh}}, [this, actor, end, fresh, ring](const Result<void>& r) {
      if (!r) return end(tl::unexpected(r.error()));
      keys_ = ring;
      wrapped_[fresh.number] = fresh;
      reseal(actor, {}, end);
    });
  });
}

// What is damaged stays as it is, for whoever finds out what happened to it.
void Vault::reseal(const std::string& actor, Resealed so_far, Rotated done) {
  if (auto open = must_be_open(); !open) return done(tl::unexpected(open.error()));
  const uint64_t newest = keys_->newest();
  std::vector<Change> list;
  std::vector<CredentialSealed> records;
  std::vector<BindingSealed> proofs;
  for (auto it = credentials_.upper_bound(so_far.id); it != credentials_.end(); ++it) {
    if (records.size() == kResealedAtOnce) break;
    const auto& [id, row] = *it;
    so_far.id = id;
    if (row.key == newest || damaged_.contains(id)) continue;
    const auto text = vault::open_record(*keys_, row.key, record_name(row), row.sealed);
    if (!text) continue;  // it was looked at when the vault was opened
    records.push_back(
        {id, newest, vault::seal_record(*keys_, newest, record_name(row), text->view())});
    list.emplace_back(records.back());
  }
  for (auto it = so_far.place ? bindings_.upper_bound(*so_far.place) : bindings_.begin();
       it != bindings_.end(); ++it) {
    if (proofs.size() == kResealedAtOnce) break;
    const auto& [place, row] = *it;
    so_far.place = place;
    if (row.key == newest || unproved_.contains(place)) continue;
    const auto name = binding_name(row, credentials_.at(row.id).tenant);
    proofs.push_back({row.target, row.protocol, newest, vault::seal_binding(*keys_, newest, name)});
    list.emplace_back(proofs.back());
  }
  if (list.empty()) return remove_old_keys(actor, so_far.records, std::move(done));
  apply(actor, std::move(list),
        [this, actor, so_far, done = std::move(done), records = std::move(records),
         proofs = std::move(proofs)](const Result<void>& r) {
          if (!r) return done(tl::unexpected(r.error()));
          for (const CredentialSealed& c : records) {
            credentials_.at(c.id).key = c.key;
            credentials_.at(c.id).sealed = c.sealed;
          }
          for (const BindingSealed& b : proofs) {
            BindingRow& row = bindings_.at({VirtualAddress::from_u64(b.target), b.protocol});
            row.key = b.key;
            row.proof = b.proof;
          }
          Resealed next = so_far;
          next.records += records.size();
          reseal(actor, next, done);
        });
}

void Vault::remove_old_keys(const std::string& actor, uint64_t so_far, Rotated done) {
  std::set<uint64_t> unused;
  for (const auto& [number, key] : wrapped_) unused.insert(number);
  unused.erase(keys_->newest());
  for (const auto& [id, row] : credentials_) unused.erase(row.key);
  for (const auto& [place, row] : bindings_) unused.erase(row.key);
  const RotationAnswer answer{keys_->newest(), so_far};
  if (unused.empty()) return done(answer);
  std::vector<Change> list;
  for (const uint64_t number : unused) list.emplace_back(VaultKeyRemoved{number});
  apply(actor, std::move(list), [this, unused, answer, done](const Result<void>& r) {
    if (!r) return done(tl::unexpected(r.error()));
    for (const uint64_t number : unused) {
      wrapped_.erase(number);
      keys_->remove(number);
    }
    done(answer);
  });
}

bool Vault::is_resealed() const {
  const uint64_t newest = keys_->newest();
  return std::all_of(
             credentials_.begin(), credentials_.end(),
             [&](const auto& c) { return c.second.key == newest || damaged_.contains(c.first); }) &&
         std::all_of(bindings_.begin(), bindings_.end(),
                     [&](const auto& b) {
                       return b.second.key == newest || unproved_.contains(b.first);
                     }) &&
         (wrapped_.size() == 1 || !damaged_.empty() || !unproved_.empty());
}

void Vault::rotate_master(Passphrase passphrase, const std::string& actor, Rotated done) {
  begin_change([this, passphrase = std::move(passphrase), actor,
                answer = std::move(done)]() mutable {
    const Rotated end = [this, answer = std::move(answer)](const Result<RotationAnswer>& r) {
      answer(r);
      end_change();
    };
    if (auto open = must_be_open(); !open) return end(tl::unexpected(open.error()));
    struct Made {
      vault::MasterRecord record;
      std::vector<vault::WrappedKey> wrapped;
      vault::KeyRing keys;
    };
    std::vector<vault::WrappedKey> wrapped_now;
    for (const auto& [number, key] : wrapped_) wrapped_now.push_back(key);
    side_.run([this, options = options_, ring = *keys_, number = master_.number + 1,
               wrapped_now = std::move(wrapped_now), passphrase = std::move(passphrase), actor, end,
               now = clock_.unix_ms()]() mutable -> std::function<void()> {
      auto made = std::make_shared<Result<Made>>([&]() -> Result<Made> {
        auto master =
            vault::make_master(options, number, now, passphrase ? passphrase->view() : Bytes{});
        if (!master) return tl::unexpected(master.error());
        auto wrapped = ring.wrap_anew(wrapped_now, master->key, number);
        if (!wrapped) return tl::unexpected(wrapped.error());
        auto fresh = vault::KeyRing::open(master->key, number, *wrapped);
        if (!fresh) return tl::unexpected(fresh.error());
        return Made{std::move(master->record), std::move(*wrapped), std::move(*fresh)};
      }());
      passphrase.reset();
      return [this, actor, end, made] {
        if (!*made) return end(tl::unexpected(made->error()));
        std::vector<Change> list{VaultMasterSet{(*made)->record}};
        for (const auto& key : (*made)->wrapped) list.emplace_back(VaultKeyWrapped{key});
        apply(actor, std::move(list), [this, end, made](const Result<void>& r) {
          if (!r) return end(tl::unexpected(r.error()));
          master_ = (*made)->record;
          for (const auto& key : (*made)->wrapped) wrapped_[key.number] = key;
          keys_ = std::move((*made)->keys);
          spdlog::warn("the vault has another master key from now on: number {}, {}",
                       master_.number, name_of(master_.source));
          side_.run([end, options = options_, record = master_]() -> std::function<void()> {
            const auto settled = vault::settle_master(options, record);
            return [end, settled, number = record.number] {
              if (settled) return end(RotationAnswer{number, 0});
              end(fail(settled.error().code,
                       fmt::format("the vault has its new master key, but its file is still called "
                                   "{}: {}",
                                   vault::next_key_file(""), settled.error().message)));
            };
          });
        });
      };
    });
  });
}

}  // namespace sluice::control
