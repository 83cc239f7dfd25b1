#include "control/admin_metrics.h"

#include <pthread.h>
#include <sched.h>

#include <iterator>

#include "base/thread.h"
#include "control/metrics.h"

namespace sluice::control {
namespace {

// Who asks more often gets the same again.
constexpr uint64_t kFreshMs = 250;

}  // namespace

// Here and not with the first scrape: it must not inherit the control thread's scheduling.
AdminMetrics::AdminMetrics(Control& control) : control_(control) {
  thread_ = start_thread("metrics", [this] { run(); });
  const auto& spare = control_.around().spare_cores;
  if (spare.empty()) return;
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (const unsigned c : spare) CPU_SET(c, &cores);
  pthread_setaffinity_np(thread_.native_handle(), sizeof cores, &cores);
}

AdminMetrics::~AdminMetrics() {
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void AdminMetrics::add_routes(AdminRoutes& routes) {
  // Of all tenants.
  routes.push_back({"GET", "/metrics", Role::kAuditor, true,
                    [this](const AdminCall&, http::Respond r) { scrape(std::move(r)); }});
}

void AdminMetrics::answer(const http::Request& request, http::Respond respond) {
  if (request.path != "/metrics") {
    return respond(refused(ErrorCode::kNotFound, "this port has GET /metrics and nothing else"));
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return respond(refused(ErrorCode::kPermission, "this port is read only: GET /metrics"));
  }
  scrape(std::move(respond));
}

void AdminMetrics::scrape(http::Respond respond) {
  const Clock& clock = control_.around().clock;
  const bool fresh = made_at_ != 0 && clock.ticks() - made_at_ < clock.ticks_from_ms(kFreshMs);
  waiting_.push_back(std::move(respond));
  if (waiting_.size() > 1) return;  // one is under way
  if (fresh) return finish(std::move(text_));
  begin();
}

void AdminMetrics::begin() {
  const auto& around = control_.around();
  began_at_ = around.clock.ticks();
  MetricFamilies own = control_metrics(control_, took_us_);
  took_us_ = around.clock.us_from_ticks(around.clock.ticks() - began_at_);
  {
    const std::lock_guard guard(mutex_);
    job_ = [this, &around, own = std::move(own), places = control_.trust().latency_places(),
            alive = std::weak_ptr(alive_)]() mutable {
      MetricFamilies all = dataplane_metrics(around.arena, around.clock, places);
      all.insert(all.end(), std::make_move_iterator(own.begin()),
                 std::make_move_iterator(own.end()));
      around.post([this, alive = std::move(alive), text = serialize(all)]() mutable {
        if (alive.expired()) return;
        made_at_ = began_at_;
        finish(std::move(text));
      });
    };
  }
  wake_.notify_one();
}

void AdminMetrics::finish(std::string text) {
  text_ = std::move(text);
  const std::vector<http::Respond> waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& respond : waiting) {
    respond({200, "text/plain; version=0.0.4; charset=utf-8", text_});
  }
}

void AdminMetrics::run() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock guard(mutex_);
      wake_.wait(guard, [this] { return stop_ || job_; });
      if (stop_) return;
      job.swap(job_);
    }
    job();
  }
}

}  // namespace sluice::control
