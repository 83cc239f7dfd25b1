#include "cli/audit.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "audit/check.h"
#include "audit/log.h"
#include "audit/record_json.h"
#include "base/file.h"
#include "cli/table.h"
#include "cli/views.h"
#include "control/store_restore.h"
#include "crypto/text.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr uint64_t kPage = 1000;
constexpr auto kProgress = std::chrono::seconds(1);

// The published files of a log, over the admin API.
class RelaySource : public audit::TileSource {
 public:
  explicit RelaySource(const Client& client) : client_(client) {}
  Result<std::string> checkpoint() override { return get("checkpoint"); }
  Result<std::string> read(const audit::Tile& tile) override { return get(audit::path_of(tile)); }

 private:
  Result<std::string> get(const std::string& path) const {
    return client_.fetch("/v1/audit/file?path=" + path);
  }
  const Client& client_;
};

std::unique_ptr<audit::TileSource> source_of(const Client& client, const AuditOptions& o) {
  if (!o.folder.empty()) return std::make_unique<audit::FolderSource>(o.folder);
  return std::make_unique<RelaySource>(client);
}

// Whom to believe. Who does not say takes the log's own word, and is told so.
Result<audit::Verifier> verifier_of(const Client& client, const AuditOptions& o) {
  std::string text = o.verifier;
  if (text.empty() && !o.folder.empty()) {
    auto read = read_file(audit::verifier_path(o.folder), 1024);
    if (!read) return tl::unexpected(read.error());
    text = *read;
  } else if (text.empty()) {
    const auto status = client.call("GET", "/v1/audit");
    if (!status) return tl::unexpected(status.error());
    text = (*status)["verifier"].get<std::string>();
  } else if (auto read = read_file(o.verifier, 1024)) {
    text = *read;
  }
  const auto out = audit::Verifier::parse(text);
  if (!out) {
    return fail(ErrorCode::kUsage,
                "--verifier is neither a log's verifier (ORIGIN+HEX+BASE64, audit.vkey beside the "
                "log) nor a file that holds one");
  }
  return *out;
}

std::string time_text(uint64_t ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03}", fmt::gmtime(static_cast<std::time_t>(ms / 1000)),
                     ms % 1000);
}

// One record in one line, for people.
std::string line_of(const json& r) {
  std::string out = fmt::format("{:>8}  {}  {:<10}", r["index"].get<uint64_t>(),
                                time_text(r["time_ms"]), text(r["kind"]));
  for (const auto& [key, value] : r.items()) {
    if (key == "index" || key == "time_ms" || key == "kind" || key == "source" || key == "digest" ||
        value.is_null()) {
      continue;
    }
    out += fmt::format("  {} {}", key, text(value));
  }
  return out;
}

void print_record(const Client& client, const json& r) {
  fmt::print("{}\n", client.as_json ? r.dump() : line_of(r));
}

std::string query(const AuditOptions& o, uint64_t from, uint64_t limit) {
  std::string out = fmt::format("/v1/audit/records?from={}&limit={}", from, limit);
  if (!o.tenant.empty()) out += "&tenant=" + o.tenant;
  return out;
}

class Progress {
 public:
  void operator()(uint64_t done, uint64_t size) {
    const auto now = std::chrono::steady_clock::now();
    if (!isatty(STDERR_FILENO) || now - told_ < kProgress) return;
    told_ = now;
    shown_ = true;
    fmt::print(stderr, "\r{} of {} records ", grouped(done), grouped(size));
  }
  ~Progress() {
    if (shown_) fmt::print(stderr, "\n");
  }

 private:
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

}  // namespace

int audit_status(const Client& client) {
  return client.show("/v1/audit", [](const json& s) {
    fmt::print("{} records in {}, signed as\n  {}\n", grouped(s["size"].get<uint64_t>()),
               text(s["folder"]), text(s["verifier"]));
    if (!s["available"].get<bool>()) fmt::print("NOT WRITTEN: {}\n", text(s["problem"]));
    if (s["lost"].get<uint64_t>() != 0) {
      fmt::print("{} records were lost since the start\n", grouped(s["lost"].get<uint64_t>()));
    }
    fmt::print("{} a day at this rate, {} free", with_unit_bytes(s["bytes_per_day"]),
               with_unit_bytes(s["free_bytes"]));
    if (!s["days_left"].is_null()) fmt::print(": {:.0f} days", s["days_left"].get<double>());
    fmt::print("\n");
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
  if (!o.folder.empty()) {
    // Nothing is handed out that is not as it was signed.
    if (!o.tenant.empty()) {
      return client.report({ErrorCode::kUsage, "--tenant is for a relay's log, not for --folder"});
    }
    const auto log = verifier_of(client, o);
    if (!log) return client.report(log.error());
    const auto source = source_of(client, o);
    Progress progress;
    auto head = audit::check_log(*source, *log, {.progress = std::ref(progress)});
    if (head) {
      head =
          audit::check_log(*source, *log, {.record = [&](uint64_t index, const audit::Record& r) {
            if (index >= o.from) print_record(lines, audit::to_json(index, r));
          }});
    }
    return head ? 0 : client.report(head.error());
  }
  Progress progress;
  for (uint64_t next = o.from;;) {
    const auto page = client.call("GET", query(o, next, kPage));
    if (!page) return client.report(page.error());
    for (const json& r : (*page)["records"]) print_record(lines, r);
    const uint64_t before = std::exchange(next, (*page)["next"].get<uint64_t>());
    progress(next, (*page)["size"]);
    if (next == before || next >= (*page)["size"].get<uint64_t>()) return 0;
  }
}

int audit_verify(const Client& client, const AuditOptions& o) {
  const auto log = verifier_of(client, o);
  if (!log) return client.report(log.error());
  audit::CheckOptions check;
  if (!o.earlier.empty()) {
    const auto note = read_file(o.earlier, 64u << 10);
    if (!note) return client.report(note.error());
    const auto earlier = audit::open_note(*note, *log);
    if (!earlier) {
      return client.report(
          {earlier.error().code, fmt::format("{}: {}", o.earlier, earlier.error().message)});
    }
    check.earlier = *earlier;
  }
  uint64_t gaps = 0, missing = 0;
  check.record = [&](uint64_t, const audit::Record& r) {
    if (audit::header_of(r).kind != audit::Kind::kGap) return;
    ++gaps;
    missing += load_le<uint64_t>(r.data() + 40);
  };
  Progress progress;
  check.progress = std::ref(progress);
  const auto source = source_of(client, o);
  const auto head = audit::check_log(*source, *log, check);
  if (!head) return client.report(head.error());
  if (client.as_json) {
    fmt::print("{}\n", json{{"origin", head->origin},
                            {"size", head->size},
                            {"root", crypto::to_base64(head->root)},
                            {"verifier", log->text()},
                            {"verifier_given", !o.verifier.empty()},
                            {"continues", check.earlier ? json(check.earlier->size) : json()},
                            {"gaps", gaps},
                            {"missing", missing}}
                           .dump());
    return 0;
  }
  fmt::print("{}: {} records are what was signed; root {}\n", head->origin, grouped(head->size),
             crypto::to_base64(head->root));
  if (check.earlier) {
    fmt::print("it continues the {} records of {}\n", grouped(check.earlier->size), o.earlier);
  }
  if (gaps != 0)
    fmt::print("{} gaps are said in it, {} records known to be missing\n", gaps, missing);
  if (o.verifier.empty()) {
    fmt::print(
        "by the log's own word for who signs it; give --verifier with a copy kept elsewhere:\n"
        "  {}\n",
        log->text());
  }
  return 0;
}

int audit_prove(const Client& client, const AuditOptions& o) {
  const auto log = verifier_of(client, o);
  if (!log) return client.report(log.error());
  const auto source = source_of(client, o);
  audit::Record record{};
  const auto proof = audit::prove(*source, *log, o.index, record);
  if (!proof) return client.report(proof.error());
  if (!o.out.empty()) {
    if (auto ok = write_file(o.out, as_bytes(*proof), 0644); !ok) return client.report(ok.error());
    if (auto ok = write_file(o.out + ".record", record, 0644); !ok) {
      return client.report(ok.error());
    }
    fmt::print("{0} proves the record in {0}.record\n", o.out);
    return 0;
  }
  if (client.as_json) {
    fmt::print("{}\n", json{{"record", audit::to_json(o.index, record)},
                            {"bytes", crypto::to_base64(record)},
                            {"proof", *proof}}
                           .dump());
  } else {
    fmt::print("{}", *proof);
  }
  return 0;
}

int audit_check_proof(const Client& client, const AuditOptions& o) {
  const auto text = read_file(o.proof, 64u << 10);
  if (!text) return client.report(text.error());
  const auto raw = read_file(o.proof + ".record", 1024);
  if (!raw) return client.report(raw.error());
  const auto log = verifier_of(client, o);
  if (!log) return client.report(log.error());
  audit::Record record{};
  if (raw->size() != record.size()) {
    return client.report(
        {ErrorCode::kUsage, fmt::format("{}.record is not a record of 128 bytes", o.proof)});
  }
  std::memcpy(record.data(), raw->data(), record.size());
  uint64_t index = 0;
  const auto head = audit::check_proof(*text, *log, record, index);
  if (!head) return client.report(head.error());
  print_record(client, audit::to_json(index, record));
  if (!client.as_json) {
    fmt::print("is record {} of {}, signed at {} records\n", index, head->origin, head->size);
  }
  return 0;
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
