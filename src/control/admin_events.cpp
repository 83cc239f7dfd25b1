#include "control/admin_events.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/record_json.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr uint64_t kMost = 1000;           // events in one answer
constexpr uint64_t kLongestWait = 30'000;  // ms

struct RecordKind {
  audit::Kind kind;
  const char* name;
};
constexpr RecordKind kRecordKinds[] = {
#define X(id, number, name, text) {audit::Kind::id, name},
    SLUICE_AUDIT_KINDS(X)
#undef X
};

bool is_kind(const std::string& name) {
  const auto same = [&name](const auto& k) { return name == k.name; };
  return std::any_of(std::begin(kRecordKinds), std::end(kRecordKinds), same) ||
         std::any_of(std::begin(kEventKindTable), std::end(kEventKindTable), same);
}

std::string_view kind_of(const Event& e) {
  if (!e.record) return kEventKindTable[size_t(e.kind)].name;
  const audit::Kind kind = audit::header_of(*e.record).kind;
  for (const RecordKind& k : kRecordKinds) {
    if (k.kind == kind) return k.name;
  }
  return "unknown";
}

std::string all_kinds() {
  std::string out;
  for (const auto& k : kRecordKinds) out += fmt::format("{}, ", k.name);
  for (const auto& k : kEventKindTable) out += fmt::format("{}, ", k.name);
  out.resize(out.size() - 2);
  return out;
}

json to_json(uint64_t number, const Event& e) {
  json out;
  if (e.record) {
    out = audit::to_json(0, *e.record);
    out.erase("index");  // it has none yet
  } else {
    const EventKindInfo& info = kEventKindTable[size_t(e.kind)];
    out = {{"time_ms", e.time_ms},
           {"kind", info.name},
           {"source", "control"},
           {"subject", e.subject.empty() ? json() : json(e.subject)},
           {"object", nullptr},
           {"text", info.text},
           {"detail", e.detail.empty() ? json() : json(e.detail)}};
  }
  out["event"] = number;
  return out;
}

}  // namespace

struct AdminEvents::Watcher {
  uint64_t next = 0;   // the first number that was not looked at
  uint64_t until = 0;  // ticks
  uint64_t limit = kMost;
  uint64_t lost = 0;
  std::string kind;
  std::optional<uint16_t> tenant;
  json found = json::array();
  http::Respond respond;

  bool wants(const Event& e) const {
    if (tenant) {
      if (!e.record) return false;
      const audit::Header h = audit::header_of(*e.record);
      const auto of = [this](VirtualAddress a) { return a.to_u64() != 0 && a.tenant == *tenant; };
      if (!of(h.subject) && !of(h.object)) return false;
    }
    return kind.empty() || kind_of(e) == kind;
  }
};

void AdminEvents::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/events", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { events(c, std::move(r)); }});
}

void AdminEvents::events(const AdminCall& call, http::Respond respond) {
  const auto after = query_number(call.request, "after", 0);
  const auto limit = query_number(call.request, "limit", kMost);
  const auto wait = query_number(call.request, "wait_ms", 0);
  for (const auto* n : {&after, &limit, &wait}) {
    if (!*n) return respond(http::error_response(n->error()));
  }
  if (*limit == 0 || *limit > kMost) {
    return respond(refused(ErrorCode::kUsage, fmt::format("\"limit\" is 1 to {}", kMost)));
  }
  if (*wait > kLongestWait) {
    return respond(
        refused(ErrorCode::kUsage, fmt::format("\"wait_ms\" is at most {}", kLongestWait)));
  }
  const auto watcher = std::make_shared<Watcher>();
  if (const auto k = call.request.query.find("kind"); k != call.request.query.end()) {
    if (!is_kind(k->second)) {
      return respond(refused(ErrorCode::kUsage, fmt::format("there is no kind '{}'; one of: {}",
                                                            k->second, all_kinds())));
    }
    watcher->kind = k->second;
  }
  watcher->tenant = call.caller.tenant;
  if (const auto t = call.request.query.find("tenant"); t != call.request.query.end()) {
    const auto tenant = control_.enrolment().tenant(t->second);
    if (!tenant) return respond(http::error_response(tenant.error()));
    if (auto may = may_touch(call.caller, *tenant); !may) {
      return respond(http::error_response(may.error()));
    }
    watcher->tenant = *tenant;
  }
  const Events& all = control_.events();
  watcher->next = std::min(*after, all.next() - 1) + 1;
  watcher->limit = *limit;
  const Clock& clock = control_.around().clock;
  watcher->until = clock.ticks() + clock.ticks_from_ms(*wait);
  watcher->respond = std::move(respond);
  look(watcher);
}

void AdminEvents::look(const std::shared_ptr<Watcher>& w) {
  Events& all = control_.events();
  if (w->next < all.first()) {
    w->lost += all.first() - w->next;
    w->next = all.first();
  }
  for (; w->next < all.next() && w->found.size() < w->limit; ++w->next) {
    const Event& e = all.at(w->next);
    if (w->wants(e)) w->found.push_back(to_json(w->next, e));
  }
  const bool enough = !w->found.empty() || w->lost != 0;
  if (enough || control_.around().clock.ticks() >= w->until) {
    return w->respond(ok({{"events", std::move(w->found)},
                          {"last", w->next - 1},
                          {"lost", w->lost},
                          {"epoch", fmt::format("{:016x}", control_.epoch())}}));
  }
  if (!all.wait(w->next, w->until, [this, w] { look(w); })) {
    w->respond(refused(ErrorCode::kResource,
                       fmt::format("{} others wait for events already", Events::kMostWaiting)));
  }
}

}  // namespace sluice::control
