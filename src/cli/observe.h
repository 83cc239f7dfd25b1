// sluicectl latency, trace and events: how fast, what became of a call, what happens now.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/client.h"

namespace CLI {
class App;
}

namespace sluice::cli {

class Observe {
 public:
  explicit Observe(CLI::App& app);  // adds the commands; must outlive the parsing

  // The exit code of the one that was given; none: another command was.
  std::optional<int> run(const Client& client) const;

 private:
  int trace(const Client& client) const;
  int events(const Client& client) const;

  CLI::App *latency_, *trace_, *events_;
  std::string id_, since_ = "24h", until_;
  bool follow_ = false;
  std::string kind_, tenant_;
};

}  // namespace sluice::cli
