// sluicectl audit verify, prove, check-proof: what holds of a log, for who does not trust it.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include "audit/check.h"
#include "audit/record_json.h"
#include "base/byte_size.h"
#include "base/duration.h"
#include "base/file.h"
#include "cli/audit_source.h"
#include "cli/table.h"
#include "crypto/text.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

// One line of export --with-proofs, or of prove --json: that the bytes are in the log, and that the
// JSON beside them says what they say.
Result<audit::Checkpoint> check_line(std::string_view line, const audit::Verifier& log) {
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

int check_export(const Client& client, const AuditOptions& o) {
  const auto log = audit_verifier(client, o);
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

}  // namespace

int audit_verify(const Client& client, const AuditOptions& o) {
  const auto log = audit_verifier(client, o);
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
  AuditProgress progress;
  check.progress = std::ref(progress);
  const auto source = audit_source(client, o);
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
        crypto::to_base64(head->root), gone.to - 1, record_time(gone.time_ms),
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
  const auto log = audit_verifier(client, o);
  if (!log) return client.report(log.error());
  const auto source = audit_source(client, o);
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
  if (std::ifstream(o.proof).peek() == '{') return check_export(client, o);
  const auto text = read_file(o.proof, 64u << 10);
  if (!text) return client.report(text.error());
  const auto raw = read_file(o.proof + ".record", 1024);
  if (!raw) return client.report(raw.error());
  const auto log = audit_verifier(client, o);
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

}  // namespace sluice::cli
