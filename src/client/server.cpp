// Serving: one thread asks the daemon for calls, as many as are allowed answer them. A daemon that
// has ended took its calls along; the server waits for it and goes on.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <random>
#include <system_error>
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
constexpr uint16_t kMostStatus = 255;
constexpr uint16_t kTooLarge = 514;  // docs/calls.md

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
  out.verified = flag_of(call, "verified");
  out.trace = text_of(call, "trace");
  out.idempotency_key = text_of(call, "idempotency_key");
  out.capability = text_of(call, "capability");
  out.protocol = text_of(call, "protocol");
  out.service = static_cast<uint16_t>(number_of(call, "service"));
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
    threads_.reserve(options_.parallel);
    const json first = ask(options_.parallel, Milliseconds(0));
    try {
      asker_ = std::thread([this] {
        inside_ = this;
        run();
      });
    } catch (const std::system_error& e) {
      leave();
      throw Error("resource", fmt::format("there is no thread for the server: {}", e.what()));
    }
    guarded([&] { take(first); });
  }

  ~Impl() { stop(); }

  // From a handler or a hook it only says so: what runs there is what the end waits for.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      stopping_ = true;
    }
    changed_.notify_all();
    nudge();
    if (inside_ == this) return;
    const std::lock_guard one(ending_);
    if (!asker_.joinable()) return;
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, kDrainPoll, [&] { return asked_last_; })) break;
      }
      nudge();  // a question may have left after the one before
    }
    asker_.join();
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& t : threads_) t.join();
    leave();
  }

 private:
  using Flag = std::shared_ptr<std::atomic<bool>>;
  struct Work {
    std::string call;
    IncomingCall in;
    Flag cancelled;
  };

  // Whatever goes wrong in the library or in the program's hooks ends no thread of the program.
  template <typename Do>
  static bool guarded(Do what) noexcept {
    try {
      what();
      return true;
    } catch (...) {
      return false;
    }
  }

  json ask(unsigned slots, Milliseconds wait) {
    return transport_.get(
        fmt::format("/v1/serve?server={}&slots={}&wait_ms={}", name_, slots, wait.count()),
        wait + Transport::kAnswer);
  }

  // Answers the question that waits, too. Where the daemon is not there, no call is, either.
  void nudge() {
    guarded([&] { take(ask(0, Milliseconds(0))); });
  }

  void leave() {
    guarded([&] { transport_.del("/v1/serve?server=" + name_); });
  }

  void take(const json& answer) {
    std::deque<Work> nobodys;
    {
      const std::lock_guard lock(mutex_);
      busy_ = number_of(answer, "busy");
      for (const std::string& call : texts_of(answer, "cancelled")) {
        if (const auto it = running_.find(call); it != running_.end()) it->second->store(true);
      }
      for (const json& call : rows_of(answer, "calls")) {
        Work work{text_of(call, "call"), incoming(call),
                  std::make_shared<std::atomic<bool>>(false)};
        work.in.cancelled = [flag = work.cancelled] { return flag->load(); };
        running_[work.call] = work.cancelled;
        queue_.push_back(std::move(work));
      }
      while (idle_ < queue_.size() && threads_.size() < options_.parallel && start_thread()) {
      }
      if (threads_.empty()) {
        for (const Work& work : queue_) running_.erase(work.call);
        nobodys.swap(queue_);
      }
    }
    changed_.notify_all();
    for (const Work& work : nobodys) post(work.call, Answer(std::string(), kThrown));
  }

  bool start_thread() {
    const bool started = guarded([&] {
      threads_.emplace_back([this] {
        inside_ = this;
        work();
      });
    });
    idle_ += started ? 1 : 0;
    return started;
  }

  void run() {
    bool away = false, drained = false;
    while (!ends(away, drained)) {
      try {
        const bool draining = stops();
        const Milliseconds wait = draining ? kDrainPoll
                                  : away   ? Milliseconds(0)
                                           : Transport::kLongPoll;
        take(ask(draining ? 0 : options_.parallel, wait));
        drained = draining;
        if (std::exchange(away, false) && options_.on_back) guarded([&] { options_.on_back(); });
      } catch (const Error& why) {
        note_away(away, why);
      } catch (const std::exception& e) {
        note_away(away, Error("internal", fmt::format("the daemon's answer: {}", e.what())));
      }
    }
    const std::lock_guard lock(mutex_);
    asked_last_ = true;
    changed_.notify_all();
  }

  bool stops() {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  // Waits where the daemon is away. True: it is to stop, and nothing is left to be answered, which
  // the daemon has said since.
  bool ends(bool away, bool drained) {
    std::unique_lock lock(mutex_);
    if (away && !stopping_) {
      changed_.wait_for(lock, kRetry, [&] { return stopping_; });
    } else if (away) {
      changed_.wait_for(lock, kDrainPoll, [&] { return running_.empty(); });
    }
    return stopping_ && running_.empty() && (away || (drained && busy_ == 0));
  }

  void note_away(bool& away, const Error& why) {
    if (why.code() == "unreachable") {
      const std::lock_guard lock(mutex_);
      for (const auto& [call, flag] : running_) flag->store(true);
    }
    if (!std::exchange(away, true) && options_.on_away) guarded([&] { options_.on_away(why); });
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
    // What it says may be about what the caller is not to know.
    if (!guarded([&] { answer = handler_(work.in); })) answer = Answer(std::string(), kThrown);
    if (answer.data.size() > kMostBytes) answer = Answer(std::string(), kTooLarge);
    if (answer.status > kMostStatus && answer.status != kTooLarge) answer.status = kThrown;
    if (!post(work.call, answer)) post(work.call, Answer(std::string(), kThrown));
  }

  // False: the daemon did not take it, though it is there and waits for one.
  bool post(const std::string& call, const Answer& answer) {
    bool settled = true;
    const bool done = guarded([&] {
      try {
        transport_.post("/v1/serve/answer", {{"server", name_},
                                             {"call", call},
                                             {"status", answer.status},
                                             {"data", to_base64(answer.data)}});
      } catch (const Error& e) {
        // Else the caller is gone, or the daemon is: nobody is left to tell.
        settled = e.code() == "unreachable" || e.code() == "not_found";
      }
    });
    return done && settled;
  }

  static thread_local const Impl* inside_;  // whose thread this is

  Transport& transport_;
  const Handler handler_;
  const ServerOptions options_;
  const std::string name_ = fresh_name();
  std::mutex ending_;  // by whoever ends it
  std::mutex mutex_;   // of all that follows
  std::condition_variable changed_;
  bool stopping_ = false, asked_last_ = false, closed_ = false;
  std::deque<Work> queue_;
  std::map<std::string, Flag> running_;  // with a handler, or in the queue
  uint64_t busy_ = 0;  // calls that the daemon has for this server, as it said last
  size_t idle_ = 0;    // threads that wait for work, or are about to
  std::vector<std::thread> threads_;
  std::thread asker_;
};

thread_local const Server::Impl* Server::Impl::inside_ = nullptr;

Server::Server(Agent& agent, Handler handler, ServerOptions options)
    : impl_(
          std::make_unique<Impl>(agent.impl_->transport, std::move(handler), std::move(options))) {}
Server::~Server() = default;

void Server::stop() {
  impl_->stop();
}

}  // namespace sluice::client
