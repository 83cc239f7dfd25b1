#include "agent/log_tail.h"

#include <mutex>

#include <spdlog/sinks/base_sink.h>

#include "base/log.h"

namespace sluice::agent {
namespace {

class TailSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit TailSink(std::shared_ptr<LogTail> tail) : tail_(std::move(tail)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::string text(line.data(), line.size());
    while (!text.empty() && text.back() == '\n') text.pop_back();
    tail_->add(std::move(text));
  }
  void flush_() override {}

 private:
  std::shared_ptr<LogTail> tail_;
};

}  // namespace

std::shared_ptr<LogTail> keep_log_tail() {
  auto tail = std::make_shared<LogTail>();
  auto sink = std::make_shared<TailSink>(tail);
  sink->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::default_logger()->sinks().push_back(std::move(sink));
  return tail;
}

}  // namespace sluice::agent
