#include "control/side_thread.h"

#include <chrono>

#include "base/thread.h"

namespace sluice::control {
namespace {

constexpr std::chrono::seconds kLongestStop{5};

}  // namespace

SideThread::SideThread(const char* name, Post post) {
  shared_->post = std::move(post);
  thread_ = start_thread(name, [shared = shared_] { serve(shared); });
}

SideThread::~SideThread() {
  std::unique_lock guard(shared_->mutex);
  shared_->stopping = true;
  shared_->queue.clear();
  shared_->changed.notify_all();
  const bool ended =
      shared_->changed.wait_for(guard, kLongestStop, [this] { return shared_->ended; });
  guard.unlock();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void SideThread::run(Work work) {
  const std::lock_guard guard(shared_->mutex);
  shared_->queue.push_back(std::move(work));
  shared_->changed.notify_all();
}

void SideThread::serve(const std::shared_ptr<Shared>& shared) {
  std::unique_lock guard(shared->mutex);
  for (;;) {
    shared->changed.wait(guard, [&] { return shared->stopping || !shared->queue.empty(); });
    if (shared->stopping) break;
    Work work = std::move(shared->queue.front());
    shared->queue.pop_front();
    guard.unlock();
    auto then = work();
    work = {};  // what it held, secrets among it, goes before anybody hears of its end
    guard.lock();
    if (!shared->stopping) shared->post(std::move(then));
  }
  shared->ended = true;
  shared->changed.notify_all();
}

}  // namespace sluice::control
