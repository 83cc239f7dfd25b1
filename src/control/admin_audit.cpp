#include "control/admin_audit.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/record_json.h"
#include "audit/tile_source.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr uint64_t kMostRecords = 1000;
// Looked at for one answer, however few of them are the caller's.
constexpr uint64_t kMostLookedAt = 64 * audit::kTileWidth;

struct Wanted {
  uint64_t from = 0;
  uint64_t limit = 0;
  uint64_t size = 0;
  std::optional<uint16_t> tenant;  // only what concerns its agents

  bool fits(const audit::Record& r) const {
    if (!tenant) return true;
    const audit::Header h = audit::header_of(r);
    const auto of = [&](VirtualAddress a) { return a.to_u64() != 0 && a.tenant == *tenant; };
    return of(h.subject) || of(h.object);
  }
};

Result<json> read_records(const std::string& folder, const Wanted& w) {
  audit::FolderSource source(folder);
  json out = json::array();
  uint64_t next = w.from;
  const uint64_t end = std::min(w.size, w.from + kMostLookedAt);
  while (next < end && out.size() < w.limit) {
    const auto bundle = audit::read_records(source, next / audit::kTileWidth, w.size);
    if (!bundle) return tl::unexpected(bundle.error());
    for (size_t i = next % audit::kTileWidth; i < bundle->size() && out.size() < w.limit; ++i) {
      const audit::Record& r = (*bundle)[i];
      if (w.fits(r)) out.push_back(audit::to_json(next, r));
      ++next;
    }
  }
  return json{{"records", out}, {"next", next}, {"size", w.size}};
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
  const auto days_left = control_.audit_days_left();
  return ok({{"folder", control_.audit().folder()},
             {"verifier", s.verifier},
             {"size", s.published.size},
             {"root", crypto::to_base64(s.published.root)},
             {"unpublished", s.size - std::min(s.size, s.published.size)},
             {"available", s.available},
             {"problem", s.problem.empty() ? json() : json(s.problem)},
             {"lost", s.lost},
             {"free_bytes", s.free_bytes},
             {"bytes_per_day", static_cast<uint64_t>(control_.audit_bytes_per_day())},
             {"days_left", days_left ? json(*days_left) : json()}});
}

void AdminAudit::records(const AdminCall& call, http::Respond respond) {
  Wanted w;
  const auto from = query_number(call.request, "from", 0);
  const auto limit = query_number(call.request, "limit", 100);
  for (const auto* n : {&from, &limit}) {
    if (!*n) return respond(http::error_response(n->error()));
  }
  if (*limit == 0 || *limit > kMostRecords) {
    return respond(refused(ErrorCode::kUsage, fmt::format("\"limit\" is 1 to {}", kMostRecords)));
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
  auto& writer = control_.audit().writer();
  w.size = writer.status().published.size;
  w.from = std::min(w.from, w.size);
  writer.beside([folder = control_.audit().folder(), w, respond]() -> std::function<void()> {
    auto page = read_records(folder, w);
    return [page = std::move(page), respond] {
      respond(page ? ok(*page) : http::error_response(page.error()));
    };
  });
}

void AdminAudit::file(const AdminCall& call, http::Respond respond) {
  const auto path = call.request.query.find("path");
  const bool note = path != call.request.query.end() && path->second == "checkpoint";
  const auto tile = path == call.request.query.end() ? std::nullopt : audit::tile_at(path->second);
  if (!note && !tile) {
    return respond(refused(ErrorCode::kUsage,
                           "\"path\" is checkpoint, or a tile's such as tile/0/000 or "
                           "tile/entries/x001/234.p/56"));
  }
  control_.audit().writer().beside(
      [folder = control_.audit().folder(), tile, respond]() -> std::function<void()> {
        audit::FolderSource source(folder);
        auto content = tile ? source.read(*tile) : source.checkpoint();
        if (!content && content.error().code == ErrorCode::kNotFound) {
          content = fail(ErrorCode::kNotFound, "the audit log has no such file");
        }
        return [content = std::move(content), tile, respond] {
          if (!content) return respond(http::error_response(content.error()));
          respond({200, tile ? "application/octet-stream" : "text/plain; charset=utf-8", *content});
        };
      });
}

}  // namespace sluice::control
