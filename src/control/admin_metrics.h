// GET /metrics for Prometheus: on the admin socket, and, where the configuration says so, on a TCP
// port of its own that serves nothing else. Control's own figures are sampled on the control
// thread; what is long, workers' figures and the text, is made on a thread beside it.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

// Control thread, but for what runs on the thread that it owns.
class AdminMetrics {
 public:
  explicit AdminMetrics(Control& control);
  ~AdminMetrics();
  void add_routes(AdminRoutes& routes);

  // What the port answers, whoever asks: reads, and there only /metrics.
  void answer(const http::Request& request, http::Respond respond);

 private:
  void scrape(http::Respond respond);
  void begin();
  void finish(std::string text);
  void run();

  Control& control_;
  std::string text_;                    // of the last scrape
  uint64_t made_at_ = 0;                // ticks; 0: never
  uint64_t began_at_ = 0;               // of the one under way
  double took_us_ = 0;                  // of the control thread
  std::vector<http::Respond> waiting_;  // for the one under way

  std::mutex mutex_;
  std::condition_variable wake_;
  std::function<void()> job_;  // under mutex_
  bool stop_ = false;          // under mutex_
  std::thread thread_;
  // What was posted may come after this is gone.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::control
