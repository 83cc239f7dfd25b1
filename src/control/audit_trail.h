// What the control plane puts into the audit log, and what ties the log to the store: every entry
// of the store's feed becomes one record, none twice; the log's checkpoints are kept in the store.
// So a store or a log that was put back to an earlier state is found at the next start.
// Control thread.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "audit/log.h"
#include "audit/writer.h"
#include "control/audit_forecast.h"
#include "control/config.h"
#include "control/handshake_outcome.h"
#include "control/revocation.h"
#include "control/store.h"
#include "control/trust_table.h"
#include "wire/ip.h"

namespace sluice::control {

struct SessionSeen {
  uint32_t agent = 0;
  wire::PathHeader path{};
  bool renewed = false;
};

class AuditTrail {
 public:
  struct Options {
    std::string folder;
    std::string origin;  // of a log that is new
    ByteArray<32> relay_id{};
    uint64_t epoch = 0;
    std::vector<audit::RecordRing*> workers;
    std::vector<unsigned> cores;  // where its thread may run; empty: as its maker
    audit::Retention retention;
    uint32_t alert_days = 14;
    WhenUnavailable when_unavailable = WhenUnavailable::kDeny;
    // Hears of each record that goes to the log, on the control thread: control's own at once,
    // workers' soon after they were taken out of their rings.
    std::function<void(const audit::Record&)> seen = {};
  };
  // Opens the log in that folder and starts its thread; what it refers to outlives it. kStore:
  // damaged, or not of this store's history.
  static Result<std::unique_ptr<AuditTrail>> open(const Clock& clock, TrustTable& trust,
                                                  Store& store, const OutcomeCounts& handshakes,
                                                  Store::Post post, const Snapshot& snapshot,
                                                  Options options);
  // Says in the log that the relay stopped, and in the store how the log ends.
  ~AuditTrail();

  // Reads what is new in the feed; counts handshakes, and looks how long the disk lasts, once a
  // minute. True while there is more.
  bool poll();

  // The store was read again, and may hold what nobody was told of.
  void look_again() { commits_seen_ = UINT64_MAX; }
  void session(const SessionSeen& seen);
  void act(audit::Act act, std::string_view actor);
  void approval(bool approved, std::string_view actor, VirtualAddress caller, VirtualAddress callee,
                const wire::Envelope& envelope);
  void proof(const Cut& cut, const RevocationAnswer& answer);

  audit::Writer& writer() { return *writer_; }
  const audit::Writer& writer() const { return *writer_; }
  // Workers' records that were not shown to `seen`, for more came at once than it is given.
  uint64_t unseen() const { return calls_.lost(); }
  const std::string& folder() const { return options_.folder; }
  const Options& options() const { return options_; }
  // What workers are told of new calls (fabric/records.h).
  uint32_t calls() const;
  Forecast forecast() const { return forecast_.at(writer_->status(), seconds()); }
  // That the disk will be full soon; empty: it will not.
  const std::string& alert() const { return forecast_.alert(); }

 private:
  AuditTrail(const Clock& clock, TrustTable& trust, Store& store, const OutcomeCounts& handshakes,
             Options options);
  static constexpr size_t kCallsSeen = 2048;
  bool show_calls();
  bool resume();
  void read_rest();
  bool take(const std::vector<AuditFeedEntry>& entries);
  void count_handshakes();
  void look_at_disk();
  double seconds() const;  // since the start
  void published(const audit::Checkpoint& checkpoint);
  void put(const audit::Record& record);
  VirtualAddress address_of(Bytes identity) const;

  const Clock& clock_;
  TrustTable& trust_;
  Store& store_;
  const OutcomeCounts& handshakes_;
  const Options options_;
  audit::RecordRing calls_{kCallsSeen};  // from the log's thread
  std::unique_ptr<audit::Writer> writer_;
  uint64_t after_ = 0;         // the feed's last entry that is in the ring or in the log
  uint64_t commits_seen_ = 0;  // of the store, when it was last read to its end
  uint64_t reopened_ = 0;
  bool reading_ = false;
  // What was posted may come after this is gone.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  uint64_t try_again_at_ = 0;  // ticks
  OutcomeCounts counted_{};
  uint64_t counted_at_ = 0;  // ticks
  uint64_t counted_ms_ = 0;
  uint64_t opened_at_ = 0;  // ticks
  uint64_t looked_at_ = 0;  // ticks
  AuditForecast forecast_;
  uint64_t kept_at_ = 0;  // ticks: when a checkpoint was last put into the store; 0: not yet
};

}  // namespace sluice::control
