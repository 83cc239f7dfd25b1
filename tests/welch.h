// Whether two kinds of samples can be told apart by their times: Welch's t, as dudect takes it
// (eprint 2016/1123).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace timing {

constexpr double kSuspicious = 4.5;  // |t|

struct Sample {
  double mean = 0, variance = 0;
  size_t size = 0;
};

inline double welch(const Sample& a, const Sample& b) {
  return (a.mean - b.mean) / std::sqrt(a.variance / double(a.size) + b.variance / double(b.size));
}

// Of each kind, without the slowest hundredth of all, which is of interrupts.
inline std::map<std::string, Sample> cropped(
    const std::map<std::string, std::vector<double>>& times) {
  std::vector<double> all;
  for (const auto& [name, list] : times) all.insert(all.end(), list.begin(), list.end());
  const size_t at = all.size() * 99 / 100;
  std::nth_element(all.begin(), all.begin() + static_cast<ptrdiff_t>(at), all.end());
  const double most = all[at];
  std::map<std::string, Sample> out;
  for (const auto& [name, list] : times) {
    Sample& s = out[name];
    double squares = 0;
    for (const double t : list) {
      if (t > most) continue;
      ++s.size;
      const double before = s.mean;
      s.mean += (t - before) / double(s.size);
      squares += (t - before) * (t - s.mean);
    }
    s.variance = squares / double(s.size - 1);
  }
  return out;
}

}  // namespace timing
