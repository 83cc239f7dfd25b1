// The vault's keys and records, as whoever can write the store would spoil them; master keys from
// real files, Argon2id and a software TPM.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/annotate.h"
#include "base/file.h"
#include "crypto/secret.h"
#include "unit/credential_fields.h"
#include "unit/swtpm.h"
#include "vault/content.h"
#include "vault/master_key.h"
#include "vault/record.h"
#include "wire/credential.h"

namespace sluice::vault {
namespace {

namespace fs = std::filesystem;
using crypto::SecretBuffer;

SecretBuffer key_of(uint8_t n) {
  SecretBuffer out(kKeySize);
  std::memset(out.data(), n, out.size());
  return out;
}

std::string text_of(const std::optional<SecretBuffer>& b) {
  return b ? std::string(as_text(b->view())) : "refused";
}

class Records : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(crypto::init()); }
  void SetUp() override {
    auto ring = KeyRing::open(key_of(1), 1, {});
    ASSERT_TRUE(ring);
    keys_ = std::move(*ring);
    wrapped_.push_back(keys_->add(5));
  }
  const RecordName name_{.id = 7,
                         .tenant = 3,
                         .version = 2,
                         .set_ms = 9,
                         .parts = 1,
                         .name = "search",
                         .life = "not_after 99\n"};
  std::optional<KeyRing> keys_;
  std::vector<WrappedKey> wrapped_;
};

TEST_F(Records, OpenUnderTheirOwnNameAlone) {
  const Buffer sealed = seal_record(*keys_, 1, name_, as_bytes("s3cret"));
  EXPECT_EQ(sealed.size(), 6 + kSealOverhead);
  EXPECT_EQ(as_text(sealed).find("s3cret"), std::string_view::npos);
  EXPECT_EQ(text_of(open_record(*keys_, 1, name_, sealed)), "s3cret");
  const auto refused = [&](auto&& change) {
    RecordName other = name_;
    change(other);
    return !open_record(*keys_, 1, other, sealed);
  };
  EXPECT_TRUE(refused([](RecordName& n) { n.id = 8; })) << "put in another record's place";
  EXPECT_TRUE(refused([](RecordName& n) { n.tenant = 4; }));
  EXPECT_TRUE(refused([](RecordName& n) { n.version = 1; })) << "an earlier version";
  EXPECT_TRUE(refused([](RecordName& n) { n.set_ms = 10; })) << "made younger";
  EXPECT_TRUE(refused([](RecordName& n) { n.parts = 3; }));
  EXPECT_TRUE(refused([](RecordName& n) { n.name = "other"; }));
  EXPECT_TRUE(refused([](RecordName& n) { n.life = "not_after 100\n"; })) << "allowed for longer";
  for (size_t i = 0; i < sealed.size(); ++i) {
    Buffer spoiled = sealed;
    spoiled[i] ^= 1;
    ASSERT_FALSE(open_record(*keys_, 1, name_, spoiled)) << "byte " << i;
  }
  EXPECT_FALSE(open_record(*keys_, 1, name_, Bytes(sealed).first(sealed.size() - 1)));
  EXPECT_FALSE(open_record(*keys_, 1, name_, {}));
  EXPECT_FALSE(open_record(*keys_, 2, name_, sealed)) << "a key that is not there";
  (void)keys_->add(6);
  EXPECT_FALSE(open_record(*keys_, 2, name_, sealed)) << "another key";
}

TEST_F(Records, TwoSealingsOfOneTextShareNothing) {
  EXPECT_NE(seal_record(*keys_, 1, name_, as_bytes("x")),
            seal_record(*keys_, 1, name_, as_bytes("x")));
}

TEST_F(Records, ABindingHoldsForItsAgentProtocolAndRecord) {
  const BindingName name{.target = 0x300000001, .protocol = 2, .id = 7, .tenant = 3};
  const Buffer proof = seal_binding(*keys_, 1, name);
  EXPECT_TRUE(binding_holds(*keys_, 1, name, proof));
  const auto holds = [&](auto&& change) {
    BindingName other = name;
    change(other);
    return binding_holds(*keys_, 1, other, proof);
  };
  EXPECT_FALSE(holds([](BindingName& n) { n.target = 0x300000002; })) << "another agent";
  EXPECT_FALSE(holds([](BindingName& n) { n.protocol = 1; }));
  EXPECT_FALSE(holds([](BindingName& n) { n.id = 8; })) << "another credential";
  EXPECT_FALSE(holds([](BindingName& n) { n.tenant = 4; }));
  EXPECT_FALSE(binding_holds(*keys_, 1, name, {}));
}

TEST_F(Records, DataKeysComeBackUnderTheirMasterKeyAlone) {
  const Buffer sealed = seal_record(*keys_, 1, name_, as_bytes("s3cret"));
  const auto again = KeyRing::open(key_of(1), 1, wrapped_);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(text_of(open_record(*again, 1, name_, sealed)), "s3cret");
  const auto wrong = KeyRing::open(key_of(2), 1, wrapped_);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kStore);
  auto spoiled = wrapped_;
  spoiled[0].number = 2;
  EXPECT_FALSE(KeyRing::open(key_of(1), 1, spoiled)) << "under another number";
  spoiled = wrapped_;
  spoiled[0].made_ms = 6;
  EXPECT_FALSE(KeyRing::open(key_of(1), 1, spoiled)) << "made younger";
}

TEST_F(Records, ANewMasterKeyTakesOverAllDataKeys) {
  wrapped_.push_back(keys_->add(6));
  const Buffer first = seal_record(*keys_, 1, name_, as_bytes("one"));
  const Buffer second = seal_record(*keys_, 2, name_, as_bytes("two"));
  const auto anew = keys_->wrap_anew(wrapped_, key_of(9), 2);
  ASSERT_TRUE(anew) << anew.error().message;
  EXPECT_FALSE(KeyRing::open(key_of(1), 1, *anew)) << "the old one opens them no more";
  const auto ring = KeyRing::open(key_of(9), 2, *anew);
  ASSERT_TRUE(ring) << ring.error().message;
  EXPECT_EQ(text_of(open_record(*ring, 1, name_, first)), "one");
  EXPECT_EQ(text_of(open_record(*ring, 2, name_, second)), "two");
  EXPECT_EQ(ring->newest(), 2u);
}

// --- Master keys ---------------------------------------------------------------------------------

class Masters : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(crypto::init()); }
  void SetUp() override {
    quiet_tpm();
    folder_ = testing::TempDir() + "vault-XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    options_.key_file = folder_ + "/vault.key";
    options_.argon2 = {1, 64};
    options_.tpm.auth_file = folder_ + "/vault.auth";
  }
  void TearDown() override { fs::remove_all(folder_); }

  NewMaster make(uint64_t number = 1, std::string_view passphrase = {}) {
    auto made = make_master(options_, number, 1000, as_bytes(passphrase));
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : NewMaster{};
  }
  bool gives(const NewMaster& made, std::string_view passphrase = {}) {
    const auto key = recover_master(options_, made.record, as_bytes(passphrase));
    return key && crypto::equal_secret(key->view(), made.key.view());
  }
  Error refusal(const MasterRecord& record, std::string_view passphrase = {}) {
    const auto key = recover_master(options_, record, as_bytes(passphrase));
    EXPECT_FALSE(key) << "given";
    return key ? Error{} : key.error();
  }
  void write(const std::string& path, std::string_view content, mode_t mode = 0600) {
    ASSERT_TRUE(write_file(path, as_bytes(content), mode));
  }
  bool says(const Error& e, std::string_view words) {
    return e.message.find(words) != std::string::npos && e.message.find('\n') == std::string::npos;
  }

  std::string folder_;
  KeySourceOptions options_;
};

TEST_F(Masters, AFileIsMadeOnceAndIsItsOwnersAlone) {
  const NewMaster made = make();
  struct stat st {};
  ASSERT_EQ(stat(options_.key_file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_EQ(st.st_size, 32);
  EXPECT_TRUE(gives(made));
  const NewMaster again = make();
  EXPECT_TRUE(crypto::equal_secret(again.key.view(), made.key.view())) << "one that is there stays";

  chmod(options_.key_file.c_str(), 0640);
  EXPECT_TRUE(says(refusal(made.record), "chmod 600")) << refusal(made.record).message;
  EXPECT_EQ(refusal(made.record).code, ErrorCode::kPermission);
  chmod(options_.key_file.c_str(), 0600);
  write(options_.key_file, std::string(32, 'x'));
  EXPECT_TRUE(says(refusal(made.record), "holds another master key"));
  EXPECT_EQ(refusal(made.record).code, ErrorCode::kKeyFile);
  write(options_.key_file, "short");
  EXPECT_TRUE(says(refusal(made.record), "a master key has 32"));
  unlink(options_.key_file.c_str());
  EXPECT_TRUE(says(refusal(made.record), "put its file back"));
  EXPECT_EQ(refusal(made.record).code, ErrorCode::kKeyFile);
}

TEST_F(Masters, AStoreThatWasChangedIsNotBelieved) {
  const NewMaster made = make();
  MasterRecord other = made.record;
  other.number = 2;
  EXPECT_EQ(refusal(other).code, ErrorCode::kKeyFile);
  other = made.record;
  other.made_ms = 1;
  EXPECT_EQ(refusal(other).code, ErrorCode::kKeyFile);
  other = made.record;
  other.parameters.push_back(0);
  EXPECT_EQ(refusal(other).code, ErrorCode::kKeyFile);
}

// Whatever a kill comes in between of, one of the two keys fits what the store holds.
TEST_F(Masters, ANewFileWaitsBesideTheOldOneUntilTheStoreKnowsIt) {
  const NewMaster first = make();
  const NewMaster second = make(2);
  ASSERT_FALSE(crypto::equal_secret(first.key.view(), second.key.view()));
  EXPECT_TRUE(gives(first)) << "the store has not heard of it";
  EXPECT_TRUE(gives(second)) << "it has";
  const NewMaster repeated = make(2);
  EXPECT_TRUE(crypto::equal_secret(second.key.view(), repeated.key.view()))
      << "one that the store may know stays";
  ASSERT_TRUE(settle_master(options_, second.record));
  EXPECT_FALSE(fs::exists(next_key_file(options_.key_file)));
  EXPECT_TRUE(gives(second));
  EXPECT_FALSE(gives(first));
  // A store that failed may have the third after all: its key stays, and is the next one's.
  const NewMaster third = make(3);
  ASSERT_TRUE(settle_master(options_, second.record));
  EXPECT_TRUE(gives(second));
  const NewMaster again = make(4);
  EXPECT_TRUE(crypto::equal_secret(third.key.view(), again.key.view()));
}

TEST_F(Masters, APassphraseAndNoOtherOpens) {
  options_.source = KeySource::kPassphrase;
  const NewMaster made = make(1, "correct horse battery");
  EXPECT_TRUE(gives(made, "correct horse battery"));
  EXPECT_EQ(refusal(made.record, "correct horse batterx").code, ErrorCode::kRefused);
  EXPECT_EQ(refusal(made.record).code, ErrorCode::kUsage);
  const auto brief = make_master(options_, 1, 1, as_bytes("short"));
  ASSERT_FALSE(brief);
  EXPECT_TRUE(says(brief.error(), "at least 12"));
  const NewMaster other = make(1, "correct horse battery");
  EXPECT_FALSE(crypto::equal_secret(made.key.view(), other.key.view())) << "salted";
  // What it costs is what it was made with.
  options_.argon2 = {2, 128};
  EXPECT_TRUE(gives(made, "correct horse battery"));
  MasterRecord cheap = made.record;
  cheap.parameters[16] = 2;
  EXPECT_EQ(refusal(cheap, "correct horse battery").code, ErrorCode::kRefused);
}

TEST_F(Masters, ATpmGivesItsKeyToNobodyElse) {
  Swtpm tpm(folder_ + "/tpm");
  if (!tpm.runs()) GTEST_SKIP() << "swtpm does not start here";
  options_.source = KeySource::kTpm;
  options_.tpm.tcti = tpm.tcti();
  options_.tpm.pcrs = {7, 16};
  const NewMaster made = make();
  EXPECT_EQ(as_text(made.record.parameters).find(as_text(made.key.view())), std::string_view::npos);
  EXPECT_TRUE(gives(made));
  tpm.restart();
  EXPECT_TRUE(gives(made)) << "after a boot";

  // The auth value.
  const auto auth = read_file(options_.tpm.auth_file);
  ASSERT_TRUE(auth);
  write(options_.tpm.auth_file, std::string(32, 'x'));
  EXPECT_TRUE(says(refusal(made.record), "auth value")) << refusal(made.record).message;
  EXPECT_EQ(refusal(made.record).code, ErrorCode::kRefused);
  unlink(options_.tpm.auth_file.c_str());
  EXPECT_TRUE(says(refusal(made.record), "put vault.tpm.auth_file back"));
  write(options_.tpm.auth_file, *auth);
  EXPECT_TRUE(gives(made));

  // A copy of everything but the TPM.
  {
    Swtpm other(folder_ + "/other");
    ASSERT_TRUE(other.runs());
    options_.tpm.tcti = other.tcti();
    const Error e = refusal(made.record);
    EXPECT_EQ(e.code, ErrorCode::kKeyFile);
    EXPECT_TRUE(says(e, "another one has")) << e.message;
  }
  // It is gone.
  const Error gone = refusal(made.record);
  EXPECT_EQ(gone.code, ErrorCode::kResource);
  EXPECT_TRUE(says(gone, "does not answer")) << gone.message;
  options_.tpm.tcti = tpm.tcti();
  EXPECT_TRUE(gives(made)) << "nothing is lost";

  for (const size_t at : {size_t{0}, size_t{40}, made.record.parameters.size() - 1}) {
    MasterRecord spoiled = made.record;
    spoiled.parameters[at] ^= 1;
    EXPECT_EQ(refusal(spoiled).code, ErrorCode::kKeyFile) << at;
  }
  // Something else was booted.
  const std::string extend =
      "tpm2_pcrextend -T " + tpm.tcti() + " 16:sha256=" + std::string(64, '1') + " 2>/dev/null";
  if (std::system(extend.c_str()) != 0) GTEST_SKIP() << "no tpm2-tools: PCRs stay as they are";
  const Error booted = refusal(made.record);
  EXPECT_EQ(booted.code, ErrorCode::kRefused);
  EXPECT_TRUE(says(booted, "PCRs")) << booted.message;
  tpm.restart();
  EXPECT_TRUE(gives(made));
}

// Where bytes stand in memory that a core dump shows.
std::vector<std::string> dumped_memory_with(Bytes needle) {
  std::vector<std::string> out;
  std::ifstream maps("/proc/self/smaps");
  std::string line, mapping;
  while (std::getline(maps, line)) {
    if (line.find(':') > line.find('-')) mapping = line;
    if (!line.starts_with("VmFlags:") || line.find(" wr ") == std::string::npos) continue;
    if (line.find(" dd ") != std::string::npos || mapping.find("[v") != std::string::npos) continue;
    const uintptr_t begin = std::stoull(mapping, nullptr, 16);
    const uintptr_t end = std::stoull(mapping.substr(mapping.find('-') + 1), nullptr, 16);
    const void* at =
        memmem(reinterpret_cast<const void*>(begin), end - begin, needle.data(), needle.size());
    if (at != nullptr) out.push_back(mapping);
  }
  return out;
}

TEST_F(Masters, NothingOfAKeyIsLeftWhereADumpWouldShowIt) {
#if defined(SLUICE_ASAN) || defined(SLUICE_TSAN)
  GTEST_SKIP() << "a sanitizer keeps what was freed";
#endif
  Swtpm tpm(folder_ + "/tpm");
  options_.tpm.tcti = tpm.tcti();
  SecretBuffer canary(as_bytes(std::string("not that secret, thirty-two bytes")));
  std::string copy(as_text(canary.view()));
  EXPECT_FALSE(dumped_memory_with(canary.view()).empty()) << "the search finds what is there";
  crypto::wipe(copy.data(), copy.size());
  for (const KeySource source : {KeySource::kFile, KeySource::kPassphrase, KeySource::kTpm}) {
    if (source == KeySource::kTpm && !tpm.runs()) {
      GTEST_SKIP() << "swtpm does not start here: file and passphrase were searched";
    }
    options_.source = source;
    const std::string phrase = "correct horse battery";
    const NewMaster made = make(1, phrase);
    EXPECT_EQ(dumped_memory_with(made.key.view()), std::vector<std::string>{})
        << "made: " << name_of(source);
    ASSERT_TRUE(gives(made, phrase));
    EXPECT_EQ(dumped_memory_with(made.key.view()), std::vector<std::string>{})
        << "recovered: " << name_of(source);
  }
}

// --- Content -------------------------------------------------------------------------------------

using wire::CredentialField;
using Fields = CredentialFields;

TEST(Content, SaysWhatItConsistsOf) {
  const std::string pem = "-----BEGIN CERTIFICATE-----\nx\n";
  const std::pair<Fields, uint8_t> good[] = {
      {{{CredentialField::kHeaderName, "Authorization"},
        {CredentialField::kHeaderValue, "Bearer x y"}},
       kHeaderPart},
      {{{CredentialField::kHeaderName, "A"},
        {CredentialField::kHeaderValue, "1"},
        {CredentialField::kHeaderName, "B"},
        {CredentialField::kHeaderValue, "2"},
        {CredentialField::kEndpoint, "https://api.example/v1"}},
       kHeaderPart | kEndpointPart},
      {{{CredentialField::kQueryName, "key"}, {CredentialField::kQueryValue, "v"}}, kQueryPart},
      {{{CredentialField::kWebhook, "https://h.example/x?y=z"}}, kWebhookPart},
      {{{CredentialField::kClientChain, pem},
        {CredentialField::kClientKey, pem},
        {CredentialField::kAuthority, pem}},
       kClientCertificatePart | kAuthorityPart},
      {{{CredentialField::kTokenUrl, "https://id.example/token"},
        {CredentialField::kClientId, "me"},
        {CredentialField::kClientSecret, "s"},
        {CredentialField::kTokenAuth, "post"}},
       kOauth2Part}};
  for (const auto& [fields, parts] : good) {
    const auto r = check_content(credential_of(fields)->view());
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(*r, parts);
  }
}

TEST(Content, RefusesWhatDoesNotFitTogetherAndQuotesNothingOfIt) {
  const std::string word = "quoted-secret";
  const Fields bad[] = {
      {},
      {{CredentialField::kAuthority, "-----BEGIN CERTIFICATE-----\n"}},
      {{CredentialField::kHeaderName, word}},
      {{CredentialField::kHeaderValue, word}},
      {{CredentialField::kHeaderName, "A"}, {CredentialField::kQueryValue, word}},
      {{CredentialField::kHeaderName, "A"}, {CredentialField::kHeaderValue, word + "\r\nX: y"}},
      {{CredentialField::kHeaderName, "A"}, {CredentialField::kHeaderValue, " " + word}},
      {{CredentialField::kHeaderName, "A"}, {CredentialField::kHeaderValue, ""}},
      {{CredentialField::kHeaderName, word + " x"}, {CredentialField::kHeaderValue, "v"}},
      {{CredentialField::kHeaderName, "Host"}, {CredentialField::kHeaderValue, word}},
      {{CredentialField::kHeaderName, "transfer-ENCODING"}, {CredentialField::kHeaderValue, word}},
      {{CredentialField::kEndpoint, word}},
      {{CredentialField::kEndpoint, "ftp://" + word}},
      {{CredentialField::kEndpoint, "https://a b/" + word}},
      {{CredentialField::kEndpoint, "https://a/"}, {CredentialField::kEndpoint, "https://b/"}},
      {{CredentialField::kEndpoint, "https://a/"}, {CredentialField::kWebhook, "https://b/"}},
      {{CredentialField::kClientKey, "-----BEGIN PRIVATE KEY-----\n" + word}},
      {{CredentialField::kClientChain, word}, {CredentialField::kClientKey, word}},
      {{CredentialField::kClientSecret, word}},
      {{CredentialField::kTokenUrl, "https://a/"}, {CredentialField::kClientId, word}},
      {{CredentialField(99), word}},
  };
  for (const Fields& fields : bad) {
    const auto r = check_content(credential_of(fields)->view());
    ASSERT_FALSE(r) << "field " << (fields.empty() ? 0 : int(fields[0].first));
    EXPECT_EQ(r.error().code, ErrorCode::kUsage);
    EXPECT_EQ(r.error().message.find(word), std::string::npos) << r.error().message;
  }
  const auto whole = credential_of({{CredentialField::kWebhook, "https://h.example/"}});
  Buffer cut(whole->view().begin(), whole->view().end());
  cut.pop_back();
  EXPECT_FALSE(check_content(cut));
  cut.resize(3);
  EXPECT_FALSE(check_content(cut));
  const auto large = check_content(
      credential_of({{CredentialField::kHeaderName, "A"},
                     {CredentialField::kHeaderValue, std::string(wire::kCredentialMax, 'x')}})
          ->view());
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace sluice::vault
