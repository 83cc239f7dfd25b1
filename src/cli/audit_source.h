// What the commands of sluicectl audit share: where a log is read from, whom to believe, and how a
// record is shown. Command-line thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "audit/note.h"
#include "audit/tile_source.h"
#include "cli/audit.h"

namespace sluice::cli {

// The folder that was named, or the relay, which `client` must outlive.
std::unique_ptr<audit::TileSource> audit_source(const Client& client, const AuditOptions& options);
// Who does not say whom takes the log's own word, and is told so.
Result<audit::Verifier> audit_verifier(const Client& client, const AuditOptions& options);

std::string record_time(uint64_t ms);
// In one line, as JSON where the client wants that.
void print_record(const Client& client, const nlohmann::json& record);

// On a terminal, once a second.
class AuditProgress {
 public:
  void operator()(uint64_t done, uint64_t size);
  ~AuditProgress();

 private:
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

}  // namespace sluice::cli
