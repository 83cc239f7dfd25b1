#include "cli/audit.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include "audit/check.h"
#include "audit/record_json.h"
#include "base/byte_size.h"
#include "base/duration.h"
#include "cli/audit_source.h"
#include "cli/table.h"
#include "cli/views.h"
#include "control/store_restore.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr uint64_t kPage = 1000;
constexpr uint64_t kPageOfProofs = 32;

std::string query(const AuditOptions& o, uint64_t from, uint64_t limit) {
  std::string out = fmt::format("/v1/audit/records?from={}&limit={}", from, limit);
  if (!o.tenant.empty()) out += "&tenant=" + o.tenant;
  if (o.with_proofs) out += "&proofs=true";
  return out;
}

// Not on standard output, which is the export.
void say_pruned(uint64_t from, uint64_t first) {
  fmt::print(stderr, "records {} to {} are not there: they were pruned\n", from, first - 1);
}

// Nothing is handed out that is not as it was signed.
int export_folder(const Client& client, const Client& lines, const AuditOptions& o) {
  if (!o.tenant.empty() || o.with_proofs) {
    return client.report(
        {ErrorCode::kUsage, "--tenant and --with-proofs are for a relay's log, not for --folder"});
  }
  const auto log = audit_verifier(client, o);
  if (!log) return client.report(log.error());
  const auto source = audit_source(client, o);
  AuditProgress progress;
  auto head = audit::check_log(*source, *log, {.progress = std::ref(progress)});
  if (head) {
    uint64_t next = o.from;
    head = audit::check_log(*source, *log,
                            {.record =
                                 [&](uint64_t index, const audit::Record& r) {
                                   if (index < o.from) return;
                                   next = index + 1;
                                   print_record(lines, audit::to_json(index, r));
                                 },
                             .pruned =
                                 [&](const audit::Pruned& p) {
                                   if (next < p.first())
                                     say_pruned(std::exchange(next, p.first()), p.first());
                                 }});
  }
  return head ? 0 : client.report(head.error());
}

}  // namespace

int audit_status(const Client& client) {
  return client.show("/v1/audit", [](const json& s) {
    const uint64_t size = s["size"], first = s["first"];
    fmt::print("{} records in {}, signed as\n  {}\n", grouped(size), text(s["folder"]),
               text(s["verifier"]));
    if (first != 0) {
      fmt::print("{} are kept, {}, from record {} on; those before were pruned\n",
                 grouped(size - std::min(size, first)), with_unit_bytes(s["kept_bytes"]), first);
    }
    fmt::print("keeps {}{}{}\n",
               s["keep_for_s"].is_null() ? std::string("records for ever")
                                         : "records for " + duration_text(s["keep_for_s"]),
               s["keep_bytes"].is_null() ? "" : ", at most " + bytes_text(s["keep_bytes"]),
               s["when_unavailable"] == "count"
                   ? "; while it cannot be written, new calls pass and are counted"
                   : "; while it cannot be written, new calls are denied");
    if (!s["available"].get<bool>()) fmt::print("NOT WRITTEN: {}\n", text(s["problem"]));
    if (s["lost"].get<uint64_t>() != 0) {
      fmt::print("{} records were lost since the start\n", grouped(s["lost"].get<uint64_t>()));
    }
    fmt::print("{} a day at this rate, {} free: {}\n", with_unit_bytes(s["bytes_per_day"]),
               with_unit_bytes(s["free_bytes"]), text(s["forecast"]));
    if (!s["alert"].is_null()) fmt::print("ALERT: {}\n", text(s["alert"]));
  });
}

int audit_tail(const Client& client, const AuditOptions& o) {
  const auto status = client.call("GET", query(o, UINT64_MAX, 1));
  if (!status) return client.report(status.error());
  const uint64_t size = (*status)["size"];
  uint64_t next = size - std::min(size, o.count);
  for (;;) {
    const auto page = client.call("GET", query(o, next, kPage));
    if (!page) return client.report(page.error());
    for (const json& r : (*page)["records"]) print_record(client, r);
    const uint64_t before = std::exchange(next, (*page)["next"].get<uint64_t>());
    if (next != before && next < (*page)["size"].get<uint64_t>()) continue;
    if (!o.follow) return 0;
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

int audit_export(const Client& client, const AuditOptions& o) {
  Client lines = client;
  lines.as_json = true;
  if (!o.folder.empty()) return export_folder(client, lines, o);
  AuditProgress progress;
  bool told = false;
  for (uint64_t next = o.from;;) {
    const auto page = client.call("GET", query(o, next, o.with_proofs ? kPageOfProofs : kPage));
    if (!page) return client.report(page.error());
    if (const uint64_t first = (*page)["first"]; next < first && !std::exchange(told, true)) {
      say_pruned(next, first);
    }
    for (const json& r : (*page)["records"]) print_record(lines, r);
    const uint64_t before = std::exchange(next, (*page)["next"].get<uint64_t>());
    progress(next, (*page)["size"]);
    if (next == before || next >= (*page)["size"].get<uint64_t>()) return 0;
  }
}

int audit_begin_anew(const Client& client, const AuditOptions& o) {
  const std::string folder = o.folder.empty() ? o.state_dir + "/audit" : o.folder;
  const auto done = control::give_up_audit_log(o.state_dir, folder, o.lost);
  if (!done) return client.report(done.error());
  if (client.as_json) {
    fmt::print("{}\n", json{{"state_dir", o.state_dir},
                            {"kept_as", done->kept.empty() ? json() : json(done->kept)},
                            {"known_size", done->size}}
                           .dump());
    return 0;
  }
  fmt::print(
      "the relay's next start begins another audit log, whose first records are all changes "
      "of the store\n");
  if (!done->kept.empty()) fmt::print("the one that was there is kept as {}\n", done->kept);
  return 0;
}

}  // namespace sluice::cli
