// The vault as control has it: on a real store, with a real key file, beside real agents.
#include "control/vault.h"

#include "control/store_restore.h"
#include "crypto/secret.h"
#include "unit/store_fixture.h"
#include "wire/credential.h"

namespace sluice::control {
namespace {

constexpr uint8_t kMcp = 2;

std::shared_ptr<crypto::SecretBuffer> header(const std::string& value) {
  crypto::SecretBuffer out(256);
  MutBytes rest = wire::write_credential_field(out.bytes(), wire::CredentialField::kHeaderName,
                                               as_bytes("Authorization"));
  rest = wire::write_credential_field(rest, wire::CredentialField::kHeaderValue, as_bytes(value));
  out.shrink(out.size() - rest.size());
  return std::make_shared<crypto::SecretBuffer>(std::move(out));
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

TEST_F(VaultTest, ACredentialGoesInAndIsThereAfterAStart) {
  EXPECT_EQ(vault_->state(), VaultState::kUninitialised);
  EXPECT_EQ(set("search", "Bearer 1").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(init());
  EXPECT_EQ(init().error().code, ErrorCode::kConflict);
  const auto version = set("search", "Bearer s3cret-value", place(1));
  ASSERT_TRUE(version) << version.error().message;
  EXPECT_EQ(*version, 1u);
  EXPECT_EQ(value_at(place(1)), "Bearer s3cret-value");
  EXPECT_EQ(value_at(place(2)), "");
  EXPECT_EQ(value_at(place(1, 3)), "");
  EXPECT_FALSE(store_holds("s3cret-value"));
  EXPECT_TRUE(store_holds("search")) << "where its name is";

  restart();
  EXPECT_EQ(vault_->places(), std::vector{place(1)}) << "before it is open";
  EXPECT_EQ(int(status(place(1)).state), int(CredentialState::kUnavailable));
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "Bearer s3cret-value");
  EXPECT_EQ(status(place(1)).version, 1u);
  ASSERT_EQ(*set("search", "Bearer next"), 2u);
  EXPECT_EQ(value_at(place(1)), "Bearer next");
  EXPECT_EQ(feed(), (std::vector<std::string>{"vault_made", "vault_key_added", "credential_set",
                                              "credential_bound", "credential_set"}));
  ASSERT_TRUE(remove("search"));
  EXPECT_FALSE(vault_->is_bound(place(1)));
  restart();
  EXPECT_TRUE(vault_->credentials().empty());
}

TEST_F(VaultTest, OneCredentialForEachAgentAndProtocolOfItsOwnTenant) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("one", "1", place(1)));
  ASSERT_TRUE(set("two", "2"));
  const auto taken = bind("two", place(1));
  ASSERT_FALSE(taken);
  EXPECT_TRUE(says(taken.error(), "have the credential one: unbind that one first"))
      << taken.error().message;
  EXPECT_EQ(set("two", "3", place(1)).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(bind("two", place(1, 3)));
  ASSERT_TRUE(bind("two", place(2)));
  EXPECT_EQ(value_at(place(2)), "2") << "what was refused changed nothing";
  ASSERT_TRUE(unbind(place(1)));
  EXPECT_EQ(unbind(place(1)).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(bind("two", place(1)));
  EXPECT_EQ(value_at(place(1)), "2");
  EXPECT_EQ(bind("one", {{7, 99}, kMcp}).error().code, ErrorCode::kNotFound);
  AgentRow other = row(3);
  other.tenant = 8;
  ASSERT_TRUE(enrol({other}));
  ASSERT_TRUE(trust_->enrol(other));
  const auto stranger = bind("one", {{8, 3}, kMcp});
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, ErrorCode::kRefused);
}

TEST_F(VaultTest, AnAnswerWaitsForTheDiskAndForTheWorkers) {
  Slots slots;
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  vault_->serve(&slots);
  EXPECT_EQ(slots.told, std::vector{place(1)}) << "what is there already";
  slots.at_once = false;
  std::optional<Result<uint32_t>> done;
  hold_log();
  vault_->set({7, "search", header("2"), {}, {}}, "test", [&](auto r) { done = r; });
  vault_->poll();
  wait_until_held();
  EXPECT_EQ(value_at(place(1)), "1") << "not durable yet";
  release_log();
  ASSERT_TRUE(run_until([&] { return !slots.waiting.empty(); }));
  EXPECT_EQ(value_at(place(1)), "2");
  executor_.run_one(20ms);
  EXPECT_FALSE(done) << "workers may still send the old one";
  slots.waiting[0]();
  ASSERT_TRUE(done);
  EXPECT_TRUE(*done);
  vault_->serve(nullptr);
}

TEST_F(VaultTest, LockedNothingOpensAndBindingsStayKnown) {
  Slots slots;
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  vault_->serve(&slots);
  slots.told.clear();
  ASSERT_TRUE(lock());
  EXPECT_EQ(slots.told, std::vector{place(1)});
  EXPECT_EQ(value_at(place(1)), "");
  EXPECT_TRUE(vault_->is_bound(place(1)));
  EXPECT_TRUE(says({{}, status(place(1)).why}, "an operator locked it")) << status(place(1)).why;
  EXPECT_EQ(set("search", "2").error().code, ErrorCode::kRefused);
  EXPECT_EQ(bind("search", place(2)).error().code, ErrorCode::kRefused);
  ASSERT_TRUE(unlock());
  EXPECT_EQ(value_at(place(1)), "1");
  ASSERT_TRUE(lock());
  ASSERT_TRUE(unbind(place(1))) << "less is always allowed";
  ASSERT_TRUE(remove("search"));
  vault_->serve(nullptr);
}

TEST_F(VaultTest, APassphraseIsAskedForAfterEachStart) {
  options_.source = vault::KeySource::kPassphrase;
  start();
  EXPECT_EQ(init().error().code, ErrorCode::kUsage);
  ASSERT_TRUE(init("correct horse battery"));
  ASSERT_TRUE(set("search", "1", place(1)));
  restart();
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  EXPECT_EQ(unlock("something else").error().code, ErrorCode::kRefused);
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  ASSERT_TRUE(unlock("correct horse battery"));
  EXPECT_EQ(value_at(place(1)), "1");
}

TEST_F(VaultTest, AMissingOrWrongKeyFileLosesNothing) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  fs::rename(options_.key_file, root_ + "/away");
  restart();
  ASSERT_TRUE(run_until([&] { return !vault_->unlocking(); }));
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  EXPECT_TRUE(says({{}, vault_->why_locked()}, "put its file back")) << vault_->why_locked();
  std::ofstream(options_.key_file) << std::string(32, 'x');
  chmod(options_.key_file.c_str(), 0600);
  EXPECT_EQ(unlock().error().code, ErrorCode::kKeyFile);
  fs::rename(root_ + "/away", options_.key_file);
  ASSERT_TRUE(unlock());
  EXPECT_EQ(value_at(place(1)), "1");
}

TEST_F(VaultTest, DataKeysAreReplacedWhileItIsUsed) {
  ASSERT_TRUE(init());
  Slots slots;
  for (int i = 0; i < 100; ++i) {
    const auto n = std::to_string(i);
    ASSERT_TRUE(set("c" + n, n, i < 2 ? std::optional(place(uint32_t(i + 1))) : std::nullopt));
  }
  vault_->serve(&slots);
  slots.told.clear();
  const auto r = rotate();
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->key, 2u);
  EXPECT_EQ(r->records, 100u);
  EXPECT_TRUE(slots.told.empty()) << "what calls get is what they got";
  EXPECT_EQ(vault_->data_keys().size(), 1u);
  restart();
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "0");
  EXPECT_EQ(value_at(place(2)), "1");
  EXPECT_EQ(vault_->data_keys().begin()->first, 2u);
  for (const auto& [id, credential] : vault_->credentials()) {
    EXPECT_EQ(credential.key, 2u);
    EXPECT_EQ(credential.version, 1u);
    EXPECT_FALSE(vault_->is_damaged(id));
  }
}

// Stopped in the middle, as a kill would: the next start finds both keys, and goes on.
TEST_F(VaultTest, ARotationThatWasCutOffGoesOn) {
  ASSERT_TRUE(init());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(set("c" + std::to_string(i), "x"));
  vault_->rotate("test", [](const auto&) { FAIL() << "answered"; });
  ASSERT_TRUE(run_until([&] {
    return std::any_of(vault_->credentials().begin(), vault_->credentials().end(),
                       [](const auto& c) { return c.second.key == 2; });
  }));
  restart();
  ASSERT_TRUE(unlocks());
  ASSERT_TRUE(run_until([&] { return vault_->data_keys().size() == 1; }));
  for (const auto& [id, credential] : vault_->credentials()) EXPECT_EQ(credential.key, 2u);
  ASSERT_TRUE(bind("c99", place(1)));
  EXPECT_EQ(value_at(place(1)), "x");
}

TEST_F(VaultTest, AnotherMasterKeyAlsoFromElsewhere) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  fs::copy(options_.key_file, root_ + "/old");
  ASSERT_TRUE(rotate_master());
  EXPECT_EQ(vault_->master().number, 2u);
  EXPECT_EQ(value_at(place(1)), "1");
  restart();
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "1");
  // The old one opens nothing any more.
  ASSERT_TRUE(lock());
  fs::rename(options_.key_file, root_ + "/new");
  fs::copy(root_ + "/old", options_.key_file);
  EXPECT_EQ(unlock().error().code, ErrorCode::kKeyFile);
  fs::rename(root_ + "/new", options_.key_file);
  ASSERT_TRUE(unlock());
  // A configuration that says passphrase now.
  options_.source = vault::KeySource::kPassphrase;
  restart();
  ASSERT_TRUE(unlocks()) << "it opens as it was made";
  EXPECT_EQ(rotate_master().error().code, ErrorCode::kUsage);
  ASSERT_TRUE(rotate_master("correct horse battery"));
  restart();
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  ASSERT_TRUE(unlock("correct horse battery"));
  EXPECT_EQ(value_at(place(1)), "1");
}

TEST_F(VaultTest, RecordsThatWereChangedInTheStoreAreRefusedAlone) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("one", "1", place(1)));
  ASSERT_TRUE(set("two", "2", place(2)));
  spoil(
      "UPDATE credentials SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS"
      " BLOB) WHERE name = 'one'");
  EXPECT_EQ(value_at(place(1)), "");
  EXPECT_TRUE(says({{}, status(place(1)).why}, "changed in the store")) << status(place(1)).why;
  EXPECT_EQ(value_at(place(2)), "2");
  ASSERT_TRUE(set("one", "1")) << "set anew, it is sound";
  EXPECT_EQ(value_at(place(1)), "1");

  spoil(
      "CREATE TEMP TABLE before AS SELECT id, sealed FROM credentials;"
      "UPDATE credentials SET sealed ="
      " (SELECT sealed FROM before WHERE before.id <> credentials.id)");
  EXPECT_EQ(value_at(place(1)) + value_at(place(2)), "") << "swapped";
  ASSERT_TRUE(set("one", "1"));
  ASSERT_TRUE(set("two", "2"));

  spoil("UPDATE bindings SET credential = (SELECT id FROM credentials WHERE name = 'one')");
  EXPECT_EQ(value_at(place(1)), "1");
  EXPECT_EQ(value_at(place(2)), "") << "handed to another agent";
  ASSERT_TRUE(unbind(place(2)));
  ASSERT_TRUE(bind("two", place(2)));
  EXPECT_EQ(value_at(place(2)), "2");

  spoil("UPDATE bindings SET proof = zeroblob(28) WHERE target & 255 = 2");
  EXPECT_EQ(value_at(place(2)), "") << "bound by nobody";
  ASSERT_TRUE(set("two", "2", place(2))) << "bound anew with it";
  EXPECT_EQ(value_at(place(2)), "2");

  spoil("UPDATE credentials SET life = 'not_after 99999999999999', tenant = 7");
  EXPECT_EQ(value_at(place(1)) + value_at(place(2)), "") << "allowed for longer";
}

// A rotation whose answer was lost: what the store holds is what counts, and its key is beside.
TEST_F(VaultTest, AMasterKeyThatTheStoreKnowsAfterAllIsTakenUp) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  const Snapshot before = contents();
  ASSERT_TRUE(rotate_master());
  const Snapshot after = contents();
  fs::rename(options_.key_file, options_.key_file + ".next");
  vault_->reconcile(before);
  ASSERT_TRUE(run_until([&] { return !vault_->unlocking(); }));
  EXPECT_EQ(vault_->state(), VaultState::kLocked) << "that key is gone";
  vault_->reconcile(after);
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "1");
  EXPECT_EQ(vault_->master().number, 2u);
  EXPECT_FALSE(fs::exists(options_.key_file + ".next"));
}

TEST_F(VaultTest, WithoutItsDataKeysItStaysLocked) {
  ASSERT_TRUE(init());
  vault_.reset();
  store_.reset();
  executor_.forget();
  raw(db_, "DELETE FROM vault_keys");
  open_store();
  start();
  ASSERT_TRUE(run_until([&] { return !vault_->unlocking(); }));
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  EXPECT_TRUE(says({{}, vault_->why_locked()}, "data keys are gone")) << vault_->why_locked();
}

// Sealed it is in the backup, and opens with what is not.
TEST_F(VaultTest, ABackupOpensWithTheSameKeyFile) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "s3cret-value", place(1)));
  const auto copied =
      answer<Store::BackupDone>([&](auto done) { store_->backup(root_ + "/copy.db", done); });
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_FALSE(store_holds("s3cret-value"));
  vault_.reset();
  store_.reset();
  executor_.forget();
  const auto restored =
      restore_store(root_ + "/copy.db", root_ + "/other", root_ + "/other/audit", false);
  ASSERT_TRUE(restored) << restored.error().message;
  dir_ = root_ + "/other";
  open_store();
  start();
  ASSERT_TRUE(unlocks()) << vault_->why_locked();
  EXPECT_EQ(value_at(place(1)), "s3cret-value");
  ASSERT_EQ(*set("search", "2"), 2u);
}

TEST_F(VaultTest, AgesAndWindowsDecide) {
  ASSERT_TRUE(init());
  const uint64_t now = clock_.unix_ms();
  const uint64_t day = 86'400'000;
  ASSERT_TRUE(set("search", "1", place(1), CredentialLife{.max_age_ms = 10 * day}));
  ASSERT_TRUE(set("later", "2", place(2), CredentialLife{.not_before_ms = now + day}));
  EXPECT_EQ(value_at(place(1)), "1");
  EXPECT_EQ(value_at(place(2)), "");
  EXPECT_EQ(int(status(place(2)).state), int(CredentialState::kOutsideWindow));
  EXPECT_EQ(status(place(2)).opens_ms, int64_t(now + day));
  const auto kinds = [&] {
    std::vector<EventKind> out;
    for (uint64_t n = events_->first(); n < events_->next(); ++n)
      out.push_back(events_->at(n).kind);
    return out;
  };
  const size_t before = kinds().size();
  clock_.advance_ms(9 * day + 1);
  vault_->poll();
  EXPECT_EQ(value_at(place(2)), "2");
  ASSERT_EQ(kinds().size(), before + 1);
  EXPECT_EQ(kinds().back(), EventKind::kCredentialAging);
  clock_.advance_ms(day);
  vault_->poll();
  EXPECT_EQ(kinds().back(), EventKind::kCredentialTooOld);
  EXPECT_EQ(value_at(place(1)), "");
  EXPECT_EQ(int(status(place(1)).state), int(CredentialState::kUnavailable));
  // The limits stay with the next version, which is young.
  ASSERT_EQ(*set("search", "3"), 2u);
  EXPECT_EQ(value_at(place(1)), "3");
  clock_.advance_ms(10 * day);
  EXPECT_EQ(value_at(place(1)), "");
  // Set back: windows are closed again.
  clock_.set_wall_forward_ms(-30 * int64_t(day));
  Slots slots;
  vault_->serve(&slots);
  slots.told.clear();
  vault_->clock_was_set();
  EXPECT_EQ(slots.told, (std::vector{place(1), place(2)}));
  EXPECT_EQ(value_at(place(2)), "");
  vault_->serve(nullptr);
}

TEST_F(VaultTest, ARevokedAgentsBindingsGo) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  ASSERT_TRUE(bind("search", place(2)));
  trust_->mark_revoked(*trust_->by_address({7, 1}), "stolen", 1);
  clock_.advance_ms(2000);
  ASSERT_TRUE(run_until([&] { return !vault_->is_bound(place(1)); }));
  EXPECT_TRUE(vault_->is_bound(place(2)));
  EXPECT_EQ(feed().back(), "credential_unbound");
  EXPECT_NE(vault_->by_name(7, "search"), nullptr);
  EXPECT_EQ(bind("search", place(1)).error().code, ErrorCode::kNotFound);
  restart();
  EXPECT_EQ(vault_->places(), std::vector{place(2)});
}

// What failed may be on disk all the same; what is there after a reread is what holds.
TEST_F(VaultTest, AWriteThatFailedIsNotInForceAndAReadTakesUpWhatIsThere) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  fail_syncs(10, 10);
  const auto failed = set("search", "2");
  EXPECT_FALSE(failed);
  fail_syncs(0, 0);
  ASSERT_TRUE(set("other", "3"));  // the store is open again
  vault_->reconcile(contents());
  const Snapshot there = contents();
  for (const auto& row : there.vault.credentials) {
    EXPECT_EQ(vault_->credentials().at(row.id).version, row.version);
  }
  EXPECT_EQ(value_at(place(1)), there.vault.credentials[1].version == 2 ? "2" : "1");
}

}  // namespace
}  // namespace sluice::control
