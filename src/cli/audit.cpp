#include "cli/audit.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "audit/check.h"
#include "audit/log.h"
#include "audit/record_json.h"
#include "base/byte_size.h"
#include "base/duration.h"
#include "base/file.h"
#include "cli/table.h"
#include "cli/views.h"
#include "control/store_restore.h"
#include "crypto/text.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr uint64_t kPage = 1000;
constexpr uint64_t kPageOfProofs = 32;
constexpr auto kProgress = std::chrono::seconds(1);

// The published files of a log, over the admin API.
class RelaySource : public audit::TileSource {
 public:
  explicit RelaySource(const Client& client) : client_(client) {}
  Result<std::string> checkpoint() override { return get("checkpoint"); }
  Result<std::string> pruned() override { return get("pruned"); }
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
  if (o.with_proofs) out += "&proofs=true";
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

// Not on standard output, which is the export.
static void say_pruned(uint64_t from, uint64_t first) {
  fmt::print(stderr, "records {} to {} are not there: they were pruned\n", from, first - 1);
}

// Nothing is handed out that is not as it was signed.
static int export_folder(const Client& client, const Client& lines, const AuditOptions& o) {
  if (!o.tenant.empty() || o.with_proofs) {
    return client.report(
        {ErrorCode::kUsage, "--tenant and --with-proofs are for a relay's log, not for --folder"});
  }
  const auto log = verifier_of(client, o);
  if (!log) return client.report(log.error());
  const auto source = source_of(client, o);
  Progress progress;
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

int audit_export(const Client& client, const AuditOptions& o) {
  Client lines = client;
  lines.as_json = true;
  if (!o.folder.empty()) return export_folder(client, lines, o);
  Progress progress;
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
  audit::Pruned pruned;
  check.pruned = [&](const audit::Pruned& p) { pruned = p; };
  Progress progress;
  check.progress = std::ref(progress);
  const auto source = source_of(client, o);
  const auto head = audit::check_log(*source, *log, check);
  if (!head) return client.report(head.error());
  const audit::Pruning& gone = pruned.what;
  const char* why = gone.why == audit::Prune::kAge ? "age" : "bytes";
  if (client.as_json) {
    fmt::print("{}\n", json{{"origin", head->origin},
                            {"size", head->size},
                            {"root", crypto::to_base64(head->root)},
                            {"verifier", log->text()},
                            {"verifier_given", !o.verifier.empty()},
                            {"continues", check.earlier ? json(check.earlier->size) : json()},
                            {"gaps", gaps},
                            {"missing", missing},
                            {"first", gone.to},
                            {"pruned", gone.to == 0 ? json()
                                                    : json{{"by_record", pruned.record},
                                                           {"reason", why},
                                                           {"limit", gone.limit},
                                                           {"time_ms", gone.time_ms}}}}
                           .dump());
    return 0;
  }
  if (gone.to == 0) {
    fmt::print("{}: {} records are what was signed; root {}\n", head->origin, grouped(head->size),
               crypto::to_base64(head->root));
  } else {
    fmt::print(
        "{}: of {} records the {} that are kept, from {} on, are what was signed; root {}\n"
        "records 0 to {} were pruned, the last of them on {} by {}: record {} says so\n",
        head->origin, grouped(head->size), grouped(head->size - gone.to), gone.to,
        crypto::to_base64(head->root), gone.to - 1, time_text(gone.time_ms),
        gone.why == audit::Prune::kAge
            ? fmt::format("age (older than {})", duration_text(gone.limit / 1000))
            : fmt::format("size (more than {})", bytes_text(gone.limit)),
        pruned.record);
  }
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

// One line of export --with-proofs, or of prove --json: that the bytes are in the log, and that the
// JSON beside them says what they say.
static Result<audit::Checkpoint> check_line(std::string_view line, const audit::Verifier& log) {
  const auto malformed = [] {
    return fail(ErrorCode::kUsage, "not a line of sluicectl audit export --with-proofs");
  };
  const json parsed = json::parse(line, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("record")) return malformed();
  const auto bytes = parsed.find("bytes"), proof = parsed.find("proof");
  if (bytes == parsed.end() || proof == parsed.end() || !bytes->is_string() ||
      !proof->is_string()) {
    return malformed();
  }
  const auto raw = crypto::from_base64(bytes->get<std::string>());
  audit::Record record{};
  if (!raw || raw->size() != record.size()) return malformed();
  std::memcpy(record.data(), raw->data(), record.size());
  uint64_t index = 0;
  auto head = audit::check_proof(proof->get<std::string>(), log, record, index);
  if (head && parsed["record"] != audit::to_json(index, record)) {
    return fail(ErrorCode::kStore,
                fmt::format("the proof holds for record {}, but the JSON beside it says something "
                            "else",
                            index));
  }
  return head;
}

static int check_export(const Client& client, const AuditOptions& o) {
  const auto log = verifier_of(client, o);
  if (!log) return client.report(log.error());
  std::ifstream in(o.proof);
  uint64_t number = 0, largest = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const auto head = check_line(line, *log);
    if (!head) {
      return client.report({head.error().code,
                            fmt::format("{}: line {}: {}", o.proof, number, head.error().message)});
    }
    largest = std::max(largest, head->size);
  }
  if (client.as_json) {
    fmt::print("{}\n",
               json{{"origin", log->origin}, {"records", number}, {"size", largest}}.dump());
  } else {
    fmt::print("{} records are in {}, signed at {} records; that none was left out is not proven\n",
               grouped(number), log->origin, grouped(largest));
  }
  return 0;
}

int audit_check_proof(const Client& client, const AuditOptions& o) {
  if (std::ifstream(o.proof).peek() == '{') return check_export(client, o);
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
