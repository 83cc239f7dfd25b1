// Readers of single options, for options.cpp alone.
#pragma once

#include <fmt/format.h>

#include "pktgen/options.h"

namespace sluice::pktgen {

struct Problems {
  std::vector<std::string> list;

  template <typename... Args>
  void add(fmt::format_string<Args...> text, Args&&... args) {
    list.push_back(fmt::format(text, std::forward<Args>(args)...));
  }
  template <typename T>
  void check(const Result<T>& r) {
    if (!r) list.push_back(r.error().message);
  }
  void range(const char* option, double value, double low, double high) {
    if (!(value >= low && value <= high)) {
      add("{} is {}: give {} to {}", option, value, low, high);
    }
  }
};

std::vector<unsigned> read_numbers(const std::string& text, const char* option, Problems&);
// The first CPU for main, then one after the other for the workers, from the last backwards.
std::vector<unsigned> default_cores(size_t devices);
void read_address(const std::string& text, DeviceOptions& out, Problems&);  // IP/prefix
void read_relay(const std::string& text, DeviceOptions& out, Problems&);    // IP:port or [IP]:port
void read_mac(const std::string& text, DeviceOptions& out, Problems&);

// Packets a second: a number, also as 250k or 1.5M; max is 0.
double read_rate(const std::string& text, const char* option, Problems&);
void read_floods(const RawOptions& raw, Traffic& out, Problems&);
// Seal, order, sampling: what does not depend on the size.
void read_traffic(const RawOptions& raw, Traffic& out, Problems&);
// --frame, --payload or --imix.
void read_size(const RawOptions& raw, bool v6, Traffic& out, Problems&);
// --frames of a search: a Traffic like `common` per size.
void read_frames(const RawOptions& raw, bool v6, const Traffic& common, std::vector<Traffic>& out,
                 Problems&);
void check_sizes(const Traffic& traffic, bool v6, uint16_t mtu, Problems&);

}  // namespace sluice::pktgen
