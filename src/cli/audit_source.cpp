#include "cli/audit_source.h"

#include <unistd.h>

#include <cstdio>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "audit/log.h"
#include "base/file.h"
#include "cli/table.h"
#include "cli/views.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

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

// One record in one line, for people.
std::string line_of(const json& r) {
  std::string out = fmt::format("{:>8}  {}  {:<10}", r["index"].get<uint64_t>(),
                                record_time(r["time_ms"]), text(r["kind"]));
  for (const auto& [key, value] : r.items()) {
    if (key == "index" || key == "time_ms" || key == "kind" || key == "source" || key == "digest" ||
        value.is_null()) {
      continue;
    }
    out += fmt::format("  {} {}", key, text(value));
  }
  return out;
}

}  // namespace

std::unique_ptr<audit::TileSource> audit_source(const Client& client, const AuditOptions& o) {
  if (!o.folder.empty()) return std::make_unique<audit::FolderSource>(o.folder);
  return std::make_unique<RelaySource>(client);
}

Result<audit::Verifier> audit_verifier(const Client& client, const AuditOptions& o) {
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

std::string record_time(uint64_t ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03}", fmt::gmtime(static_cast<std::time_t>(ms / 1000)),
                     ms % 1000);
}

void print_record(const Client& client, const json& r) {
  fmt::print("{}\n", client.as_json ? r.dump() : line_of(r));
}

void AuditProgress::operator()(uint64_t done, uint64_t size) {
  const auto now = std::chrono::steady_clock::now();
  if (!isatty(STDERR_FILENO) || now - told_ < kProgress) return;
  told_ = now;
  shown_ = true;
  fmt::print(stderr, "\r{} of {} records ", grouped(done), grouped(size));
}

AuditProgress::~AuditProgress() {
  if (shown_) fmt::print(stderr, "\n");
}

}  // namespace sluice::cli
