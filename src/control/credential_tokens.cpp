#include "control/credential_tokens.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"

namespace sluice::control {
namespace {

constexpr uint64_t kLookMs = 1000;  // how often windows are looked at
// Before its end, for clocks that differ and the way to whoever takes the token; less of a short
// life.
constexpr int64_t kBeforeEndMs = 2000;
constexpr int64_t kPartOfLife = 8;

std::function<void()> all_of(std::vector<std::function<void()>> list) {
  return [list = std::move(list)] {
    for (const auto& each : list) each();
  };
}

}  // namespace

CredentialTokens::CredentialTokens(const Clock& clock, Credentials& vault, CredentialSlots& slots,
                                   oauth2::TokenKeeper::Post post)
    : clock_(clock), vault_(vault), slots_(slots), post_(std::move(post)) {}

void CredentialTokens::changed(const CredentialPlace& place, std::function<void()> done) {
  const CredentialStatus s = vault_.is_bound(place)
                                 ? vault_.status(place, static_cast<int64_t>(clock_.unix_ms()))
                                 : CredentialStatus{};
  if (s.is_oauth2) {
    oauth2_.insert(place);
  } else {
    oauth2_.erase(place);
  }
  const auto it = clients_.find(s.id);
  const bool goes_on = s.is_oauth2 && s.state == CredentialState::kUsable && it != clients_.end() &&
                       !it->second.content.empty() && it->second.places.contains(place);
  Waiting waiting;
  if (!goes_on) waiting = leave(place);
  look_at(place);
  // Its window may have ended in this very moment, and the client with it.
  const auto still = clients_.find(s.id);
  if (goes_on && still != clients_.end() && still->second.former) {
    if (done) still->second.waiting.push_back(std::move(done));
    return;
  }
  if (waiting.empty()) return slots_.changed(place, std::move(done));
  if (done) waiting.push_back(std::move(done));
  slots_.changed(place, all_of(std::move(waiting)));
}

// Slots, of what is there now; and who waits for that.
void CredentialTokens::tell(Client& client) {
  client.former = false;
  const auto left = std::make_shared<size_t>(client.places.size());
  const auto then = all_of(std::exchange(client.waiting, {}));
  for (const CredentialPlace& place : client.places) {
    slots_.changed(place, [left, then] {
      if (--*left == 0) then();
    });
  }
}

void CredentialTokens::look_at(const CredentialPlace& place) {
  if (!vault_.is_bound(place)) return;
  const CredentialStatus s = vault_.status(place, static_cast<int64_t>(clock_.unix_ms()));
  if (!s.is_oauth2) return;
  if (s.state != CredentialState::kUsable) {
    if (Waiting waiting = leave(place); !waiting.empty()) {
      slots_.changed(place, all_of(std::move(waiting)));
    }
    return;
  }
  const auto [it, fresh] = clients_.try_emplace(s.id);
  Client& client = it->second;
  client.places.insert(place);
  of_[place] = s.id;
  if (!fresh && client.version == s.version) return;
  client.version = s.version;
  client.former = !client.content.empty();
  client.problem = "its access token has been asked for";
  if (auto r = ask(s.id, place); !r) on_failure(s.id, r.error().message, 0);
}

CredentialTokens::Waiting CredentialTokens::leave(const CredentialPlace& place) {
  const auto it = of_.find(place);
  if (it == of_.end()) return {};
  const uint64_t id = it->second;
  of_.erase(it);
  Client& client = clients_.at(id);
  client.places.erase(place);
  if (!client.places.empty()) return {};
  Waiting waiting = std::move(client.waiting);
  clients_.erase(id);
  if (keeper_) keeper_->remove(id);
  return waiting;
}

Result<void> CredentialTokens::ask(uint64_t id, const CredentialPlace& place) {
  if (!keeper_) {
    auto keeper = oauth2::TokenKeeper::start(
        post_, {[this](uint64_t key, crypto::SecretBuffer content, int64_t expires_ms) {
                  on_token(key, std::move(content), expires_ms);
                },
                [this](uint64_t key, std::string reason, int64_t retry_ms) {
                  on_failure(key, std::move(reason), retry_ms);
                }});
    if (!keeper) return tl::unexpected(keeper.error());
    keeper_ = std::move(*keeper);
  }
  auto record = vault_.open(place);
  if (!record) return tl::unexpected(record.error());
  keeper_->set(id, std::move(*record));
  return {};
}

void CredentialTokens::on_token(uint64_t id, crypto::SecretBuffer content, int64_t expires_ms) {
  const auto it = clients_.find(id);
  if (it == clients_.end()) return;
  it->second.content = std::move(content);
  const int64_t life = expires_ms - static_cast<int64_t>(clock_.unix_ms());
  it->second.ends_ms = expires_ms - std::min(kBeforeEndMs, life / kPartOfLife);
  it->second.problem.clear();
  tell(it->second);
}

void CredentialTokens::on_failure(uint64_t id, std::string reason, int64_t retry_ms) {
  const auto it = clients_.find(id);
  if (it == clients_.end()) return;
  Client& client = it->second;
  const auto now = static_cast<int64_t>(clock_.unix_ms());
  if (client.former) client.content = {};
  const bool stands = !client.content.empty() && now < client.ends_ms;
  if (client.problem != reason) {
    spdlog::warn("no access token for the credential of calls to {}: {}; {}, {}",
                 to_string(client.places.begin()->target), reason,
                 retry_ms == 0 ? "it is not tried again until the credential is set anew"
                               : fmt::format("next try in {} s", (retry_ms - now + 999) / 1000),
                 stands ? "the one before is still good" : "calls are denied");
  }
  client.problem = std::move(reason);
  if (!stands) tell(client);
}

void CredentialTokens::poll() {
  const uint64_t now = clock_.ticks();
  if (looked_ != 0 && now - looked_ < clock_.ticks_from_ms(kLookMs)) return;
  looked_ = now;
  // A window that opened or closed by time; slots look at that time themselves, once more when the
  // token is there.
  for (const CredentialPlace& place : oauth2_) look_at(place);
}

CredentialStatus CredentialTokens::status(const CredentialPlace& place, int64_t unix_ms) const {
  CredentialStatus s = vault_.status(place, unix_ms);
  if (!s.is_oauth2 || s.state != CredentialState::kUsable) return s;
  const auto it = clients_.find(s.id);
  if (it == clients_.end() || it->second.content.empty() || unix_ms >= it->second.ends_ms) {
    s.state = CredentialState::kUnavailable;
    s.why = it == clients_.end() || it->second.problem.empty()
                ? "its access token has been asked for"
                : it->second.problem;
    return s;
  }
  // Until then, or until there is another.
  s.until_ms = std::min(s.until_ms, it->second.ends_ms);
  return s;
}

Result<crypto::SecretBuffer> CredentialTokens::open(const CredentialPlace& place) {
  const CredentialStatus s = vault_.status(place, static_cast<int64_t>(clock_.unix_ms()));
  if (!s.is_oauth2) return vault_.open(place);
  const auto it = clients_.find(s.id);
  if (it == clients_.end() || it->second.content.empty()) {
    return fail(ErrorCode::kResource, "there is no access token");
  }
  return crypto::SecretBuffer(it->second.content.view());
}

}  // namespace sluice::control
