// The figures by which calls are evaluated: a seeded run of many calls, good ones and bad ones of
// every kind, each decided by an oracle of its own (call_oracle.h) before the relay sees it. What
// reached whom is compared at once, what the audit log says of each at the end.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/record_json.h"
#include "base/annotate.h"
#include "packet/audit_reader.h"
#include "packet/evaluation_kinds.h"
#include "packet/memory_search.h"

namespace rig {
namespace {

namespace audit = sluice::audit;
using Json = nlohmann::json;

#if defined(SLUICE_ASAN) || defined(SLUICE_TSAN)
constexpr uint64_t kCalls = 4'000;
#else
constexpr uint64_t kCalls = 100'000;
#endif
constexpr unsigned kPerCaller = 6;  // in a round; eight rounds stay below the limit of denials
constexpr uint64_t kRoundMs = 15;
constexpr uint64_t kRefillMs = 7'000;    // of the slow edge's rate
constexpr unsigned kSpecialEvery = 150;  // rounds
constexpr unsigned kTraced = 20;         // calls looked up by their trace id

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == 0 ? otherwise : std::strtoull(text, nullptr, 0);
}

std::string hex(const Buf& bytes) {
  std::string out;
  for (const uint8_t b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

std::string text_of(const Buf& bytes) {
  return {bytes.begin(), bytes.end()};
}

struct Figures {
  uint64_t calls = 0, allowed = 0;
  uint64_t false_allows = 0, false_denials = 0, other_reasons = 0;
  uint64_t replays = 0, missed_replays = 0;
  uint64_t records = 0, missing_fields = 0;
  std::map<uint16_t, uint64_t> reasons;  // that were given
  uint64_t redaction_failures = 0;
  std::vector<double> trace_ms;
};

class Evaluation : public EvaluationKinds {
 protected:
  void round();
  void special();
  void stale();
  void unaudited();
  void without_credentials();
  void full();
  void limited();
  void outside_window();
  void circuit_open();
  void asked(bool approved);
  sluice::fabric::Edge& edge_of(const Line& l) { return r.arena->edges()[l.label & 0xffffff]; }
  // `pause_ms`: until those that were let through go on.
  void finish(std::vector<Attempt>& calls, Moment moment, uint64_t pause_ms = 0);
  void check_log();
  void look_for_payload();
  void time_traces();
  void report(double seconds, uint64_t seed) const;
  // Made where it is needed: the test keeps no copy.
  static Buf payload() {
    Buf out;
    for (const char c : std::string("7c8b9a96968c909b9c")) out.push_back(static_cast<uint8_t>(c));
    for (unsigned i = 0; i < 64; ++i) out.push_back(static_cast<uint8_t>(i * 37 + 11));
    return out;
  }

  // What the audit log has to say of a call: of each time that it was tried.
  struct Told {
    std::vector<uint16_t> reasons;
    std::string trace, subject, object;
    uint64_t issued = 0, counter = 0;
    uint16_t service = 0;
    unsigned closed = 0;
  };
  Told& told_of(const Attempt& a);
  Figures f;
  std::map<std::string, Told> told_;  // by caller and trace id
  std::vector<std::string> let_through_;
  unsigned rounds_ = 0;
};

const char* name_of(uint16_t reason) {
  for (const Decision& d : kDecisions) {
    if (d.number == reason) return d.name;
  }
  return "unknown";
}

std::string address_text(uint64_t address) {
  return sluice::to_string(sluice::VirtualAddress::from_u64(address));
}

// What became of a call against what should have; empty if that is the same.
std::string difference(const Attempt& a) {
  std::string got;
  for (const uint16_t reason : a.got) got += std::string(" ") + name_of(reason);
  const std::string expected = a.expected == 2 ? "" : std::string(" ") + name_of(a.expected);
  if (got == expected && a.elsewhere == 0) return {};
  return fmt::format(
      "a call of {} should be{}, was{}, and arrived {} times elsewhere; its envelope: {}",
      a.line->caller->name, expected, got, a.elsewhere, hex(a.bytes));
}

Evaluation::Told& Evaluation::told_of(const Attempt& a) {
  return told_[address_text(a.line->caller->welcome.address) + hex(a.trace()) +
               std::to_string(a.message_counter())];
}

void Evaluation::finish(std::vector<Attempt>& calls, Moment moment, uint64_t pause_ms) {
  run(calls, moment);
  r.clock.advance_ms(pause_ms);
  std::vector<Attempt*> open;
  for (Attempt& a : calls) {
    ++f.calls;
    f.replays += a.replay ? 1 : 0;
    const bool forwarded = std::count(a.got.begin(), a.got.end(), 0) != 0 || a.elsewhere != 0;
    if (a.expected == 0) {
      ++f.allowed;
      f.false_denials += a.got == std::vector<uint16_t>{0} ? 0 : 1;
      open.push_back(&a);
    } else {
      f.missed_replays += forwarded && a.replay ? 1 : 0;
      // Who names a label that is not its own hears nothing.
      const std::vector<uint16_t> answer =
          a.expected == 2 ? std::vector<uint16_t>{} : std::vector<uint16_t>{a.expected};
      f.other_reasons += !forwarded && a.got != answer ? 1 : 0;
    }
    if (const std::string wrong = difference(a); !wrong.empty()) ADD_FAILURE() << wrong;
    f.false_allows += a.elsewhere + (a.expected != 0 && forwarded ? 1 : 0);
    for (const uint16_t reason : a.got) ++f.reasons[reason];
    const Line& l = *a.line;
    Told& t = told_of(a);
    t.reasons.push_back(a.expected);
    t.trace = hex(a.trace());
    t.subject = address_text(l.caller->welcome.address);
    t.object = address_text(l.callee->welcome.address);
    t.issued = oracle::get_le<uint64_t>(a.bytes, 48);
    t.counter = a.message_counter();
    t.service = oracle::get_le<uint16_t>(a.bytes, 82);
    if (a.expected == 0) let_through_.push_back(t.trace);
  }
  // What was falsely denied is not there to go on.
  std::erase_if(open, [](const Attempt* a) { return a->got != std::vector<uint16_t>{0}; });
  live(open, payload());
  EXPECT_TRUE(wait_for_ends(ended)) << "calls that both sides closed do not end";
  remember(open);
  r.clock.advance_ms(kRoundMs);
}

void Evaluation::round() {
  renew_sessions();
  r.poll_control();
  std::vector<Attempt> calls;
  std::set<std::pair<const Agent*, uint64_t>> ids;
  for (Line* l : busy) {
    for (unsigned i = 0; i < kPerCaller; ++i) {
      Attempt a = any(*l);
      if (!ids.insert({l->caller, a.frame_id}).second) continue;
      calls.push_back(std::move(a));
    }
  }
  finish(calls, {});
  if (++rounds_ % kSpecialEvery == 1) special();
}

void Evaluation::special() {
  stale();
  unaudited();
  without_credentials();
  full();
  limited();
  r.poll_control();
  outside_window();
  circuit_open();
  asked(true);
  asked(false);
}

void Evaluation::stale() {
  r.poll_control();
  r.clock.advance_ms(5'000);
  std::vector<Attempt> calls;
  for (Line* l : busy) sign(calls.emplace_back(good(*l)));
  finish(calls, {.stale = true});
  r.poll_control();
}

void Evaluation::without_credentials() {
  r.poll_control();
  std::vector<Attempt> calls;
  for (Line* l : busy) sign(calls.emplace_back(good(*l)));
  const auto set_all = [&](uint32_t to) {
    for (auto& agent : r.arena->agent_credentials()) {
      for (auto& protocol : agent.of) protocol.store(to);
    }
  };
  set_all(sluice::fabric::kCredentialUnavailable);
  finish(calls, {.credential = false});
  set_all(sluice::fabric::kNoCredential);
}

void Evaluation::unaudited() {
  r.poll_control();
  r.arena->relay().audited.store(0);
  std::vector<Attempt> calls;
  for (Line* l : busy) sign(calls.emplace_back(good(*l)));
  finish(calls, {.audited = false});
  r.clock.advance_ms(1'000);
  r.poll_control();
}

// One caller's whole table, and two more. Only where none of its places still rests is it full no
// sooner than that: a call looks at eight of them.
void Evaluation::full() {
  r.poll_control();
  const uint32_t index =
      r.control->trust().by_identity(busy.front()->caller->peer.identity())->index;
  const auto rests = [&] {
    const uint32_t page = r.arena->agents()[index].call_page.load();
    if (page == sluice::fabric::kNone) return false;  // given back, since nothing was in it
    const auto table = r.arena->calls(page);
    for (uint32_t i = 0; i < table.slots(); ++i) {
      if (table.at(i).state.load() != uint32_t(sluice::fabric::CallState::kFree)) return true;
    }
    return false;
  };
  for (int i = 0; i < 100'000 && rests(); ++i) r.poll_workers();
  ASSERT_FALSE(rests());
  std::vector<Attempt> calls;
  for (unsigned i = 0; i < kRoom + 2; ++i) sign(calls.emplace_back(good(*busy.front())));
  finish(calls, {});
}

// The second one finds nothing left of the edge's rate; the first lives once there is some again.
void Evaluation::limited() {
  r.clock.advance_ms(kRefillMs);
  r.poll_control();
  std::vector<Attempt> calls;
  for (const bool left : {true, false}) {
    Attempt& a = calls.emplace_back(good(line("slow", "server1")));
    a.rate_left = left;
    sign(a);
  }
  // Of the quota there are two.
  for (const bool left : {true, true, false}) {
    Attempt& a = calls.emplace_back(good(line("metered", "server2")));
    a.quota_left = left;
    sign(a);
  }
  finish(calls, {}, kRefillMs);
}

void Evaluation::outside_window() {
  Line& l = line("timed", "server2");
  std::vector<Attempt> calls;
  sign(calls.emplace_back(good(l)));
  edge_of(l).window_until.store(0);
  finish(calls, {.in_window = false});
  edge_of(l).window_until.store(~uint64_t{0});
}

void Evaluation::circuit_open() {
  Line& l = line("failing", "server4");
  auto& circuit = edge_of(l).circuit;
  std::vector<Attempt> calls;
  sign(calls.emplace_back(good(l)));
  circuit.at = uint32_t(r.clock.ticks() >> sluice::fabric::kCircuitShift);
  circuit.state.store(uint8_t(sluice::fabric::CircuitState::kOpen));
  finish(calls, {.circuit_closed = false});
  circuit.state.store(uint8_t(sluice::fabric::CircuitState::kClosed));
}

// A second decision of the same call.
void Evaluation::asked(bool approved) {
  std::vector<Attempt> calls;
  sign(calls.emplace_back(good(line("checked", "server3"))));
  finish(calls, {.asks = true});
  Attempt& a = calls.front();
  r.poll_control();
  auto& approvals = r.control->approvals();
  ASSERT_EQ(approvals.waiting().size(), 1u);
  ASSERT_TRUE(approvals.decide(
      approvals.waiting().begin()->first,
      approved ? sluice::control::CallVerdict::kApproved : sluice::control::CallVerdict::kDenied));
  r.poll_control();
  settle();
  const auto arrived = collect();
  ASSERT_EQ(arrived.size(), 1u);
  const auto& [agent, frame] = arrived.front();
  EXPECT_EQ(frame.call_id, a.frame_id);
  Told& t = told_of(a);
  if (approved) {
    EXPECT_TRUE(frame.frame == 2 && agent == a.line->callee && frame.extension == a.bytes);
    t.reasons.push_back(0);
    ++f.allowed;
    let_through_.push_back(t.trace);
    oracle_of(*a.line->caller).approved();
    live({&a}, payload());
    EXPECT_TRUE(wait_for_ends(ended));
  } else {
    EXPECT_TRUE(frame.frame == 6 && agent == a.line->caller);
    ++f.reasons[oracle::get_le<uint16_t>(frame.extension, 16)];
    t.reasons.push_back(24);
    ended = counter(&sluice::fabric::WorkerCounters::calls_closed);
  }
}

// Every decision is in the log with all that it is about, every call's end beside it.
void Evaluation::check_log() {
  const uint64_t written = [&] {
    uint64_t n = 0;
    for (const auto& [key, t] : told_) n += t.reasons.size();
    return n;
  }();
  std::map<std::string, std::vector<Json>> by_call;
  const auto read = [&] {
    by_call.clear();
    f.records = 0;
    uint64_t index = 0, ends = 0;
    for (const audit::Record& rec : published_records(r.control->audit().folder())) {
      const auto kind = audit::header_of(rec).kind;
      ++index;
      if (kind != audit::Kind::kCall && kind != audit::Kind::kCallClosed) continue;
      Json j = audit::to_json(index - 1, rec);
      (kind == audit::Kind::kCall ? f.records : ends) += 1;
      by_call[j["subject"].get<std::string>() + j["trace"].get<std::string>() +
              std::to_string(j["call"].get<uint64_t>())]
          .push_back(std::move(j));
    }
    return f.records >= written && ends >= f.allowed;
  };
  const auto& status = [&] { return r.control->audit().writer().status(); };
  EXPECT_TRUE(r.poll_until([&] {
    return status().published.size >= written + f.allowed && read();
  })) << f.records
      << " of " << written << " decisions are in the log";
  for (const auto& [key, t] : told_) {
    std::multiset<std::string> expected, found;
    for (const uint16_t reason : t.reasons) expected.insert(name_of(reason));
    unsigned ends = 0;
    for (const Json& j : by_call[key]) {
      bool whole = j["trace"] == t.trace && j["subject"] == t.subject && j["call"] == t.counter &&
                   j["time_ms"].get<uint64_t>() != 0;
      if (j["kind"] == "call") {
        found.insert(j["decision"]);
        whole = whole && j["issued_ms"] == t.issued && j["service"] == t.service &&
                (j["object"] == t.object || j["decision"] == "no_edge");
      } else {
        ++ends;
        whole = whole && j["object"] == t.object && j["accepted"] == true;
      }
      f.missing_fields += whole ? 0 : 1;
    }
    f.missing_fields += found == expected ? 0 : 1;
    f.missing_fields += ends == expected.count("authorized") ? 0 : 1;
  }
  for (const auto& [key, list] : by_call) {
    for (const Json& j : list) {
      // Who may not know hears nothing: the log alone has it.
      if (j["kind"] == "call" && j["decision"] == "no_edge") ++f.reasons[2];
    }
  }
}

// Their frames were opened in the packets' memory; nothing else has what they said.
void Evaluation::look_for_payload() {
  const MemorySearch search(text_of(payload()));
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(r.config.relay.state_dir)) {
    if (!entry.is_regular_file() || !search.in_file(entry.path())) continue;
    ++f.redaction_failures;
    ADD_FAILURE() << "what two agents said to each other is in " << entry.path();
  }
  if (!MemorySearch::possible()) return;
  for (const std::string& place : search.look(r.plane->pool())) {
    ++f.redaction_failures;
    ADD_FAILURE() << "what two agents said to each other is in memory, at " << place;
  }
}

// From a trace id to the call's decision and its end, out of the log as it was published and
// signed.
void Evaluation::time_traces() {
  for (unsigned i = 0; i < kTraced; ++i) {
    const std::string& trace = let_through_[random() % let_through_.size()];
    Buf wanted;
    for (size_t at = 0; at < trace.size(); at += 2) {
      wanted.push_back(static_cast<uint8_t>(std::stoul(trace.substr(at, 2), nullptr, 16)));
    }
    const auto began = std::chrono::steady_clock::now();
    unsigned found = 0;
    for (const audit::Record& rec : published_records(r.control->audit().folder())) {
      const auto kind = audit::header_of(rec).kind;
      if (kind != audit::Kind::kCall && kind != audit::Kind::kCallClosed) continue;
      const Json j = std::equal(wanted.begin(), wanted.end(), rec.begin() + 32)
                         ? audit::to_json(0, rec)
                         : Json{{"trace", ""}};
      found += j["trace"] == trace ? 1 : 0;
    }
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    EXPECT_GE(found, 2u) << "a decision and an end";
    f.trace_ms.push_back(took.count());
  }
  std::sort(f.trace_ms.begin(), f.trace_ms.end());
}

void Evaluation::report(double seconds, uint64_t seed) const {
  std::string missing;
  for (const Decision& d : kDecisions) {
    if (!f.reasons.contains(d.number)) missing += std::string(" ") + d.name;
  }
  const auto produced = static_cast<double>(f.reasons.size());
  std::string out = fmt::format(
      "evaluation of {} calls, {} of them let through, in {:.0f} s; SLUICE_EVALUATION_SEED={}\n",
      f.calls, f.allowed, seconds, seed);
  const auto line = [&](const char* what, const std::string& value, const std::string& note) {
    out += fmt::format("  {:<22} {:>10}   {}\n", what, value, note);
  };
  line("false allows", std::to_string(f.false_allows),
       fmt::format("of {} that had to be denied", f.calls - f.allowed));
  line("false denials", std::to_string(f.false_denials),
       fmt::format("of {}; denied for another reason than the right one: {}", f.allowed,
                   f.other_reasons));
  line("missed replays", std::to_string(f.missed_replays + repeated_packets_passed),
       fmt::format("of {} message ids and keys, and {} packets", f.replays, repeated_packets));
  line("missing trace fields", std::to_string(f.missing_fields),
       fmt::format("in {} decisions and {} ends in the audit log", f.records, f.allowed));
  line("policy coverage", fmt::format("{:.0f} %", 100 * produced / std::size(kDecisions)),
       fmt::format("{} decisions of {}{}{}", f.reasons.size(), std::size(kDecisions),
                   missing.empty() ? "" : "; not produced:", missing));
  line("redaction failures", std::to_string(f.redaction_failures),
       MemorySearch::possible() ? "in the log, the store and memory outside of packets"
                                : "in the log and the store");
  line("time to trace a call",
       f.trace_ms.empty() ? "-" : fmt::format("{:.0f} ms", f.trace_ms[f.trace_ms.size() / 2]),
       "from its trace id to its decision and its end, all of the log verified on the way");
  std::fputs(out.c_str(), stdout);
  if (const char* path = std::getenv("SLUICE_EVALUATION_REPORT"); path != nullptr && *path != 0) {
    std::ofstream(path) << out;
  }
}

TEST_F(Evaluation, OfMixedCalls) {
  (void)MemorySearch::possible();
  const uint64_t seed = from_environment("SLUICE_EVALUATION_SEED", std::random_device{}());
  const uint64_t calls = from_environment("SLUICE_EVALUATION_CALLS", kCalls);
  RecordProperty("seed", std::to_string(seed));
  random.seed(seed);
  const auto began = std::chrono::steady_clock::now();
  while (f.calls < calls && !HasFailure()) round();
  look_for_payload();
  check_log();
  time_traces();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  report(took.count(), seed);

  EXPECT_EQ(f.false_allows, 0u);
  EXPECT_EQ(f.false_denials, 0u);
  EXPECT_EQ(f.other_reasons, 0u);
  EXPECT_EQ(f.missed_replays, 0u);
  EXPECT_EQ(repeated_packets_passed, 0u);
  EXPECT_EQ(forged_accepts_passed, 0u) << "of " << forged_accepts;
  EXPECT_EQ(lost_frames, 0u) << "frames of calls that stand";
  EXPECT_EQ(f.missing_fields, 0u);
  EXPECT_EQ(f.redaction_failures, 0u);
  EXPECT_EQ(f.reasons.size(), std::size(kDecisions)) << "every decision has to be produced";
  EXPECT_GT(f.replays, f.calls / 20);
  EXPECT_GT(repeated_packets, 0u);
  r.check_balance();
}

// The search itself: finds what somebody holds, and where a packet has it.
TEST(MemorySearchTest, FindsWhatIsHeld) {
  if (!MemorySearch::possible()) GTEST_SKIP() << "this build keeps what was freed";
  Rig r;
  std::string text = "a-canary-that-";
  for (int i = 0; i < 40; ++i) text.push_back(static_cast<char>('A' + i % 23));
  const MemorySearch search(text);
  const size_t held = search.look(r.plane->pool()).size();
  EXPECT_GT(held, 0u);
  auto another = std::make_unique<std::string>(text);
  EXPECT_GT(search.look(r.plane->pool()).size(), held);
  another.reset();
  EXPECT_EQ(search.look(r.plane->pool()).size(), held);
}

}  // namespace
}  // namespace rig
