// The commands of sluice-pcap. Each returns an error or the exit code of a success that is not
// quite one.
#pragma once

#include <string>

#include "base/error.h"
#include "pcap/packet_finder.h"

namespace sluice::capture {

struct DecryptCommand {
  std::string key_log, in, out;
  uint16_t port = kTunnelPort;
  bool json = false;
};
// kNotFound's exit code where there was something to open and nothing could be.
Result<int> run_decrypt(const DecryptCommand& command);

struct ShowCommand {
  std::string in;
  uint16_t port = kTunnelPort;
  bool json = false;
};
Result<int> run_show(const ShowCommand& command);

}  // namespace sluice::capture
