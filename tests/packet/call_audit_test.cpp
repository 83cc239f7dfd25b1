// New calls while the audit log cannot be written, or its ring is full: denied, or let through and
// counted, as the configuration says. With a real log, whose folder is moved away.
#include <filesystem>

#include <nlohmann/json.hpp>

#include "audit/record_json.h"
#include "packet/audit_reader.h"
#include "packet/call_fixture.h"

namespace rig {
namespace {

namespace audit = sluice::audit;
namespace fabric = sluice::fabric;

class CallAudit : public Calls {
 protected:
  explicit CallAudit(sluice::control::WhenUnavailable choice) {
    r.config.audit.when_unavailable = choice;
  }
  audit::Writer& writer() { return r.control->audit().writer(); }
  void told(uint32_t what) {
    ASSERT_TRUE(r.poll_until([&] { return r.arena->relay().audited.load() == what; }));
  }
  void take_the_log_away() {
    std::filesystem::rename(folder(), folder() + ".away");
    r.control->audit().act(audit::Act::kReload, "config");
    ASSERT_TRUE(r.poll_until([&] { return !writer().available(); }));
  }
  void put_it_back() {
    std::filesystem::rename(folder() + ".away", folder());
    ASSERT_TRUE(r.poll_until([&] { return writer().available(); }));
  }
  // Until it goes, nothing is taken out of rings, and there is no room in the worker's.
  class Full {
   public:
    explicit Full(CallAudit& of) : release_(std::make_shared<std::atomic<bool>>(false)) {
      std::atomic<bool> held{false};
      of.writer().beside([&held, release = release_]() -> std::function<void()> {
        held = true;
        while (!*release) std::this_thread::yield();
        return [] {};
      });
      while (!held) std::this_thread::yield();
      auto& ring = *of.r.plane->mailboxes().of(0).audit;
      while (ring.has_room(1)) (void)ring.put(audit::make_record({.kind = audit::Kind::kAct}));
      // On a slow machine that took longer than calls go on without control.
      of.r.poll_control();
    }
    ~Full() { *release_ = true; }

   private:
    std::shared_ptr<std::atomic<bool>> release_;
  };
  // Of that kind in the log.
  std::vector<nlohmann::json> recorded(audit::Kind kind) {
    std::vector<nlohmann::json> out;
    for (const auto& rec : published_records(folder())) {
      if (audit::header_of(rec).kind == kind) out.push_back(audit::to_json(0, rec));
    }
    return out;
  }
  uint64_t lost() { return r.plane->mailboxes().of(0).audit->lost(); }
  // A CALL_DENY, and nothing at beta.
  void is_denied() {
    const auto before = r.counters();
    open_good();
    const auto at_alpha = arrived(*alpha);
    EXPECT_TRUE(r.receive(*beta).empty());
    ASSERT_EQ(at_alpha.size(), 1u);
    EXPECT_EQ(at_alpha[0].frame, 6);
    EXPECT_EQ(oracle::get_le<uint16_t>(at_alpha[0].extension, 16), 21u);
    const auto after = moved(before, r.counters());
    EXPECT_EQ(after.at("call.audit_unavailable"), 1u);
    EXPECT_FALSE(after.contains("call.authorized"));
  }
  void passes() {
    const auto before = r.counters();
    open_good();
    EXPECT_EQ(arrived(*beta).size(), 1u);
    EXPECT_TRUE(r.receive(*alpha).empty());
    const auto after = moved(before, r.counters());
    ASSERT_TRUE(after.contains("call.authorized")) << nlohmann::json(after);
    EXPECT_EQ(after.at("call.authorized"), 1u);
    EXPECT_FALSE(after.contains("call.audit_unavailable"));
  }
  std::string folder() { return r.control->audit().folder(); }
};

class DeniedUnrecorded : public CallAudit {
 protected:
  DeniedUnrecorded() : CallAudit(sluice::control::WhenUnavailable::kDeny) {}
};
class CountedUnrecorded : public CallAudit {
 protected:
  CountedUnrecorded() : CallAudit(sluice::control::WhenUnavailable::kCount) {}
};

TEST_F(DeniedUnrecorded, WhileTheLogIsAway) {
  passes();
  take_the_log_away();
  told(fabric::kCallsDenied);
  is_denied();
  put_it_back();
  told(fabric::kCallsRecorded);
  passes();
  EXPECT_EQ(lost(), 0u);
}

TEST_F(DeniedUnrecorded, WhileThereIsNoRoom) {
  {
    const Full full(*this);
    is_denied();
    EXPECT_EQ(lost(), 0u) << "what was not let through is not missing";
  }
  ASSERT_TRUE(r.poll_until([&] { return r.plane->mailboxes().of(0).audit->has_room(8192); }));
  passes();
}

TEST_F(CountedUnrecorded, WhileTheLogIsAway) {
  told(fabric::kCallsCounted);
  take_the_log_away();
  r.clock.advance_ms(1000);
  r.poll_control();
  told(fabric::kCallsCounted);
  passes();
  passes();
  put_it_back();
  // Both were waiting: nothing is missing.
  ASSERT_TRUE(r.poll_until([&] { return recorded(audit::Kind::kCall).size() == 2; }));
  EXPECT_EQ(lost(), 0u);
}

TEST_F(CountedUnrecorded, WhileThereIsNoRoom) {
  told(fabric::kCallsCounted);
  {
    const Full full(*this);
    for (int i = 0; i < 3; ++i) passes();
    EXPECT_EQ(lost(), 3u);
  }
  // And the log says how many are missing.
  ASSERT_TRUE(r.poll_until([&] { return !recorded(audit::Kind::kGap).empty(); }));
  const auto gaps = recorded(audit::Kind::kGap);
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_EQ(gaps[0]["reason"], "ring_full");
  EXPECT_EQ(gaps[0]["count"], 3u);
  EXPECT_TRUE(recorded(audit::Kind::kCall).empty());
  passes();
  ASSERT_TRUE(r.poll_until([&] { return recorded(audit::Kind::kCall).size() == 1; }));
}

}  // namespace
}  // namespace rig
