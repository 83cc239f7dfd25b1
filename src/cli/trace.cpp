#include "cli/trace.h"

#include <unistd.h>

#include <chrono>
#include <map>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "cli/table.h"
#include "cli/views.h"
#include "http/url.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr auto kSilence = std::chrono::seconds(2);            // before progress is shown
constexpr auto kPublished = std::chrono::milliseconds(1300);  // a decision is, by then

std::string time_text(const json& ms) {
  if (ms.is_null()) return "-";
  const uint64_t t = ms;
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03}", fmt::gmtime(static_cast<std::time_t>(t / 1000)),
                     t % 1000);
}

// A call's decision and end may have come in two pages: what one lacks the other has.
void merge(json& into, const json& from) {
  constexpr const char* kBetter[] = {"closed", "open", "denied", "unknown"};
  const auto rank = [&](const json& call) {
    size_t i = 0;
    while (i < 3 && call["state"] != kBetter[i]) ++i;
    return i;
  };
  const bool better = rank(from) < rank(into);
  for (const auto& [key, value] : from.items()) {
    json& mine = into[key];
    if (key == "records") {
      for (const json& r : value) mine.push_back(r);
    } else if (mine.is_null() || (better && !value.is_null())) {
      mine = value;
    }
  }
}

struct Found {
  std::vector<json> calls;
  std::map<std::pair<std::string, uint64_t>, size_t> at;
  uint64_t looked_at = 0;
  uint64_t size = 0;

  void add(const json& call) {
    const auto [it, fresh] =
        at.try_emplace({text(call["caller"]), call["call"].get<uint64_t>()}, calls.size());
    if (fresh) {
      calls.push_back(call);
    } else {
      merge(calls[it->second], call);
    }
  }
};

Result<Found> search(const Client& client, const std::string& id, const TraceSpan& span) {
  Found out;
  const std::string base = fmt::format("/v1/trace?id={}&since_ms={}&until_ms={}",
                                       http::percent_encode(id), span.since_ms, span.until_ms);
  const auto began = std::chrono::steady_clock::now();
  bool shown = false;
  std::string from;
  for (;;) {
    const auto page = client.call("GET", base + from);
    if (!page) return tl::unexpected(page.error());
    for (const json& c : (*page)["calls"]) out.add(c);
    const uint64_t next = (*page)["next"];
    out.size = (*page)["size"];
    out.looked_at += next - (*page)["began"].get<uint64_t>();
    if (next >= out.size) break;
    from = fmt::format("&from={}", next);
    if (isatty(STDERR_FILENO) && std::chrono::steady_clock::now() - began >= kSilence) {
      shown = true;
      fmt::print(stderr, "\r{} of {} records ", grouped(next), grouped(out.size));
    }
  }
  if (shown) fmt::print(stderr, "\n");
  return out;
}

std::string who(const json& call, const char* side) {
  const json& name = call[std::string(side) + "_name"];
  if (!name.is_null()) return text(name);
  return call[side].is_null() ? "nobody" : text(call[side]);
}

std::string traffic(const json& call) {
  return fmt::format("{} packets, {} there; {} packets, {} back", count(call["packets"]),
                     bytes(call["bytes"]), count(call["packets_back"]), bytes(call["bytes_back"]));
}

std::string answer_of(const json& call) {
  const json& accepted = call["accepted"];
  return accepted.is_null() ? "not answered" : accepted.get<bool>() ? "accepted" : "refused";
}

std::string took(const json& call) {
  return with_unit_us(call["duration_ms"].get<double>() * 1000);
}

void print_call(const json& c) {
  fmt::print("{}  {} -> {}  {}{}  call {}\n", time_text(c["decided_at_ms"]), who(c, "caller"),
             who(c, "callee"), c["decision"].is_null() ? "decided before" : text(c["decision"]),
             c["capability"].is_null()
                 ? ""
                 : fmt::format("  {} by {}", text(c["capability"]), text(c["protocol"])),
             text(c["call"]));
  const std::string state = text(c["state"]);
  if (state == "closed") {
    fmt::print("    {}: {} after {} ({}); {}\n", answer_of(c),
               c["why"] == "closed"       ? "closed"
               : c["why"] == "idle"       ? "ended, idle,"
               : c["why"] == "edge_ended" ? "cut with its edge"
                                          : "ended",
               took(c), time_text(c["closed_at_ms"]), traffic(c));
  } else if (state == "open") {
    fmt::print("    open for {}, {}; {}\n", took(c), answer_of(c), traffic(c));
  } else if (state == "unknown") {
    fmt::print(
        "    neither open nor closed in the log: it ended within the last second, or the "
        "relay stopped meanwhile\n");
  }
}

}  // namespace

int run_trace(const Client& client, const std::string& id, const TraceSpan& span) {
  auto found = search(client, id, span);
  if (found && found->calls.empty() && span.until_ms == UINT64_MAX) {
    std::this_thread::sleep_for(kPublished);
    found = search(client, id, span);
  }
  if (!found) return client.report(found.error());
  if (found->calls.empty()) {
    return client.report(
        {ErrorCode::kNotFound,
         fmt::format("no call of trace {} among {} records{}", id, grouped(found->looked_at),
                     span.since_ms == 0 ? "" : "; --since reaches further back")});
  }
  if (client.as_json) {
    fmt::print("{}\n",
               json{{"calls", found->calls}, {"looked_at", found->looked_at}, {"size", found->size}}
                   .dump());
    return 0;
  }
  for (const json& c : found->calls) print_call(c);
  return 0;
}

}  // namespace sluice::cli
