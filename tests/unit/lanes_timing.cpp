// Does X25519's time depend on the scalar? After dudect (Reparaz, Balasch, Verbauwhede, "Dude, is
// my code constant time?"): batches of a fixed scalar and of random ones in random order, Welch's t
// over the times below a quantile. |t| > 10 over a million batches would be a leak. A control that
// takes another turn of the ladder for one class must be told apart.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "crypto/batch_engine.h"
#include "crypto/lanes/engine.h"

using namespace sluice::crypto;

namespace {

struct Welch {
  double n = 0, mean = 0, m2 = 0;
  void add(double x) {
    ++n;
    const double d = x - mean;
    mean += d / n;
    m2 += d * (x - mean);
  }
  double error() const { return m2 / (n - 1) / n; }
};

// |t| between the classes; `handicap`: additions that one class does besides.
double t_of(const lanes::Engine& engine, size_t batches, unsigned handicap) {
  std::mt19937_64 random(1);
  uint64_t scalars[2][8][4], u[8][4], out[8][4];
  for (auto& row : u) {
    for (auto& w : row) w = random();
  }
  for (auto& row : scalars[0]) std::fill(row, row + 4, 0);
  std::vector<std::pair<uint64_t, int>> times;
  volatile uint64_t sink = 0;
  for (size_t b = 0; b < batches; ++b) {
    const int which = static_cast<int>(random() & 1);
    // Both classes' bytes are written, so that neither is warmer.
    for (auto& row : scalars[1]) {
      for (auto& w : row) w = random();
    }
    lanes::X25519Item items[8];
    uint64_t chosen[8][4];
    for (int i = 0; i < 8; ++i) {
      for (int k = 0; k < 4; ++k) chosen[i][k] = scalars[which][i][k];
      items[i] = {chosen[i], u[i], out[i]};
    }
    unsigned aux;
    const uint64_t began = __builtin_ia32_rdtscp(&aux);
    engine.x25519(items, 8);
    for (unsigned h = 0; which == 1 && h < handicap; ++h) sink = sink + h;
    times.emplace_back(__builtin_ia32_rdtscp(&aux) - began, which);
  }
  std::vector<uint64_t> sorted;
  for (const auto& [t, which] : times) sorted.push_back(t);
  std::sort(sorted.begin(), sorted.end());
  const uint64_t most = sorted[sorted.size() * 8 / 10];
  Welch classes[2];
  for (const auto& [t, which] : times) {
    if (t <= most) classes[which].add(double(t));
  }
  return std::fabs(classes[0].mean - classes[1].mean) /
         std::sqrt(classes[0].error() + classes[1].error());
}

}  // namespace

int main() {
  const lanes::Engine* engine = ifma_engine_here();
  if (engine == nullptr) {
    std::puts("lanes_timing: this CPU has no AVX-512 IFMA");
    return 77;
  }
  const double control = t_of(*engine, 200'000, 120);
  const double t = t_of(*engine, 1'000'000, 0);
  std::printf("lanes_timing: back end %s, |t| = %.1f (a leak is above 10), control %.1f\n",
              engine->name, t, control);
  return t < 10 && control > 10 ? 0 : 1;
}
