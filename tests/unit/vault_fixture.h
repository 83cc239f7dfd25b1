// The vault as control has it: on a real store, with a real key file, beside real agents.
#pragma once

#include "control/vault.h"

#include "control/store_restore.h"
#include "crypto/secret.h"
#include "unit/credential_fields.h"
#include "unit/store_fixture.h"
#include "wire/credential.h"

namespace sluice::control {

inline constexpr uint8_t kMcp = 2;

inline std::shared_ptr<crypto::SecretBuffer> header(const std::string& value) {
  return credential_of({{wire::CredentialField::kHeaderName, "Authorization"},
                        {wire::CredentialField::kHeaderValue, value}});
}

// Answers at once, or when the test says so.
struct Slots : CredentialSlots {
  std::vector<CredentialPlace> told;
  std::vector<std::function<void()>> waiting;
  bool at_once = true;
  void changed(const CredentialPlace& place, std::function<void()> done) override {
    told.push_back(place);
    if (!done) return;
    if (at_once) return done();
    waiting.push_back(std::move(done));
  }
};

class VaultTest : public StoreTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(crypto::init());
    StoreTest::SetUp();
    open_store();
    options_.key_file = root_ + "/vault.key";
    options_.argon2 = {1, 64};
    ASSERT_TRUE(enrol({row(1), row(2)}));
    start();
  }
  void TearDown() override {
    vault_.reset();
    StoreTest::TearDown();
  }
  static AgentRow row(uint64_t n) {
    AgentRow out = agent(n);
    out.source = AgentSource::kOperator;
    return out;
  }
  static CredentialPlace place(uint32_t node, uint8_t protocol = kMcp) {
    return {{7, node}, protocol};
  }

  // As at a start of the relay.
  void start() {
    vault_.reset();
    trust_.reset();
    arena_ = std::move(*fabric::Arena::create(
        {.agents = 8, .edges = 32, .sessions = 2, .tenants = 4}, fabric::PageKind::kSmall));
    trust_ = std::make_unique<TrustTable>(*arena_, clock_);
    const Snapshot snapshot = contents();
    trust_->restore(snapshot);
    trust_->activate();
    events_ = std::make_unique<Events>(clock_);
    vault_ =
        std::make_unique<Vault>(options_, clock_, *trust_, *store_, *events_, executor_.post());
    vault_->restore(snapshot);
  }
  void restart() {
    vault_.reset();
    store_.reset();
    executor_.forget();
    open_store();
    start();
  }
  bool run_until(const std::function<bool()>& done) {
    for (int i = 0; i < 20'000 && !done(); ++i) {
      vault_->poll();
      executor_.run_one(1ms);
    }
    return done();
  }
  bool unlocks() {
    return run_until([this] { return vault_->state() == VaultState::kUnlocked; });
  }

  template <typename T, typename Ask>
  Result<T> answer(Ask&& ask) {
    std::optional<Result<T>> out;
    ask([&out](Result<T> r) { out = std::move(r); });
    if (!run_until([&] { return out.has_value(); })) return fail(ErrorCode::kTimeout, "no answer");
    return *out;
  }
  static Vault::Passphrase phrase(std::string_view text) {
    return text.empty() ? nullptr : std::make_shared<crypto::SecretBuffer>(as_bytes(text));
  }
  Result<void> init(std::string_view passphrase = {}) {
    return answer<void>([&](auto done) { vault_->init(phrase(passphrase), "test", done); });
  }
  Result<void> unlock(std::string_view passphrase = {}) {
    return answer<void>([&](auto done) { vault_->unlock(phrase(passphrase), "test", done); });
  }
  Result<void> lock() {
    return answer<void>([&](auto done) { vault_->lock("test", done); });
  }
  Result<RotationAnswer> rotate() {
    return answer<RotationAnswer>([&](auto done) { vault_->rotate("test", done); });
  }
  Result<RotationAnswer> rotate_master(std::string_view passphrase = {}) {
    return answer<RotationAnswer>(
        [&](auto done) { vault_->rotate_master(phrase(passphrase), "test", done); });
  }
  Result<uint32_t> set(const std::string& name, const std::string& value,
                       std::optional<CredentialPlace> at = {},
                       std::optional<CredentialLife> life = {}) {
    return answer<uint32_t>([&](auto done) {
      vault_->set({7, name, header(value), std::move(life), at}, "test", done);
    });
  }
  Result<void> bind(const std::string& name, const CredentialPlace& at) {
    return answer<void>([&](auto done) { vault_->bind(id_of(name), at, "test", done); });
  }
  Result<void> unbind(const CredentialPlace& at) {
    return answer<void>([&](auto done) { vault_->unbind(at, "test", done); });
  }
  Result<void> remove(const std::string& name) {
    return answer<void>([&](auto done) { vault_->remove(id_of(name), "test", done); });
  }
  uint64_t id_of(const std::string& name) { return vault_->by_name(7, name)->id; }
  // What calls there would get; empty: nothing.
  std::string value_at(const CredentialPlace& at) {
    const auto text = vault_->open(at);
    if (!text) return {};
    wire::CredentialReader reader(text->view());
    wire::CredentialPart part{};
    while (reader.next(part)) {
      if (part.type == wire::CredentialField::kHeaderValue) return std::string(as_text(part.bytes));
    }
    return {};
  }
  CredentialStatus status(const CredentialPlace& at) {
    return vault_->status(at, int64_t(clock_.unix_ms()));
  }
  std::vector<std::string> feed() {
    std::vector<std::string> out;
    const auto entries = store_->audit_feed_now(0, 1000);
    for (const auto& e : *entries) {
      if (!e.entry.kind.starts_with("agent")) out.push_back(e.entry.kind);
    }
    return out;
  }
  bool store_holds(std::string_view needle) {
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string all((std::istreambuf_iterator<char>(in)), {});
      if (all.find(needle) != std::string::npos) return true;
    }
    return false;
  }
  void spoil(const char* sql) {
    vault_.reset();
    store_.reset();
    executor_.forget();
    raw(db_, sql);
    open_store();
    start();
    ASSERT_TRUE(unlocks()) << vault_->why_locked();
  }

  Clock clock_{1'000'000'000};
  vault::KeySourceOptions options_;
  std::unique_ptr<fabric::Arena> arena_;
  std::unique_ptr<TrustTable> trust_;
  std::unique_ptr<Events> events_;
  std::unique_ptr<Vault> vault_;
};

}  // namespace sluice::control
