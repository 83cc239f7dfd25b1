// Serving: one thread asks the daemon for calls, as many as are allowed answer them. A daemon that
// has ended took its calls along; the server waits for it and goes on.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "client/agent_impl.h"

namespace sluice::client {

using nlohmann::json;

namespace {

constexpr unsigned kMostParallel = 256;
constexpr Milliseconds kRetry{1'000};
constexpr Milliseconds kDrainPoll{200};  // while the last handlers run
constexpr uint16_t kThrown = 1;

std::string fresh_name() {
  std::random_device entropy;
  return fmt::format("{:08x}{:08x}", entropy(), entropy());
}

IncomingCall incoming(const json& call) {
  IncomingCall out;
  out.data = bytes_of(call, "data");
  out.from = text_of(call, "from");
  out.name = text_of(call, "name");
  out.address = text_of(call, "address");
  out.verified = call.value("verified", false);
  out.trace = text_of(call, "trace");
  out.idempotency_key = text_of(call, "idempotency_key");
  out.capability = text_of(call, "capability");
  out.protocol = text_of(call, "protocol");
  out.service = call.value("service", uint16_t{0});
  out.scopes = texts_of(call, "scopes");
  return out;
}

}  // namespace

class __attribute__((visibility("hidden"))) Server::Impl {
 public:
  Impl(Transport& transport, Handler handler, ServerOptions options)
      : transport_(transport), handler_(std::move(handler)), options_(std::move(options)) {
    if (options_.parallel < 1 || options_.parallel > kMostParallel) {
      throw Error("usage",
                  fmt::format("parallel is {}; it is 1 to {}", options_.parallel, kMostParallel));
    }
    take(ask(options_.parallel, Milliseconds(0)));
    asker_ = std::thread([this] { run(); });
  }

  ~Impl() { stop(); }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(stopping_, true)) return;
    }
    changed_.notify_all();
    try {
      // Answers the question that waits, too.
      take(ask(0, Milliseconds(0)));
    } catch (const Error&) {
      // The daemon is not there: no call is, either.
    }
    asker_.join();
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& t : threads_) t.join();
    try {
      transport_.del("/v1/serve?server=" + name_);
    } catch (const Error&) {
    }
  }

 private:
  using Flag = std::shared_ptr<std::atomic<bool>>;
  struct Work {
    std::string call;
    IncomingCall in;
    Flag cancelled;
  };

  json ask(unsigned slots, Milliseconds wait) {
    return transport_.get(
        fmt::format("/v1/serve?server={}&slots={}&wait_ms={}", name_, slots, wait.count()),
        wait + Transport::kAnswer);
  }

  void take(const json& answer) {
    const std::lock_guard lock(mutex_);
    for (const std::string& call : texts_of(answer, "cancelled")) {
      if (const auto it = running_.find(call); it != running_.end()) it->second->store(true);
    }
    for (const json& call : rows_of(answer, "calls")) {
      Work work{text_of(call, "call"), incoming(call), std::make_shared<std::atomic<bool>>(false)};
      work.in.cancelled = [flag = work.cancelled] { return flag->load(); };
      running_[work.call] = work.cancelled;
      queue_.push_back(std::move(work));
    }
    while (idle_ < queue_.size() && threads_.size() < options_.parallel) {
      ++idle_;
      threads_.emplace_back([this] { work(); });
    }
    changed_.notify_all();
  }

  void run() {
    bool away = false;
    for (;;) {
      bool draining = false;
      {
        std::unique_lock lock(mutex_);
        if (away && !stopping_) {
          changed_.wait_for(lock, kRetry, [&] { return stopping_; });
        } else if (away) {
          changed_.wait_for(lock, kDrainPoll, [&] { return running_.empty(); });
        }
        draining = stopping_;
        if (draining && running_.empty()) return;
      }
      try {
        const json answer =
            draining ? ask(0, kDrainPoll)
                     : ask(options_.parallel, away ? Milliseconds(0) : Transport::kLongPoll);
        if (std::exchange(away, false) && options_.on_back) options_.on_back();
        take(answer);
      } catch (const Error& why) {
        note_away(away, why);
      } catch (const json::exception& e) {
        note_away(away, Error("internal", fmt::format("the daemon's answer: {}", e.what())));
      }
    }
  }

  void note_away(bool& away, const Error& why) {
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [call, flag] : running_) flag->store(true);
    }
    if (!std::exchange(away, true) && options_.on_away) options_.on_away(why);
  }

  void work() {
    for (;;) {
      Work mine;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
        if (queue_.empty()) return;
        mine = std::move(queue_.front());
        queue_.pop_front();
        --idle_;
      }
      answer(mine);
      {
        const std::lock_guard lock(mutex_);
        running_.erase(mine.call);
        ++idle_;
      }
      changed_.notify_all();
    }
  }

  void answer(const Work& work) {
    Answer answer;
    try {
      answer = handler_(work.in);
    } catch (...) {
      // What it says may be about what the caller is not to know.
      answer = Answer(std::string(), kThrown);
    }
    try {
      transport_.post("/v1/serve/answer", {{"server", name_},
                                           {"call", work.call},
                                           {"status", answer.status},
                                           {"data", to_base64(answer.data)}});
    } catch (const Error&) {
      // The caller is gone, or the daemon is: nobody is left to tell.
    }
  }

  Transport& transport_;
  const Handler handler_;
  const ServerOptions options_;
  const std::string name_ = fresh_name();
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false, closed_ = false;
  std::deque<Work> queue_;
  std::map<std::string, Flag> running_;  // with a handler, or in the queue
  size_t idle_ = 0;                      // threads that wait for work, or are about to
  std::vector<std::thread> threads_;
  std::thread asker_;
};

Server::Server(Agent& agent, Handler handler, ServerOptions options)
    : impl_(
          std::make_unique<Impl>(agent.impl_->transport, std::move(handler), std::move(options))) {}
Server::~Server() = default;

void Server::stop() {
  impl_->stop();
}

}  // namespace sluice::client
