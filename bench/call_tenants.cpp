#include "bench/call_tenants.h"

#include <algorithm>
#include <numeric>
#include <random>

#include <fmt/format.h>

#include "bench/measure.h"
#include "bench/percentiles.h"
#include "bench/progress.h"

namespace sluice::bench {
namespace {

constexpr unsigned kFramesPerCall = 4;
// Of its limit; so little below it that chance alone does not exceed it.
constexpr double kOffered = 0.9;
// What the source, on the same core, takes for a frame.
constexpr double kSourceNs = 250;
constexpr uint8_t kFlooder = kTenants;  // tag of tenant t is t, from 1 on
constexpr double kAnswerAfter = 0.01;
constexpr double kEndAfter = 0.02;

enum class Step : uint8_t { kOpen, kAccept, kCloseBack, kClose };
struct DueStep {
  double at;
  Step what;
  uint32_t call;
};

struct Offer {
  Schedule schedule;
  std::array<uint64_t, kTenants + 1> calls{};
};

// `times`: what the flooder offers, of its limit.
Offer make_offer(InMemoryRelay& relay, Callers& callers, const TenantOptions& o, double limit,
                 double times, unsigned turn) {
  Offer out;  // from here on its time runs
  std::mt19937 random(turn);
  const uint32_t each = relay.house().sessions / kTenants;
  std::vector<SignedCall> calls;
  std::vector<DueStep> due;
  for (unsigned tenant = 1; tenant <= kTenants; ++tenant) {
    const bool floods = tenant == kFlooder && times > 1;
    const double rate = limit * (floods ? times : kOffered);
    std::exponential_distribution<double> gap(rate);
    uint32_t n = 0;
    for (double at = gap(random); at < o.seconds; at += gap(random), ++n) {
      const uint32_t caller = (tenant - 1) * each + (n * 17) % each;
      const auto i = static_cast<uint32_t>(calls.size());
      calls.push_back(callers.sign(caller, !floods));
      due.push_back({at, Step::kOpen, i});
      ++out.calls[tenant];
      // Of a flood nobody knows which of its calls will stand.
      if (floods) continue;
      due.push_back({at + kAnswerAfter, Step::kAccept, i});
      due.push_back({at + kEndAfter, Step::kCloseBack, i});
      due.push_back({at + kEndAfter, Step::kClose, i});
    }
  }
  std::stable_sort(due.begin(), due.end(),
                   [](const DueStep& a, const DueStep& b) { return a.at < b.at; });
  for (const DueStep& d : due) {
    const SignedCall& call = calls[d.call];
    const auto tenant = static_cast<uint8_t>(relay.tenant_of(call.caller));
    SealedFrame& f = out.schedule.add(d.at, d.what == Step::kOpen ? tenant : 0);
    switch (d.what) {
      case Step::kOpen:
        callers.open(call, f);
        break;
      case Step::kAccept:
        callers.accept(call, f);
        break;
      case Step::kCloseBack:
      case Step::kClose:
        callers.close(call, d.what == Step::kCloseBack, f);
        break;
    }
  }
  return out;
}

double jain(const std::vector<double>& x) {
  const double sum = std::accumulate(x.begin(), x.end(), 0.0);
  const double squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  return squares == 0 ? 0 : sum * sum / (double(x.size()) * squares);
}

}  // namespace

control::RateConfig tenant_limit(double calls_per_s) {
  return {.packets_per_s = static_cast<uint64_t>(calls_per_s * kFramesPerCall), .bytes_per_s = 0};
}

double limit_for(const TenantOptions& o, double flood_ns) {
  const double calls = kTenants * kOffered * (o.call_ns + kFramesPerCall * kSourceNs);
  const double flood = kFlood * (flood_ns + kSourceNs);
  return 1e9 * o.load / (o.flood_in_it ? calls + flood : calls);
}

TenantFigures measure_tenants(InMemoryRelay& relay, Callers& callers, Player& player,
                              const TenantOptions& o, double limit) {
  TenantFigures out;
  out.limit_calls_per_s = limit;
  out.flood_per_s = limit * kFlood;
  std::vector<double> index, least, p99[2], busy[2], change;
  for (unsigned turn = 0; turn < o.turns; ++turn) {
    for (const bool flood : {false, true}) {
      note(fmt::format("turn {} of {}: signing and sealing {}", turn + 1, o.turns,
                       flood ? "a flood" : "ten tenants' calls"));
      const Offer offer =
          make_offer(relay, callers, o, limit, flood ? kFlood : 1, 2 * turn + flood);
      if (!offer.schedule.is_fresh()) {
        out.problem = "signing took so long that the calls have expired: this machine is too busy";
        return out;
      }
      const Played p = player.play(offer.schedule);
      std::vector<double> shares, us;
      for (unsigned t = 1; t < kTenants; ++t) {
        const double entitled = std::min(double(offer.calls[t]), limit * o.seconds);
        shares.push_back(double(p.us[t].size()) / entitled);
        us.insert(us.end(), p.us[t].begin(), p.us[t].end());
      }
      p99[flood].push_back(Percentiles(us).p99);
      busy[flood].push_back(p.busy);
      out.hiccups += p.hiccups;
      if (!flood) continue;
      index.push_back(jain(shares));
      least.push_back(*std::min_element(shares.begin(), shares.end()));
      out.did_not_fit += p.did_not_fit;
    }
    change.push_back(p99[1].back() / p99[0].back() - 1);
  }
  out.denials = relay.denials();
  out.jain_index = median(index);
  out.least = median(least);
  out.p99_calm = median(p99[0]);
  out.p99_flood = median(p99[1]);
  out.p99_change = median(change);
  out.busy_calm = median(busy[0]);
  out.busy_flood = median(busy[1]);
  return out;
}

}  // namespace sluice::bench
