#include "dataplane/telemetry.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <mutex>
#include <optional>

#include <rte_telemetry.h>

#include <fmt/format.h>

namespace sluice::dataplane {
namespace {

// EAL gives a command no context, and never forgets one.
std::mutex g_mutex;
const fabric::Arena* g_arena = nullptr;
bool g_registered = false;

// Which workers a command is about: ",3" names one; nothing: all. None: that is no worker.
struct Workers {
  uint32_t from = 0, to = 0;
};
std::optional<Workers> workers_of(const char* params) {
  const uint32_t all = g_arena->sizes().workers;
  if (params == nullptr || *params == '\0') return Workers{0, all};
  uint32_t one = 0;
  const char* end = params + std::strlen(params);
  const auto [at, ec] = std::from_chars(params, end, one);
  if (ec != std::errc() || at != end || one >= all) return std::nullopt;
  return Workers{one, one + 1};
}

template <typename Of>
uint64_t sum(const Workers& w, const Of& of) {
  uint64_t out = 0;
  for (uint32_t i = w.from; i < w.to; ++i) out += of(g_arena->counters(i)).get();
  return out;
}

int workers(const char*, const char* params, rte_tel_data* d) {
  const std::lock_guard guard(g_mutex);
  if (g_arena == nullptr) return -ENODEV;
  const auto which = workers_of(params);
  if (!which) return -EINVAL;
  if (which->to - which->from != 1 || params == nullptr || *params == '\0') {
    rte_tel_data_start_array(d, RTE_TEL_INT_VAL);
    for (uint32_t w = which->from; w < which->to; ++w) {
      rte_tel_data_add_array_int(d, static_cast<int>(w));
    }
    return 0;
  }
  rte_tel_data_start_dict(d);
  for (const auto& c : fabric::kWorkerCounterTable) {
    rte_tel_data_add_dict_u64(d, c.name, (g_arena->counters(which->from).*c.member).get());
  }
  uint64_t drops = 0;
  for (size_t r = 1; r < fabric::kDropReasons; ++r) {
    drops += g_arena->counters(which->from).drops[r].get();
  }
  rte_tel_data_add_dict_u64(d, "drops", drops);
  return 0;
}

int drops(const char*, const char* params, rte_tel_data* d) {
  const std::lock_guard guard(g_mutex);
  if (g_arena == nullptr) return -ENODEV;
  const auto which = workers_of(params);
  if (!which) return -EINVAL;
  rte_tel_data_start_dict(d);
  for (size_t r = 1; r < fabric::kDropReasons; ++r) {
    rte_tel_data_add_dict_u64(
        d, fabric::kDropTable[r].name,
        sum(*which, [r](auto& c) -> const fabric::Counter& { return c.drops[r]; }));
  }
  return 0;
}

int calls(const char*, const char* params, rte_tel_data* d) {
  const std::lock_guard guard(g_mutex);
  if (g_arena == nullptr) return -ENODEV;
  const auto which = workers_of(params);
  if (!which) return -EINVAL;
  rte_tel_data_start_dict(d);
  for (size_t r = 0; r < wire::kCallReasons; ++r) {
    rte_tel_data_add_dict_u64(
        d, wire::kCallReasonTable[r].name,
        sum(*which, [r](auto& c) -> const fabric::Counter& { return c.calls[r]; }));
  }
  return 0;
}

int sessions(const char*, const char*, rte_tel_data* d) {
  const std::lock_guard guard(g_mutex);
  if (g_arena == nullptr) return -ENODEV;
  uint64_t by_state[3] = {};
  for (const fabric::Session& s : g_arena->sessions().subspan(1)) {  // slot 0 is never used
    const uint32_t state = s.state.load(std::memory_order_relaxed);
    if (state < 3) ++by_state[state];
  }
  rte_tel_data_start_dict(d);
  constexpr const char* kNames[] = {"free", "unconfirmed", "confirmed"};
  for (size_t i = 0; i < 3; ++i) rte_tel_data_add_dict_u64(d, kNames[i], by_state[i]);
  return 0;
}

struct Command {
  const char* path;
  telemetry_cb answer;
  const char* help;
};
constexpr Command kCommands[] = {
    {"/sluice/workers", workers, "Workers; with a number, that one's counters"},
    {"/sluice/drops", drops, "Packets that died, by reason; of all workers, or of the one named"},
    {"/sluice/sessions", sessions, "Session slots by state"},
    {"/sluice/calls", calls, "Decisions on calls by reason; of all workers, or of the one named"},
};

}  // namespace

Result<std::unique_ptr<Telemetry>> Telemetry::start(const fabric::Arena& arena) {
  if (!g_registered) {
    for (const Command& c : kCommands) {
      if (const int r = rte_telemetry_register_cmd(c.path, c.answer, c.help); r != 0) {
        return fail(ErrorCode::kResource, fmt::format("DPDK's telemetry does not take {}: {}",
                                                      c.path, std::strerror(-r)));
      }
    }
    g_registered = true;
  }
  const std::lock_guard guard(g_mutex);
  g_arena = &arena;
  return std::unique_ptr<Telemetry>(new Telemetry);
}

Telemetry::~Telemetry() {
  const std::lock_guard guard(g_mutex);
  g_arena = nullptr;
}

}  // namespace sluice::dataplane
