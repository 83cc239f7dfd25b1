#include "control/admin_audit.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/check.h"
#include "audit/record_json.h"
#include "audit/tile_source.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr uint64_t kMostRecords = 1000;
// Each takes a tenth of a millisecond of the log's thread.
constexpr uint64_t kMostProofs = 32;
// Looked at for one answer, however few of them are the caller's.
constexpr uint64_t kMostLookedAt = 64 * audit::kTileWidth;

struct Wanted {
  uint64_t from = 0;
  uint64_t limit = 0;
  bool proofs = false;
  std::optional<uint16_t> tenant;  // only what concerns its agents

  bool fits(const audit::Record& r) const {
    if (!tenant) return true;
    const audit::Header h = audit::header_of(r);
    const auto of = [&](VirtualAddress a) { return a.to_u64() != 0 && a.tenant == *tenant; };
    return of(h.subject) || of(h.object);
  }
};

// Reads each file once for an answer.
class OnceSource : public audit::FolderSource {
 public:
  using FolderSource::FolderSource;
  Result<std::string> checkpoint() override {
    return once("checkpoint", [this] { return FolderSource::checkpoint(); });
  }
  Result<std::string> read(const audit::Tile& tile) override {
    return once(audit::path_of(tile), [this, &tile] { return FolderSource::read(tile); });
  }

 private:
  template <typename F>
  Result<std::string> once(const std::string& path, F&& read) {
    const auto at = read_.find(path);
    return at != read_.end() ? at->second : read_.emplace(path, read()).first->second;
  }
  std::map<std::string, Result<std::string>> read_;
};

// As sluicectl audit prove --json has it.
Result<json> proven(audit::TileSource& source, const audit::Verifier& log, uint64_t index) {
  audit::Record record;
  const auto proof = audit::prove(source, log, index, record);
  if (!proof) return tl::unexpected(proof.error());
  return json{{"record", audit::to_json(index, record)},
              {"bytes", crypto::to_base64(record)},
              {"proof", *proof}};
}

// On the log's thread, which meanwhile neither writes nor prunes.
Result<json> read_records(audit::Writer& writer, const std::string& folder, const Wanted& w) {
  const audit::WriterStatus status = writer.status();
  const auto verifier = audit::Verifier::parse(status.verifier);
  const uint64_t size = status.published.size;
  OnceSource source(folder);
  json out = json::array();
  uint64_t next = std::clamp(w.from, status.first, std::max(size, status.first));
  const uint64_t end = std::min(size, next + kMostLookedAt);
  while (next < end && out.size() < w.limit) {
    const auto bundle = audit::read_records(source, next / audit::kTileWidth, size);
    if (!bundle) return tl::unexpected(bundle.error());
    for (size_t i = next % audit::kTileWidth; i < bundle->size() && out.size() < w.limit; ++i) {
      const audit::Record& r = (*bundle)[i];
      if (w.fits(r) && w.proofs) {
        auto one = proven(source, *verifier, next);
        if (!one) return tl::unexpected(std::move(one.error()));
        out.push_back(std::move(*one));
      } else if (w.fits(r)) {
        out.push_back(audit::to_json(next, r));
      }
      ++next;
    }
  }
  return json{{"records", out}, {"next", next}, {"size", size}, {"first", status.first}};
}

}  // namespace

void AdminAudit::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/audit", Role::kAuditor, true,
                    [this](const AdminCall&, http::Respond r) { r(status()); }});
  routes.push_back({"GET", "/v1/audit/records", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { records(c, std::move(r)); }});
  // Whole bundles, of all tenants.
  routes.push_back({"GET", "/v1/audit/file", Role::kAuditor, true,
                    [this](const AdminCall& c, http::Respond r) { file(c, std::move(r)); }});
}

http::Response AdminAudit::status() const {
  const audit::WriterStatus s = control_.audit().writer().status();
  const AuditTrail::Options& o = control_.audit().options();
  const Forecast disk = control_.audit().forecast();
  const std::string& alert = control_.audit().alert();
  const auto bound = [](uint64_t n) { return n == 0 ? json() : json(n); };
  return ok({{"folder", control_.audit().folder()},
             {"verifier", s.verifier},
             {"size", s.published.size},
             {"root", crypto::to_base64(s.published.root)},
             {"first", s.first},
             {"unpublished", s.size - std::min(s.size, s.published.size)},
             {"available", s.available},
             {"problem", s.problem.empty() ? json() : json(s.problem)},
             {"lost", s.lost},
             {"free_bytes", s.free_bytes},
             {"kept_bytes", (s.size - std::min(s.size, s.first)) * audit::kBytesOnDisk},
             {"keep_for_s", bound(o.retention.keep_for_ms / 1000)},
             {"keep_bytes", bound(o.retention.keep_bytes)},
             {"when_unavailable", o.when_unavailable == WhenUnavailable::kDeny ? "deny" : "count"},
             {"bytes_per_day", disk.bytes_per_day},
             {"days_left", disk.days_left ? json(*disk.days_left) : json()},
             {"forecast", disk.text},
             {"alert", alert.empty() ? json() : json(alert)}});
}

void AdminAudit::records(const AdminCall& call, http::Respond respond) {
  Wanted w;
  const auto from = query_number(call.request, "from", 0);
  const auto limit = query_number(call.request, "limit", 100);
  for (const auto* n : {&from, &limit}) {
    if (!*n) return respond(http::error_response(n->error()));
  }
  if (const auto p = call.request.query.find("proofs"); p != call.request.query.end()) {
    if (p->second != "true" && p->second != "false") {
      return respond(refused(ErrorCode::kUsage, "\"proofs\" is true or false"));
    }
    w.proofs = p->second == "true";
  }
  const uint64_t most = w.proofs ? kMostProofs : kMostRecords;
  if (*limit == 0 || *limit > most) {
    return respond(refused(ErrorCode::kUsage, fmt::format("\"limit\" is 1 to {}{}", most,
                                                          w.proofs ? " with proofs" : "")));
  }
  w.from = *from;
  w.limit = *limit;
  w.tenant = call.caller.tenant;
  if (const auto t = call.request.query.find("tenant"); t != call.request.query.end()) {
    const auto tenant = control_.enrolment().tenant(t->second);
    if (!tenant) return respond(http::error_response(tenant.error()));
    if (auto may = may_touch(call.caller, *tenant); !may) {
      return respond(http::error_response(may.error()));
    }
    w.tenant = *tenant;
  }
  audit::Writer& writer = control_.audit().writer();
  writer.beside(
      [&writer, folder = control_.audit().folder(), w, respond]() -> std::function<void()> {
        auto page = read_records(writer, folder, w);
        return [page = std::move(page), respond] {
          respond(page ? ok(*page) : http::error_response(page.error()));
        };
      });
}

void AdminAudit::file(const AdminCall& call, http::Respond respond) {
  const auto path = call.request.query.find("path");
  const std::string name = path == call.request.query.end() ? "" : path->second;
  const auto tile = audit::tile_at(name);
  if (name != "checkpoint" && name != "pruned" && !tile) {
    return respond(refused(ErrorCode::kUsage,
                           "\"path\" is checkpoint, pruned, or a tile's such as tile/0/000 or "
                           "tile/entries/x001/234.p/56"));
  }
  control_.audit().writer().beside(
      [folder = control_.audit().folder(), tile, name, respond]() -> std::function<void()> {
        audit::FolderSource source(folder);
        auto content = tile               ? source.read(*tile)
                       : name == "pruned" ? source.pruned()
                                          : source.checkpoint();
        if (!content && content.error().code == ErrorCode::kNotFound) {
          content = fail(ErrorCode::kNotFound,
                         "the audit log has no such file, or it was pruned (sluicectl audit "
                         "status)");
        }
        return [content = std::move(content), tile, respond] {
          if (!content) return respond(http::error_response(content.error()));
          respond({200, tile ? "application/octet-stream" : "text/plain; charset=utf-8", *content});
        };
      });
}

}  // namespace sluice::control
