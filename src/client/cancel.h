// What a Cancel does to the calls that have it. Any thread.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <mutex>

#include "sluice/agent.h"

namespace sluice::client {

struct Cancel::State {
  std::mutex mutex;  // held while hooks run, so that none runs after it was taken away
  std::atomic<bool> asked{false};
  std::list<std::function<void()>> hooks;
};

}  // namespace sluice::client
