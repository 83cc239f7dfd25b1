// What an Agent and its Servers share.
#pragma once

#include "client/transport.h"

namespace sluice::client {

class __attribute__((visibility("hidden"))) Agent::Impl {
 public:
  explicit Impl(const std::string& state) : transport(state) {}
  Transport transport;
};

}  // namespace sluice::client
