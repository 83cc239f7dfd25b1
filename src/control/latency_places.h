// Which tenants' latency is measured apart: each gets a place among every worker's histograms
// (fabric::Arena::latencies) when its first agent comes, until there are none left; for as long as
// the relay runs. Control thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "fabric/arena.h"

namespace sluice::control {

class LatencyPlaces {
 public:
  explicit LatencyPlaces(const fabric::Arena& arena) : count_(arena.sizes().latencies) {}

  // 0: none is left, or nothing is measured.
  uint16_t of(uint16_t tenant) {
    if (const auto it = places_.find(tenant); it != places_.end()) return it->second;
    if (places_.size() + 1 >= count_) {
      if (count_ != 0) without_.insert(tenant);
      return 0;
    }
    const auto place = static_cast<uint16_t>(places_.size() + 1);
    places_.emplace(tenant, place);
    return place;
  }

  const std::map<uint16_t, uint16_t>& all() const { return places_; }  // by tenant
  size_t without() const { return without_.size(); }  // tenants for whom none was left

 private:
  uint32_t count_;
  std::map<uint16_t, uint16_t> places_;
  std::set<uint16_t> without_;
};

}  // namespace sluice::control
