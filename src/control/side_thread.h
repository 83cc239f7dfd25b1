// A thread for what takes its time and is nobody's hot path: key derivation, a TPM, small files.
// One thing after another. Owned by the control thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace sluice::control {

class SideThread {
 public:
  // Hands a closure to the control thread; outlives this.
  using Post = std::function<void(std::function<void()>)>;
  // Runs on the thread; what it returns runs on the control thread.
  using Work = std::function<std::function<void()>()>;

  SideThread(const char* name, Post post);
  // Gives up what is queued. What is under way is waited for, but not longer than a moment: a TPM
  // that hangs must not keep the relay from stopping.
  ~SideThread();
  SideThread(const SideThread&) = delete;
  SideThread& operator=(const SideThread&) = delete;

  void run(Work work);

 private:
  // Shared with the thread, which may be left behind.
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Work> queue;
    bool stopping = false;
    bool ended = false;
    Post post;
  };
  static void serve(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace sluice::control
