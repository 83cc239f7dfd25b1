#include "control/trace_search.h"

#include <algorithm>

#include "base/address.h"

namespace sluice::control {
namespace {

using audit::Kind;
using audit::Record;

constexpr uint64_t kBundlesAtOnce = 32;
constexpr uint32_t kPagesAtOnce = 1024;
// Records of several workers stand in the log in the order in which its thread met them, and a
// clock may have been set: so much before `since_ms` is looked at, and so much after `until_ms`.
constexpr uint64_t kOutOfOrderMs = 60'000;

// A copy of an open call's record, which its workers may end and use anew at any time: whole if it
// was the same call before and after. False: it is not open, or not of that trace.
__attribute__((no_sanitize("thread"))) bool copy_open(const fabric::CallRecord& r,
                                                      const ByteArray<16>& trace, OpenCall& out) {
  const auto is_open = [&r] {
    return r.state.load(std::memory_order_acquire) == uint32_t(fabric::CallState::kOpen);
  };
  if (!is_open()) return false;
  const wire::Envelope& e = r.envelope;
  const uint64_t opened = r.opened;
  if (std::memcmp(e.trace, trace.data(), trace.size()) != 0) return false;
  out = {.caller = e.issuer,
         .callee = e.audience,
         .counter = e.counter,
         .opened = opened,
         .packets = r.packets.get(),
         .bytes = r.bytes.get(),
         .packets_back = r.packets_back.get(),
         .bytes_back = r.bytes_back.get(),
         .accepted = r.accepted.load(std::memory_order_relaxed),
         .capability = e.capability,
         .protocol = e.protocol,
         .service = e.service};
  std::atomic_thread_fence(std::memory_order_acquire);
  return is_open() && r.opened == opened && r.call_id == out.counter;
}

}  // namespace

TraceSearch::TraceSearch(const fabric::Arena& arena, std::string folder, TraceQuery query,
                         uint64_t size)
    : arena_(arena), source_(std::move(folder)), query_(std::move(query)), size_(size) {}

bool TraceSearch::fits(uint64_t caller, uint64_t callee) const {
  if (!query_.tenant) return true;
  const auto of = [this](uint64_t address) {
    return address != 0 && VirtualAddress::from_u64(address).tenant == *query_.tenant;
  };
  return of(caller) || of(callee);
}

// The first bundle that may hold something of `since_ms`, by halving. Bundles that are gone (a log
// keeps its records for a time) are older than all that are there.
Result<void> TraceSearch::find_start() {
  started_ = true;
  if (query_.from) {
    began_ = next_ = std::min(*query_.from, size_);
    return {};
  }
  uint64_t low = 0, high = size_ / audit::kTileWidth;  // the last one may be partial or empty
  const uint64_t since = query_.since_ms - std::min(query_.since_ms, kOutOfOrderMs);
  while (low < high) {
    const uint64_t middle = low + (high - low + 1) / 2;
    if (middle * audit::kTileWidth >= size_) {
      high = middle - 1;
      continue;
    }
    const auto bundle = audit::read_records(source_, middle, size_);
    if (!bundle && bundle.error().code != ErrorCode::kNotFound) {
      return tl::unexpected(bundle.error());
    }
    if (!bundle || audit::header_of(bundle->front()).time_ms < since) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  began_ = next_ = low * audit::kTileWidth;
  return {};
}

// False: there is more.
Result<bool> TraceSearch::read_slice() {
  for (uint64_t i = 0; i < kBundlesAtOnce; ++i) {
    if (next_ >= size_ || next_ - began_ >= kMostLookedAt || records_.size() >= kMostFound) {
      return true;
    }
    const uint64_t number = next_ / audit::kTileWidth;
    const auto bundle = audit::read_records(source_, number, size_);
    if (!bundle && bundle.error().code != ErrorCode::kNotFound) {
      return tl::unexpected(bundle.error());
    }
    if (!bundle) {
      next_ = std::min(size_, (number + 1) * audit::kTileWidth);
      continue;
    }
    for (size_t k = next_ % audit::kTileWidth; k < bundle->size(); ++k, ++next_) {
      const Record& r = (*bundle)[k];
      const audit::Header h = audit::header_of(r);
      if (h.time_ms > query_.until_ms && h.time_ms - query_.until_ms > kOutOfOrderMs) {
        next_ = size_;
        return true;
      }
      if ((h.kind != Kind::kCall && h.kind != Kind::kCallClosed) || r[0] != audit::kLayout)
        continue;
      // Both kinds have it there.
      if (std::memcmp(r.data() + 32, query_.trace.data(), query_.trace.size()) != 0) continue;
      if (h.time_ms < query_.since_ms || h.time_ms > query_.until_ms) continue;
      if (fits(h.subject.to_u64(), h.object.to_u64())) records_.emplace_back(next_, r);
    }
  }
  return false;
}

// True: that was all of them.
bool TraceSearch::look_at_pages() {
  const uint32_t pages = arena_.sizes().call_pages;
  const uint32_t until = pages - next_page_ > kPagesAtOnce ? next_page_ + kPagesAtOnce : pages;
  for (; next_page_ < until; ++next_page_) {
    if (arena_.page_agent(next_page_).load(std::memory_order_acquire) == fabric::kNone) continue;
    const fabric::CallTable table = arena_.calls(next_page_);
    for (uint32_t i = 0; i < table.slots(); ++i) {
      OpenCall call;
      if (!copy_open(table.at(i), query_.trace, call) || !fits(call.caller, call.callee)) continue;
      open_.push_back(call);
    }
  }
  return next_page_ == pages || open_.size() >= kMostFound;
}

Result<bool> TraceSearch::step() {
  if (!started_) {
    if (auto r = find_start(); !r) return tl::unexpected(r.error());
  }
  if (!read_) {
    const auto all = read_slice();
    if (!all) return all;
    read_ = *all;
    return false;
  }
  return look_at_pages();
}

}  // namespace sluice::control
