#include "control/admin_trace.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/record_json.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr unsigned kMostRunning = 4;  // searches: the log's thread has other work

// 32 hex digits; as a UUID writes them, too.
std::optional<ByteArray<16>> trace_of(std::string text) {
  std::erase(text, '-');
  const auto raw = crypto::from_hex(text);
  if (!raw || raw->size() != 16) return std::nullopt;
  return take<16>(raw->data());
}

// By caller and its counter, which with the relay's epoch is the call's message id.
using Calls = std::map<std::pair<std::string, uint64_t>, json>;

json& call_of(Calls& calls, const json& caller, uint64_t counter) {
  return calls[{caller.is_string() ? caller.get<std::string>() : "", counter}];
}

template <typename Of>
void take_over(json& out, const Of& from, std::initializer_list<const char*> fields) {
  for (const char* f : fields) out[f] = from.at(f);
}

void add_decision(json& out, const json& r) {
  take_over(out, r,
            {"decision", "capability", "protocol", "service", "scopes", "grant", "issued_ms"});
  out["decided_at_ms"] = r["time_ms"];
  out["worker"] = r["source"];
}

void add_end(json& out, const json& r) {
  take_over(out, r,
            {"why", "duration_ms", "packets", "bytes", "packets_back", "bytes_back", "accepted",
             "status", "status_back"});
  out["closed_at_ms"] = r["time_ms"];
}

const char* state_of(const json& call, bool open) {
  if (!call["closed_at_ms"].is_null()) return "closed";
  if (open) return "open";
  const json& decision = call["decision"];
  return decision.is_string() && decision != "authorized" ? "denied" : "unknown";
}

}  // namespace

struct AdminTrace::Job {
  TraceSearch search;
  http::Respond respond;
};

void AdminTrace::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/trace", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { trace(c, std::move(r)); }});
}

void AdminTrace::trace(const AdminCall& call, http::Respond respond) {
  const auto id = call.request.query.find("id");
  const auto trace = id == call.request.query.end() ? std::nullopt : trace_of(id->second);
  if (!trace) {
    return respond(refused(ErrorCode::kUsage,
                           "\"id\" is a trace id of 32 hex digits, as the call's envelope and the "
                           "audit log have it"));
  }
  TraceQuery query{.trace = *trace, .from = {}, .tenant = call.caller.tenant};
  const auto since = query_number(call.request, "since_ms", 0);
  const auto until = query_number(call.request, "until_ms", UINT64_MAX);
  const auto from = query_number(call.request, "from", 0);
  for (const auto* n : {&since, &until, &from}) {
    if (!*n) return respond(http::error_response(n->error()));
  }
  query.since_ms = *since;
  query.until_ms = *until;
  if (call.request.query.contains("from")) query.from = *from;
  if (running_ == kMostRunning) {
    return respond(
        refused(ErrorCode::kResource, fmt::format("{} searches for traces are under way: "
                                                  "ask again in a moment",
                                                  kMostRunning)));
  }
  ++running_;
  run(std::make_shared<Job>(
      Job{TraceSearch(control_.around().arena, control_.audit().folder(), query,
                      control_.audit().writer().status().published.size),
          std::move(respond)}));
}

void AdminTrace::run(const std::shared_ptr<Job>& job) {
  control_.audit().writer().beside([this, job]() -> std::function<void()> {
    const auto over = job->search.step();
    return [this, job, over] {
      if (over && !*over) return run(job);
      --running_;
      job->respond(over ? answer(job->search) : http::error_response(over.error()));
    };
  });
}

http::Response AdminTrace::answer(const TraceSearch& search) const {
  Calls calls;
  std::map<const json*, bool> open;
  for (const auto& [index, record] : search.records()) {
    const json r = audit::to_json(index, record);
    json& out = call_of(calls, r["subject"], r["call"]);
    out["caller"] = r["subject"];
    out["callee"] = r["object"];
    out["call"] = r["call"];
    out["records"].push_back(index);
    if (r["kind"] == "call") {
      add_decision(out, r);
    } else {
      add_end(out, r);
    }
  }
  const Clock& clock = control_.around().clock;
  for (const OpenCall& c : search.open()) {
    const json caller = to_string(VirtualAddress::from_u64(c.caller));
    json& out = call_of(calls, caller, c.counter);
    const uint64_t ms = static_cast<uint64_t>(
        clock.us_from_ticks(clock.ticks() - std::min(clock.ticks(), c.opened)) / 1000);
    out["caller"] = caller;
    out["callee"] = to_string(VirtualAddress::from_u64(c.callee));
    out["call"] = c.counter;
    if (!out.contains("decision")) {
      out["decision"] = "authorized";
      out["decided_at_ms"] = clock.unix_ms() - ms;
    }
    out["duration_ms"] = ms;
    out["packets"] = c.packets;
    out["bytes"] = c.bytes;
    out["packets_back"] = c.packets_back;
    out["bytes_back"] = c.bytes_back;
    out["accepted"] = c.accepted == 0 ? json() : json(c.accepted == 1);
    open[&out] = true;
  }
  json list = json::array();
  for (auto& [key, call] : calls) {
    constexpr const char* kFields[] = {"decision",  "decided_at_ms", "worker",       "capability",
                                       "protocol",  "service",       "scopes",       "grant",
                                       "issued_ms", "why",           "closed_at_ms", "duration_ms",
                                       "packets",   "bytes",         "packets_back", "bytes_back",
                                       "accepted",  "status",        "status_back"};
    for (const char* f : kFields) {
      if (!call.contains(f)) call[f] = nullptr;
    }
    if (!call.contains("records")) call["records"] = json::array();
    for (const char* side : {"caller", "callee"}) {
      const auto address = call[side].is_string()
                               ? parse_virtual_address(call[side].get<std::string>())
                               : std::nullopt;
      const AgentEntry* agent = address ? control_.trust().by_address(*address) : nullptr;
      call[std::string(side) + "_name"] = agent == nullptr ? json() : json(agent->name);
    }
    call["state"] = state_of(call, open.contains(&call));
    list.push_back(call);
  }
  std::stable_sort(list.begin(), list.end(), [](const json& a, const json& b) {
    const auto when = [](const json& c) {
      const json& t = c["decided_at_ms"].is_null() ? c["closed_at_ms"] : c["decided_at_ms"];
      return t.get<uint64_t>();
    };
    return when(a) < when(b);
  });
  return ok({{"calls", list},
             {"began", search.began()},
             {"next", search.next()},
             {"size", search.size()}});
}

}  // namespace sluice::control
