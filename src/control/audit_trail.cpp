#include "control/audit_trail.h"

#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "base/log.h"
#include "control/store_feed.h"

namespace sluice::control {
namespace {

constexpr uint32_t kFeedAtOnce = 128;  // what one round of the control thread hashes at most
constexpr uint64_t kHandshakesMs = 60'000;
constexpr uint64_t kCheckpointMs = 60'000;
constexpr uint64_t kDiskMs = 60'000;
constexpr uint64_t kRetryMs = 1000;
constexpr uint64_t kReadRestMs = 2000;
constexpr uint64_t kPaceMs = 2;  // between two of them: others wait for the store, too

Result<void> check_store(Store& store, const std::string& folder, const audit::LastChange& last) {
  if (last.sequence == 0) return {};
  const auto entries = store.audit_feed_now(last.sequence - 1, 1);
  if (!entries) return tl::unexpected(entries.error());
  const FeedEntry* next = entries->empty() ? nullptr : &entries->front().entry;
  const bool there = next != nullptr && next->sequence == last.sequence;
  if (there && audit::digest_of(audit_change(*next)) == last.digest) return {};
  const auto mark = next == nullptr ? std::nullopt : forgotten_by(*next);
  if (mark && mark->kept < last.sequence && mark->forgotten >= last.sequence) return {};
  if (there) {
    return fail(
        ErrorCode::kStore,
        fmt::format("change {} of the store is not the one that the audit log in {} "
                    "recorded: the two are not of one history; put back the store that "
                    "belongs to the log, or give the log up with sluicectl audit begin-anew",
                    last.sequence, folder));
  }
  return fail(
      ErrorCode::kStore,
      fmt::format("the store was put back to an earlier state: the audit log in {} has recorded "
                  "changes up to {}, which the store does not know, perhaps revocations; restore "
                  "a later backup, or say with sluicectl restore --forget-changes (and --audit, "
                  "if it is not audit in the state directory) that they are to be forgotten",
                  folder, last.sequence));
}

}  // namespace

AuditTrail::AuditTrail(const Clock& clock, TrustTable& trust, Store& store,
                       const OutcomeCounts& handshakes, Options options)
    : clock_(clock),
      trust_(trust),
      store_(store),
      handshakes_(handshakes),
      options_(std::move(options)),
      opened_at_(clock.ticks()),
      looked_at_(opened_at_),
      forecast_(options_.retention, options_.alert_days) {}

Result<std::unique_ptr<AuditTrail>> AuditTrail::open(const Clock& clock, TrustTable& trust,
                                                     Store& store, const OutcomeCounts& handshakes,
                                                     Store::Post post, const Snapshot& snapshot,
                                                     Options options) {
  audit::Expected expected;
  if (snapshot.audit.at_ms != 0) {
    expected.kept = audit::Expected::Kept{snapshot.audit.size, snapshot.audit.root};
  }
  expected.judge = [&](const audit::LastChange& last) {
    return check_store(store, options.folder, last);
  };
  auto log = audit::Log::open(options.folder, options.origin, expected);
  if (!log) return tl::unexpected(log.error());
  std::unique_ptr<AuditTrail> out(
      new AuditTrail(clock, trust, store, handshakes, std::move(options)));
  out->after_ = (*log)->last_change().sequence;
  out->counted_at_ = clock.ticks();
  out->counted_ms_ = clock.unix_ms();
  out->commits_seen_ = UINT64_MAX;
  out->writer_ = std::make_unique<audit::Writer>(
      clock, std::move(*log),
      audit::WriterOptions{.folder = out->options_.folder,
                           .workers = out->options_.workers,
                           .shown = &out->calls_,
                           .cores = out->options_.cores,
                           .retention = out->options_.retention,
                           .known_size = snapshot.audit.at_ms != 0 ? snapshot.audit.size : 0,
                           .post = std::move(post),
                           .published = [trail = out.get(), alive = std::weak_ptr(out->alive_)](
                                            const audit::Checkpoint& c) {
                             if (!alive.expired()) trail->published(c);
                           }});
  out->put(audit::opened_record(clock.unix_ms(), out->options_.relay_id, out->options_.epoch));
  return out;
}

AuditTrail::~AuditTrail() {
  if (!writer_) return;
  count_handshakes();
  read_rest();
  const auto last = writer_->stop();
  if (last.size == 0) return;
  const auto kept = store_.apply_now(
      {"relay", clock_.unix_ms(), {AuditCheckpointRow{last.size, last.root, clock_.unix_ms()}}});
  if (!kept) spdlog::warn("the audit log's end is not in the store: {}", kept.error().message);
}

void AuditTrail::put(const audit::Record& record) {
  (void)writer_->control().put(record);  // what does not fit is counted, and said in the log
  if (options_.seen) options_.seen(record);
}

// Some a round: what is more is shown in the next ones.
bool AuditTrail::show_calls() {
  constexpr size_t kAtOnce = 64;
  audit::Record some[kAtOnce];
  const size_t n = calls_.take(some);
  for (size_t i = 0; i < n && options_.seen; ++i) options_.seen(some[i]);
  return n != 0;
}

bool AuditTrail::poll() {
  const bool shown = show_calls();
  if (clock_.ticks() - counted_at_ >= clock_.ticks_from_ms(kHandshakesMs)) count_handshakes();
  if (clock_.ticks() - looked_at_ >= clock_.ticks_from_ms(kDiskMs)) look_at_disk();
  audit::RecordRing& ring = writer_->control();
  if (!resume() || reading_) return shown;
  const uint64_t commits = store_.commits();
  if (commits == commits_seen_ || clock_.ticks() < try_again_at_) return shown;
  if (!ring.has_room(2 * kFeedAtOnce)) return shown;
  reading_ = true;
  store_.read_audit_feed(after_, kFeedAtOnce,
                         [this, commits, asked = reopened_, alive = std::weak_ptr(alive_)](
                             const Result<std::vector<AuditFeedEntry>>& r) {
                           // An answer from before the log was opened again is of another place in
                           // the feed.
                           if (alive.expired() || asked != reopened_) return;
                           reading_ = false;
                           try_again_at_ = clock_.ticks() + clock_.ticks_from_ms(kPaceMs);
                           if (!r) {
                             try_again_at_ = clock_.ticks() + clock_.ticks_from_ms(kRetryMs);
                             return;
                           }
                           if (take(*r) && r->size() < kFeedAtOnce) commits_seen_ = commits;
                         });
  return true;
}

// Where the log was opened again the feed goes on behind its end. False: the ring is full.
bool AuditTrail::resume() {
  const uint64_t now = writer_->reopened();
  if (now == reopened_) return true;
  if (!writer_->control().has_room(1)) return false;
  reopened_ = now;
  (void)writer_->control().put(audit::Writer::resumption(now));  // nothing that happened
  after_ = writer_->last_change();
  commits_seen_ = UINT64_MAX;
  reading_ = false;
  return true;
}

// At a stop, for a while: what is still missing then is read at the next start.
void AuditTrail::read_rest() {
  const uint64_t until = clock_.ticks() + clock_.ticks_from_ms(kReadRestMs);
  while (writer_->available() && clock_.ticks() < until) {
    bool put_all = resume();
    if (put_all) {
      const auto entries = store_.audit_feed_now(after_, kFeedAtOnce);
      if (!entries || entries->empty()) return;
      put_all = take(*entries);
    }
    if (!put_all) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// False: the ring is full, and the rest has to be read again.
bool AuditTrail::take(const std::vector<AuditFeedEntry>& entries) {
  for (const AuditFeedEntry& e : entries) {
    if (!writer_->control().has_room(1)) return false;
    audit::Change change = audit_change(e.entry);
    const bool named = !all_zero(e.from) || !all_zero(e.to);
    change.subject_address = address_of(named ? Bytes(e.from) : Bytes(e.entry.subject));
    change.object_address = address_of(named ? Bytes(e.to) : Bytes(e.entry.object));
    put(audit::record_of(change));
    after_ = e.entry.sequence;
  }
  return true;
}

VirtualAddress AuditTrail::address_of(Bytes identity) const {
  if (identity.size() != 32) return {};
  const auto key = sluice::take<32>(identity.data());
  const AgentEntry* agent = trust_.by_identity(key);
  if (agent == nullptr) agent = trust_.successor_of(key);
  return agent == nullptr ? VirtualAddress{} : agent->address;
}

void AuditTrail::count_handshakes() {
  const OutcomeCounts& counts = handshakes_;
  counted_at_ = clock_.ticks();
  const uint64_t now_ms = clock_.unix_ms();
  for (size_t i = 0; i < counts.size(); ++i) {
    const uint8_t number = audit::handshake_number(kOutcomeTable[i].name);
    if (number == 0 || counts[i] == counted_[i]) continue;
    put(audit::handshakes_record(number, now_ms, counts[i] - counted_[i], counted_ms_));
  }
  counted_ = counts;
  counted_ms_ = now_ms;
}

void AuditTrail::look_at_disk() {
  looked_at_ = clock_.ticks();
  const AuditForecast::News news = forecast_.look(writer_->status(), seconds());
  if (news == AuditForecast::News::kAlert) spdlog::warn("{}", forecast_.alert());
  if (news != AuditForecast::News::kOver) return;
  const Forecast now = forecast();
  spdlog::info("the audit log's disk is no longer about to be full: {}", now.text);
}

double AuditTrail::seconds() const {
  return clock_.us_from_ticks(clock_.ticks() - opened_at_) / 1e6;
}

uint32_t AuditTrail::calls() const {
  if (options_.when_unavailable == WhenUnavailable::kCount) return fabric::kCallsCounted;
  return writer_->available() ? fabric::kCallsRecorded : fabric::kCallsDenied;
}

void AuditTrail::session(const SessionSeen& seen) {
  const AgentEntry& agent = trust_.agent(seen.agent);
  put(audit::record_of(audit::Session{.time_ms = clock_.unix_ms(),
                                      .agent = agent.address,
                                      .identity = agent.identity,
                                      .remote_ip = seen.path.remote_ip(),
                                      .remote_port = seen.path.remote_port(),
                                      .nic_port = static_cast<uint8_t>(seen.path.port),
                                      .renewed = seen.renewed}));
}

void AuditTrail::act(audit::Act act, std::string_view actor) {
  put(audit::act_record(act, clock_.unix_ms(), actor));
}

void AuditTrail::approval(bool approved, std::string_view actor, VirtualAddress caller,
                          VirtualAddress callee, const wire::Envelope& e) {
  put(audit::approval_record(approved, clock_.unix_ms(), actor, caller, callee,
                             sluice::take<16>(e.trace), e.counter));
}

void AuditTrail::proof(const Cut& cut, const RevocationAnswer& answer) {
  put(audit::record_of(audit::Proof{
      .time_ms = clock_.unix_ms(),
      .state = static_cast<uint8_t>(answer.state),
      .actor = cut.actor,
      .agents = answer.agents,
      .pairs = answer.pairs,
      .cut_us = static_cast<uint64_t>(answer.cut_us),
      .sync_us = static_cast<uint64_t>(answer.sync_us),
      .ack_us = static_cast<uint64_t>(answer.ack_us),
      .agent = cut.agents.size() == 1 ? trust_.agent(cut.agents[0]).address : VirtualAddress{}}));
}

// Not each: it is a transaction.
void AuditTrail::published(const audit::Checkpoint& c) {
  const uint64_t now = clock_.ticks();
  if (kept_at_ != 0 && now - kept_at_ < clock_.ticks_from_ms(kCheckpointMs)) return;
  kept_at_ = now;
  store_.apply({"relay", clock_.unix_ms(), {AuditCheckpointRow{c.size, c.root, clock_.unix_ms()}}},
               [this, size = c.size, alive = std::weak_ptr(alive_)](const Result<WriteTimes>& r) {
                 if (r && !alive.expired()) writer_->known(size);
               });
}

}  // namespace sluice::control
