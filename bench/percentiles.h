// Exact percentiles of a set of samples (nearest rank).
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <nlohmann/json.hpp>

namespace sluice::bench {

struct Percentiles {
  double p50 = 0, p99 = 0, p999 = 0, max = 0;

  explicit Percentiles(std::vector<double> v) {
    if (v.empty()) return;
    std::sort(v.begin(), v.end());
    const auto rank = [&v](double share) {
      const auto n = static_cast<size_t>(std::ceil(share * double(v.size())));
      return v[std::max<size_t>(n, 1) - 1];
    };
    p50 = rank(0.5);
    p99 = rank(0.99);
    p999 = rank(0.999);
    max = v.back();
  }

  nlohmann::json json() const { return {{"p50", p50}, {"p99", p99}, {"p999", p999}, {"max", max}}; }
};

}  // namespace sluice::bench
