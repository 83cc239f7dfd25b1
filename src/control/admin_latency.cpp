#include "control/admin_latency.h"

#include <cmath>
#include <vector>

#include <nlohmann/json.hpp>

namespace sluice::control {
namespace {

using fabric::LatencyHistogram;
using nlohmann::json;

// The sum of some histograms, read once: they go on counting.
class Sum {
 public:
  void add(const LatencyHistogram& h) {
    for (size_t b = 0; b < buckets_.size(); ++b) {
      const uint64_t n = h.in_bucket(b);
      buckets_[b] += n;
      count_ += n;
    }
    sum_ns_ += h.sum_ns();
    longest_ns_ = std::max(longest_ns_, h.longest_ns());
  }

  json to_json() const {
    json out = {{"packets", count_}, {"longest_us", double(longest_ns_) / 1e3}};
    out["mean_us"] = count_ == 0 ? json() : json(double(sum_ns_) / double(count_) / 1e3);
    for (const auto& [name, q] : {std::pair{"p50_us", 0.5}, std::pair{"p90_us", 0.9},
                                  std::pair{"p99_us", 0.99}, std::pair{"p999_us", 0.999}}) {
      out[name] = count_ == 0 ? json() : json(double(quantile_ns(q)) / 1e3);
    }
    return out;
  }

 private:
  // The largest number of the bucket in which the share `q` is reached.
  uint64_t quantile_ns(double q) const {
    const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * double(count_))));
    uint64_t seen = 0;
    size_t b = 0;
    while (b + 1 < buckets_.size() && (seen += buckets_[b]) < wanted) ++b;
    const uint64_t last = LatencyHistogram::Scale::last(b);
    return b + 1 == buckets_.size() ? longest_ns_ : std::min(last, longest_ns_);
  }

  std::vector<uint64_t> buckets_ = std::vector<uint64_t>(LatencyHistogram::kBuckets);
  uint64_t count_ = 0;
  uint64_t sum_ns_ = 0;
  uint64_t longest_ns_ = 0;
};

}  // namespace

void AdminLatency::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/latency", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { r(latency(c.caller)); }});
}

http::Response AdminLatency::latency(const Caller& caller) const {
  const auto& arena = control_.around().arena;
  const auto& sizes = arena.sizes();
  json workers = json::array(), tenants = json::array();
  for (uint32_t w = 0; w < sizes.workers && sizes.latencies != 0; ++w) {
    Sum sum;
    sum.add(arena.latencies(w)[0]);
    json row = sum.to_json();
    row["worker"] = w;
    workers.push_back(std::move(row));
  }
  const LatencyPlaces& places = control_.trust().latency_places();
  for (const auto& [tenant, place] : places.all()) {
    if (!caller.sees(tenant)) continue;
    Sum sum;
    for (uint32_t w = 0; w < sizes.workers; ++w) sum.add(arena.latencies(w)[place]);
    json row = sum.to_json();
    const std::string name = control_.enrolment().tenant_name(tenant);
    row["tenant"] = tenant;
    row["name"] = name.empty() ? json() : json(name);
    tenants.push_back(std::move(row));
  }
  return ok({{"measured", sizes.latencies != 0},
             {"workers", workers},
             {"tenants", tenants},
             {"tenants_without", places.without()}});
}

}  // namespace sluice::control
