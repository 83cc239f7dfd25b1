// The daemon's configuration, STATE/agent.yaml (docs/http.md, docs/egress.md); where there is none,
// all is default. Plain values.
#pragma once

#include <string>
#include <vector>

#include "agent/front/front.h"
#include "agent/front/upstream_config.h"

namespace sluice::agent {

struct Settings {
  FrontConfig front;
  std::vector<UpstreamConfig> serve;      // egress among them
  std::vector<std::string> egress_allow;  // hosts that every egress may reach
  std::string tun;                        // name of the TUN device; empty: none (docs/tun.md)
  std::string key_log;                    // empty: none is written (docs/capture.md)
};

std::string settings_path(const std::string& state);
// kUsage: everything that is wrong with it, a line each.
Result<Settings> load_settings(const std::string& path);

}  // namespace sluice::agent
