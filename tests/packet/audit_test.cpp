// What the control plane puts into the audit log, and when it does not start: a real store, a real
// log, a restart where the two no longer fit.
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "control/store_feed.h"
#include "packet/audit_reader.h"
#include "packet/ceremony_fixture.h"
#include "support/full_disk.h"

namespace rig {
namespace {

namespace audit = sluice::audit;
using sluice::load_le;
using sluice::read_file;
namespace fs = std::filesystem;

class Audit : public Ceremony {
 protected:
  std::string folder() const { return r.control->audit().folder(); }

  std::vector<audit::Record> log(const std::string& at) { return published_records(at); }
  // Until a record fits.
  std::optional<audit::Record> wait_for(
      const std::function<bool(const audit::Header&, const audit::Record&)>& fits) {
    std::optional<audit::Record> out;
    uint64_t seen = 0;
    (void)r.poll_until([&] {
      const uint64_t size = r.control->audit().writer().status().published.size;
      if (size == seen) return false;
      seen = size;
      for (const auto& rec : log(folder())) {
        if (fits(audit::header_of(rec), rec)) out = rec;
      }
      return out.has_value();
    });
    return out;
  }
  std::vector<uint64_t> changes(const std::string& at) {
    std::vector<uint64_t> out;
    for (const auto& rec : log(at)) {
      if (audit::header_of(rec).kind == audit::Kind::kChange) {
        out.push_back(audit::sequence_of(rec));
      }
    }
    return out;
  }
  std::vector<uint64_t> feed() {
    std::vector<uint64_t> out;
    const auto all = r.control->store().audit_feed_now(0, 10'000);
    EXPECT_TRUE(all);
    for (const auto& e : *all) {
      out.push_back(e.entry.sequence);
    }
    return out;
  }
  void pair() {
    const pb::Signed asked = sign(alpha, request(alpha, beta));
    ASSERT_EQ(submit(alpha, asked), "ok");
    ASSERT_EQ(submit(beta, sign(beta, grant(asked, beta))), "ok");
  }
  std::string why_not() {
    try {
      r.start();
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "";
  }
};

TEST_F(Audit, SessionsAndPairsAreRecordedByAddress) {
  pair();
  const auto made = wait_for([](const audit::Header& h, const audit::Record&) {
    return h.kind == audit::Kind::kChange && h.detail == 13;
  });
  ASSERT_TRUE(made);
  const audit::Header h = audit::header_of(*made);
  EXPECT_EQ(h.subject.to_u64(), alpha.welcome.address);
  EXPECT_EQ(h.object.to_u64(), beta.welcome.address);
  EXPECT_EQ(Buf(made->begin() + 32, made->begin() + 64),
            Buf(alpha.peer.identity().begin(), alpha.peer.identity().end()));
  const auto session = wait_for([&](const audit::Header& x, const audit::Record&) {
    return x.kind == audit::Kind::kSession && x.subject.to_u64() == alpha.welcome.address;
  });
  ASSERT_TRUE(session);
  EXPECT_EQ(load_le<uint16_t>(session->data() + 80), alpha.flow.src_port);
  // An end that the feed names by a digest alone.
  bool revoked = false;
  auto cut = control::cut_of(*r.control->trust().resolve("beta"), "test");
  r.control->revocations().revoke(std::move(cut), [&](const auto&) { revoked = true; });
  ASSERT_TRUE(r.poll_until([&] { return revoked; }));
  const auto ended = wait_for([](const audit::Header& x, const audit::Record&) {
    return x.kind == audit::Kind::kChange && x.detail == 15;
  });
  ASSERT_TRUE(ended);
  EXPECT_EQ(audit::header_of(*ended).subject.to_u64(), alpha.welcome.address);
  EXPECT_EQ(audit::header_of(*ended).object.to_u64(), beta.welcome.address);
  const auto proof = wait_for(
      [](const audit::Header& x, const audit::Record&) { return x.kind == audit::Kind::kProof; });
  ASSERT_TRUE(proof);
  EXPECT_EQ(audit::header_of(*proof).detail, 0u);
  EXPECT_EQ(audit::header_of(*proof).subject.to_u64(), beta.welcome.address);
}

TEST_F(Audit, EveryChangeIsRecordedOnceThroughRestartsAndAFullDisk) {
  pair();
  for (int round = 0; round < 3; ++round) {
    const std::string at = folder();
    r.control.reset();
    EXPECT_EQ(why_not(), "");
    ASSERT_TRUE(r.poll_until([&] { return changes(at) == feed(); })) << round;
  }
  // The store's thread and the log's meet the same full disk; what the store then takes, the log
  // records.
  {
    const FullDisk full;
    r.control->enrolment().add_tenant("late", 99, "test", [](auto) {});
    r.control->audit().act(audit::Act::kBackup, "uid 0");
    ASSERT_TRUE(r.poll_until([&] { return !r.control->audit().writer().available(); }));
  }
  bool added = false;
  r.control->enrolment().add_tenant("later", 98, "test", [&](auto) { added = true; });
  ASSERT_TRUE(r.poll_until([&] { return added; }));
  const std::string at = folder();
  ASSERT_TRUE(r.poll_until(
      [&] { return r.control->audit().writer().available() && changes(at) == feed(); }));
}

TEST_F(Audit, AStoreThatWasPutBackIsNotStartedOn) {
  const std::string store = r.config.relay.state_dir + "/sluice.db";
  r.control.reset();
  fs::copy_file(store, store + ".early");
  r.start();
  r.poll(2);
  bool added = false;
  r.control->enrolment().add_tenant("acme", 99, "test", [&](auto) { added = true; });
  ASSERT_TRUE(r.poll_until([&] { return added; }));
  ASSERT_TRUE(r.poll_until([&] { return changes(folder()) == feed(); }));
  r.control.reset();
  fs::copy_file(store, store + ".late");
  fs::copy_file(store + ".early", store, fs::copy_options::overwrite_existing);
  EXPECT_NE(why_not().find("put back to an earlier state"), std::string::npos) << why_not();
  // Without its log it does not start either, and makes none in its place.
  const std::string log_folder = r.config.relay.state_dir + "/audit";
  fs::copy_file(store + ".late", store, fs::copy_options::overwrite_existing);
  fs::rename(log_folder, log_folder + ".kept");
  EXPECT_NE(why_not().find("there was one of"), std::string::npos) << why_not();
  EXPECT_FALSE(fs::exists(log_folder));
  fs::rename(log_folder + ".kept", log_folder);
  EXPECT_EQ(why_not(), "");
}

TEST_F(Audit, HandshakesThatLetNobodyInAreCountedOnceAMinute) {
  auto stranger = r.make_agent(77, "stranger", 0);
  for (int i = 0; i < 3; ++i) {
    r.inject(0, r.hello_frame(*stranger));
    r.poll(5);
  }
  ASSERT_TRUE(r.poll_until([&] {
    return r.control->handshakes().counts()[size_t(control::HandshakeOutcome::kUnknownIdentity)] ==
           3;
  }));
  r.clock.advance_ms(61'000);
  const auto counted = wait_for([](const audit::Header& h, const audit::Record&) {
    return h.kind == audit::Kind::kHandshakes &&
           h.detail == audit::handshake_number("unknown_identity");
  });
  ASSERT_TRUE(counted);
  EXPECT_EQ(load_le<uint64_t>(counted->data() + 40), 3u);
}

// Every kind of change that the feed knows has its number in the log.
TEST(AuditNumbers, NoChangeIsUnknownToTheLog) {
  const control::Change all[] = {control::AgentRow{},
                                 control::AgentUpdate{},
                                 control::RevocationRow{},
                                 control::TenantRow{},
                                 control::TokenRow{},
                                 control::TokenUse{},
                                 control::TokenEnd{},
                                 control::RequestRow{},
                                 control::RequestEnd{},
                                 control::ConsentRow{},
                                 control::PairRow{},
                                 control::PairEnd{},
                                 control::PolicyRow{},
                                 control::RelayKeyRow{},
                                 control::RelayKeyRetired{},
                                 control::RotationRow{},
                                 control::AuditCheckpointRow{},
                                 control::AuditForgotten{},
                                 control::AuditKnown{},
                                 control::ChangesForgotten{},
                                 control::ScopeNameRow{},
                                 control::QuotaUseRow{},
                                 control::VaultMasterSet{},
                                 control::VaultKeyAdded{},
                                 control::VaultKeyWrapped{},
                                 control::VaultKeyRemoved{},
                                 control::CredentialRow{},
                                 control::CredentialSealed{},
                                 control::CredentialEnd{},
                                 control::BindingRow{},
                                 control::BindingSealed{},
                                 control::BindingEnd{}};
  static_assert(std::size(all) == std::variant_size_v<control::Change>);
  for (size_t i = 0; i < std::size(all); ++i) {
    ASSERT_EQ(all[i].index(), i);
    const auto name = control::feed_name(all[i]);
    if (name.kind.empty()) continue;
    const auto rec = audit::record_of(audit::Change{.sequence = 1, .kind = name.kind});
    EXPECT_NE(audit::header_of(rec).detail, 0u) << name.kind;
  }
}

}  // namespace
}  // namespace rig
