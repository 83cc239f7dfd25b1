// What operators do with credentials, and what happens to bindings when an agent goes.
#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "control/vault.h"
#include "control/vault_names.h"
#include "crypto/secret.h"
#include "vault/content.h"
#include "wire/call.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr uint64_t kLargestId = (uint64_t{1} << 53) - 1;

const char* protocol_name(uint8_t protocol) {
  return wire::name_of(wire::kProtocolNames, protocol);
}

// Rows outlive an agent's identity, the feed does not ask which one it has now.
ByteArray<32> identity_at(TrustTable& trust, VirtualAddress address) {
  const AgentEntry* agent = trust.by_address(address);
  return agent == nullptr ? ByteArray<32>{} : agent->identity;
}

}  // namespace

// What calls of one tenant's agents get is that tenant's.
Result<BindingRow> Vault::make_binding(const CredentialRow& row,
                                       const CredentialPlace& place) const {
  const AgentEntry* agent = trust_.by_address(place.target);
  if (agent == nullptr || agent->revoked || !agent->standing()) {
    return fail(ErrorCode::kNotFound,
                fmt::format("no agent is enrolled at {}", to_string(place.target)));
  }
  if (place.target.tenant != row.tenant) {
    return fail(ErrorCode::kRefused,
                fmt::format("{} is an agent of tenant {}, and the credential is of tenant {}: set "
                            "it there as well",
                            agent->name, place.target.tenant, row.tenant));
  }
  const auto there = bindings_.find(place);
  if (there != bindings_.end() && there->second.id != row.id) {
    return fail(ErrorCode::kConflict,
                fmt::format("{} calls to {} have the credential {}: unbind that one first",
                            protocol_name(place.protocol), agent->name,
                            credentials_.at(there->second.id).name));
  }
  BindingRow out{.target = place.target.to_u64(),
                 .protocol = place.protocol,
                 .id = row.id,
                 .key = keys_->newest(),
                 .at_ms = clock_.unix_ms(),
                 .identity = agent->identity};
  out.proof = vault::seal_binding(*keys_, out.key, binding_name(out, row.tenant));
  return out;
}

void Vault::set(NewCredential what, const std::string& actor,
                std::function<void(Result<uint32_t>)> done) {
  begin_change([this, what = std::move(what), actor, answer = std::move(done)]() mutable {
    store_credential(std::move(what), actor,
                     [this, answer = std::move(answer)](const Result<uint32_t>& r) {
                       answer(r);
                       end_change();
                     });
  });
}

void Vault::store_credential(NewCredential what, const std::string& actor,
                             std::function<void(Result<uint32_t>)> done) {
  if (auto open = must_be_open(); !open) return done(tl::unexpected(open.error()));
  if (!wire::is_agent_name(what.name)) {
    return done(fail(ErrorCode::kUsage,
                     "a credential's name has 1 to 63 of a-z, 0-9, ., _ and -, the first a letter "
                     "or digit"));
  }
  const auto parts = vault::check_content(what.text->view());
  if (!parts) return done(tl::unexpected(parts.error()));
  const CredentialRow* known = by_name(what.tenant, what.name);
  if (known == nullptr && credentials_.size() >= kMostCredentials) {
    return done(fail(ErrorCode::kResource,
                     fmt::format("the vault holds {} credentials at most", kMostCredentials)));
  }
  CredentialRow row;
  if (known != nullptr) row = *known;
  const uint64_t now = clock_.unix_ms();
  if (known == nullptr) {
    // Never one that was somebody else's: a record that is put back would be taken for this one.
    do row.id = crypto::random_u64() & kLargestId;
    while (row.id == 0 || credentials_.contains(row.id));
    row.tenant = what.tenant;
    row.name = what.name;
    row.version = 0;
    row.made_ms = now;
  }
  ++row.version;
  row.set_ms = now;
  row.parts = *parts;
  row.key = keys_->newest();
  const CredentialLife life = what.life          ? *what.life
                              : known != nullptr ? lives_.at(row.id)
                                                 : CredentialLife{};
  row.life = to_text(life);
  row.sealed = vault::seal_record(*keys_, row.key, record_name(row), what.text->view());
  what.text.reset();
  std::vector<Change> list{row};
  std::optional<BindingRow> bound;
  const bool holds = what.place && is_bound(*what.place) && !unproved_.contains(*what.place) &&
                     bindings_.at(*what.place).id == row.id;
  if (what.place && !holds) {
    auto binding = make_binding(row, *what.place);
    if (!binding) return done(tl::unexpected(binding.error()));
    bound = *binding;
    list.emplace_back(*bound);
  }
  apply(actor, std::move(list), [this, row, life, bound, done](const Result<void>& r) {
    if (!r) return done(tl::unexpected(r.error()));
    credentials_[row.id] = row;
    lives_[row.id] = life;
    damaged_.erase(row.id);
    aging_.erase(row.id);
    too_old_.erase(row.id);
    if (bound) {
      bindings_[place_of(*bound)] = *bound;
      unproved_.erase(place_of(*bound));
    }
    tell(places_of(row.id), [done, version = row.version] { done(version); });
  });
}

void Vault::remove(uint64_t id, const std::string& actor, Done done) {
  begin_change([this, id, actor, answer = std::move(done)] {
    const Done end = [this, answer](const Result<void>& r) {
      answer(r);
      end_change();
    };
    const auto it = credentials_.find(id);
    if (it == credentials_.end()) return end(fail(ErrorCode::kNotFound, "it is gone already"));
    std::vector<Change> list;
    const std::vector<CredentialPlace> bound = places_of(id);
    for (const CredentialPlace& p : bound) {
      list.emplace_back(
          BindingEnd{p.target.to_u64(), p.protocol, id, identity_at(trust_, p.target)});
    }
    list.emplace_back(CredentialEnd{id, it->second.name});
    apply(actor, std::move(list), [this, id, bound, end](const Result<void>& r) {
      if (!r) return end(r);
      for (const CredentialPlace& p : bound) {
        bindings_.erase(p);
        unproved_.erase(p);
      }
      credentials_.erase(id);
      lives_.erase(id);
      damaged_.erase(id);
      aging_.erase(id);
      too_old_.erase(id);
      tell(bound, [end] { end({}); });
    });
  });
}

void Vault::bind(uint64_t id, const CredentialPlace& place, const std::string& actor, Done done) {
  begin_change([this, id, place, actor, answer = std::move(done)] {
    const Done end = [this, answer](const Result<void>& r) {
      answer(r);
      end_change();
    };
    if (auto open = must_be_open(); !open) return end(open);
    const auto it = credentials_.find(id);
    if (it == credentials_.end()) return end(fail(ErrorCode::kNotFound, "it is gone"));
    if (is_bound(place) && bindings_.at(place).id == id && !unproved_.contains(place)) {
      return end({});
    }
    const auto binding = make_binding(it->second, place);
    if (!binding) return end(tl::unexpected(binding.error()));
    apply(actor, {*binding}, [this, place, row = *binding, end](const Result<void>& r) {
      if (!r) return end(r);
      bindings_[place] = row;
      unproved_.erase(place);
      tell({place}, [end] { end({}); });
    });
  });
}

void Vault::unbind(const CredentialPlace& place, const std::string& actor, Done done) {
  begin_change([this, place, actor, answer = std::move(done)] {
    drop_binding(place, actor, [this, answer](const Result<void>& r) {
      answer(r);
      end_change();
    });
  });
}

void Vault::drop_binding(const CredentialPlace& place, const std::string& actor, Done done) {
  const auto it = bindings_.find(place);
  if (it == bindings_.end()) {
    return done(fail(ErrorCode::kNotFound, "these calls have no credential"));
  }
  const uint64_t id = it->second.id;
  const BindingEnd end{place.target.to_u64(), place.protocol, id,
                       identity_at(trust_, place.target)};
  apply(actor, {end}, [this, place, done = std::move(done)](const Result<void>& r) {
    if (!r) return done(r);
    bindings_.erase(place);
    unproved_.erase(place);
    tell({place}, [done] { done({}); });
  });
}

// Nothing reaches an agent that is revoked; what is kept for it goes as well.
void Vault::let_go_of_the_gone() {
  if (changing_ || !waiting_.empty()) return;
  for (const auto& [place, row] : bindings_) {
    const AgentEntry* agent = trust_.by_address(place.target);
    // One that is not in the table, since that is too small, may be there after the next start.
    if (agent == nullptr) continue;
    if (!agent->revoked && (agent->standing() || agent->over)) continue;
    spdlog::info("the credential {} is no longer bound to {}, which is no agent any more",
                 credentials_.at(row.id).name, to_string(place.target));
    unbind(place, "relay", [](const Result<void>& r) {
      if (!r) spdlog::error("a binding of an agent that is gone stays: {}", r.error().message);
    });
    return;  // the next one in a second
  }
}

}  // namespace sluice::control
