#include "host/cpu_list.h"

#include <charconv>

namespace sluice::host {
namespace {

constexpr unsigned kMost = 8192;  // the kernel's own bound of CPUs

}  // namespace

std::set<unsigned> parse_cpu_list(std::string_view text) {
  std::set<unsigned> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    unsigned first = 0;
    auto r = std::from_chars(at, end, first);
    if (r.ec != std::errc()) break;
    unsigned last = first;
    if (r.ptr != end && *r.ptr == '-') {
      r = std::from_chars(r.ptr + 1, end, last);
      if (r.ec != std::errc()) break;
    }
    for (unsigned i = first; i <= last && i < kMost; ++i) out.insert(i);
    at = r.ptr;
    if (at == end || *at != ',') break;
    ++at;
  }
  return out;
}

std::string cpu_list_text(const std::set<unsigned>& cpus) {
  std::string out;
  for (auto it = cpus.begin(); it != cpus.end();) {
    const unsigned first = *it;
    unsigned last = first;
    while (++it != cpus.end() && *it == last + 1) last = *it;
    if (!out.empty()) out += ',';
    out += std::to_string(first);
    if (last != first) out += (last == first + 1 ? ',' : '-') + std::to_string(last);
  }
  return out.empty() ? "none" : out;
}

}  // namespace sluice::host
