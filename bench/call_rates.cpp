#include "bench/call_rates.h"

#include <algorithm>

#include <rte_ring.h>

#include <fmt/format.h>

#include "audit/record.h"
#include "bench/measure.h"
#include "bench/own_core.h"
#include "bench/progress.h"
#include "dataplane/stages.h"

namespace sluice::bench {
namespace {

// Over calls that were made, in their random order, with everything in place: as many keys as the
// call path needs, so that they come from where its keys come from.
class VerifierAlone {
 public:
  explicit VerifierAlone(InMemoryRelay& relay) : relay_(relay) {}

  void take(const std::deque<SignedCall>& calls) {
    signed_.clear();
    signed_.reserve(2 * calls.size());
    for (const SignedCall& c : calls) {
      Signed& opened = signed_.emplace_back();
      const auto* text = reinterpret_cast<const uint8_t*>(&c.envelope);
      opened.add(crypto::kLabelCall, {text, wire::kEnvelopeSigned});
      std::copy(std::begin(c.envelope.signature), std::end(c.envelope.signature),
                opened.signature.begin());
      opened.agent = c.caller;
      Signed& accepted = signed_.emplace_back();
      ByteArray<wire::kAcceptSigned> agreed;
      wire::write_accept_signed(c.envelope, c.accept, agreed);
      accepted.add(crypto::kLabelAccept, agreed);
      std::copy(std::begin(c.accept.signature), std::end(c.accept.signature),
                accepted.signature.begin());
      accepted.agent = relay_.agent(c.caller).peer;
    }
    keys_.resize(signed_.size());
    jobs_.clear();
    for (size_t i = 0; i < signed_.size(); ++i) {
      const fabric::Agent& agent = relay_.arena().agents()[signed_[i].agent];
      agent.identity.get(keys_[i]);
      const uint32_t prepared = agent.prepared.load();
      jobs_.push_back({.key = &keys_[i],
                       .message = {signed_[i].message, signed_[i].size},
                       .signature = &signed_[i].signature,
                       .prepared = prepared == fabric::kNone
                                       ? nullptr
                                       : &relay_.arena().prepared_keys()[prepared]});
    }
  }
  // The next 256, `batch` at a time.
  std::pair<uint64_t, uint64_t> stretch(size_t batch) {
    constexpr size_t kStretch = 256;
    if (at_ + kStretch > jobs_.size()) at_ = 0;
    const auto jobs = std::span(jobs_).subspan(at_, kStretch);
    at_ += kStretch;
    const uint64_t all = batch == 64 ? ~uint64_t{0} : (uint64_t{1} << batch) - 1;
    const OwnCore own;
    const uint64_t before = __builtin_ia32_rdtsc();
    for (size_t i = 0; i < kStretch; i += batch) {
      if (verifier_.verify(jobs.subspan(i, batch)) != all) bad_ = true;
    }
    return {__builtin_ia32_rdtsc() - before, kStretch};
  }
  bool bad() const { return bad_; }

 private:
  struct Signed {
    uint8_t message[256];
    size_t size = 0;
    crypto::Signature signature;
    uint32_t agent = 0;

    void add(const crypto::Label& label, Bytes text) {
      std::copy(label.begin(), label.end(), message);
      std::copy(text.begin(), text.end(), message + label.size());
      size = label.size() + text.size();
    }
  };
  InMemoryRelay& relay_;
  crypto::Ed25519BatchVerifier verifier_;
  std::vector<Signed> signed_;
  std::vector<crypto::PublicKey> keys_;
  std::vector<crypto::VerifyJob> jobs_;
  size_t at_ = 0;
  bool bad_ = false;
};

// Of stretches over so much time, the median: a millisecond each, so that one which lost its core
// to somebody else stands out. `lost` is raised to the share of the time that was lost so.
template <typename Stretch>
double median_per_second(const Clock& clock, double seconds, double& lost, Stretch&& stretch) {
  Slice all;
  std::vector<double> ns;
  const auto wanted = static_cast<uint64_t>(seconds * double(clock.hz()));
  while (all.ticks < wanted) {
    const auto [ticks, signatures] = stretch();
    if (signatures == 0) return 0;
    all.add(ticks, signatures);
    ns.push_back(1000 * clock.us_from_ticks(ticks) / double(signatures));
  }
  lost = std::max(lost, all.lost());
  return 1e9 / median(ns);
}

// A decision and an end of a call, each made and put into a ring.
double audit_ns_per_call(const Clock& clock) {
  constexpr unsigned kRecords = 4096;
  SpscRing<audit::Record> ring(2 * kRecords);
  std::vector<audit::Record> taken(2 * kRecords);
  audit::CallDecision decision;
  audit::CallClosed closed;
  std::vector<double> ns;
  for (int round = 0; round < 9; ++round) {
    const uint64_t before = __builtin_ia32_rdtsc();
    for (unsigned i = 0; i < kRecords; ++i) {
      decision.counter = closed.counter = i;
      (void)ring.put(audit::record_of(decision));
      (void)ring.put(audit::record_of(closed));
    }
    ns.push_back(1000 * clock.us_from_ticks(__builtin_ia32_rdtsc() - before) / kRecords);
    (void)ring.take(taken);
  }
  return median(ns);
}

}  // namespace

CallRates measure_call_rates(InMemoryRelay& relay, CallMill& mill, unsigned slices,
                             double seconds) {
  CallRates out;
  std::vector<double> path, eight, sixty_four, ratios;
  VerifierAlone alone(relay);
  const auto of_path = [&]() -> std::pair<uint64_t, uint64_t> {
    const auto r = mill.stretch();
    mill.collect();
    return r;
  };
  // Every agent has its page, and a call that the verifier alone can have.
  while (mill.lately().size() < relay.house().sessions) (void)of_path();
  for (unsigned i = 0; i < slices; ++i) {
    note(fmt::format("turn {} of {}: {} calls signed, sealed and let through", i + 1, slices,
                     mill.opened()));
    const auto per_second = [&](auto&& stretch) {
      return median_per_second(relay.clock(), seconds, out.lost, stretch);
    };
    path.push_back(per_second(of_path));
    alone.take(mill.lately());
    eight.push_back(per_second([&] { return alone.stretch(8); }));
    sixty_four.push_back(per_second([&] { return alone.stretch(64); }));
    ratios.push_back(path.back() / std::max(eight.back(), sixty_four.back()));
    out.problem = mill.problem();
    if (!out.problem.empty()) break;
  }
  if (alone.bad()) out.problem = "the verifier refuses a good signature";
  out.path_per_second = median(path);
  out.verifier_per_second = median(eight);
  out.verifier64_per_second = median(sixty_four);
  out.ratio = median(ratios);
  return out;
}

std::vector<CallStage> measure_call_stages(InMemoryRelay& relay, CallMill& mill, unsigned groups) {
  using namespace dataplane;
  enum { kFetch, kOpen, kArrival, kSeal, kTake, kVerify, kDecide, kSweep, kStages };
  static constexpr const char* kNames[] = {"rx, parse, lookup, commit, tx",
                                           "open (AEAD)",
                                           "checks on arrival",
                                           "seal (AEAD)",
                                           "out of the queue",
                                           "verification",
                                           "checks again, decision, audit",
                                           "sweep"};
  Context& c = relay.plane().worker(0).context();
  auto burst = std::make_unique<Burst>();
  std::vector<std::vector<double>> samples(kStages);
  for (unsigned g = 0; g < groups; ++g) {
    if (!mill.prepare()) break;
    mill.enqueue();
    uint64_t spent[kStages] = {};
    const OwnCore own;
    uint64_t last = __builtin_ia32_rdtsc();
    const auto stamp = [&](unsigned stage) {
      const uint64_t now = __builtin_ia32_rdtsc();
      spent[stage] += now - last;
      last = now;
    };
    do {
      c.now = c.clock.ticks();
      const unsigned n = receive(c, *burst, {0, 0});
      if (n != 0) {
        parse(c, *burst, 0);
        lookup(c, *burst);
        stamp(kFetch);
        open(c, *burst);
        stamp(kOpen);
        (void)commit(c, *burst);
        stamp(kFetch);
        authorize(c, *burst);
        stamp(kArrival);
        seal(c, *burst);
        stamp(kSeal);
        deliver(c, *burst);
      }
      stamp(kFetch);
      const uint64_t turn = c.calls->slice_ended;
      const unsigned taken = take_verified(c, *burst, n == 0);
      stamp(kTake);
      if (c.calls->slice_ended != turn) {
        spent[kTake] -= c.calls->slice_took;
        spent[kVerify] += c.calls->slice_took;
      }
      if (taken != 0) {
        authorize(c, *burst);
        stamp(kDecide);
        seal(c, *burst);
        stamp(kSeal);
        deliver(c, *burst);
        stamp(kFetch);
      }
      sweep_calls(c);
      stamp(kSweep);
      c.qsbr.quiesce(c.worker);
    } while (mill.waits());
    mill.collect();
    for (unsigned s = 0; s < kStages; ++s) {
      samples[s].push_back(1000 * relay.clock().us_from_ticks(spent[s]) / CallMill::kGroup);
    }
  }
  std::vector<CallStage> out;
  for (unsigned s = 0; s < kStages; ++s) out.push_back({kNames[s], median(samples[s])});
  out.push_back({"of it audit records, alone", audit_ns_per_call(relay.clock())});
  return out;
}

}  // namespace sluice::bench
