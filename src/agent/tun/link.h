// The TUN device on the daemon's event loop (docs/tun.md): reads while the UDP socket takes more,
// keeps the device's address and MTU to what the relay says. One thread, that of the event loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <nlohmann/json_fwd.hpp>

#include "agent/jobs.h"
#include "agent/report.h"
#include "agent/tun/bridge.h"
#include "agent/tun/device.h"

namespace sluice::agent {

struct TunLinkHooks {
  std::function<bool(size_t datagrams)> room;  // for so many more before the kernel
  std::function<void()> kick;                  // something was handed to the agent
  std::function<Instant()> now;
  Report report;
};

class TunLink {
 public:
  TunLink(boost::asio::io_context& io, Agent& agent, const ByteArray<32>& relay_id,
          TunDevice device, TunLinkHooks hooks);

  void from_peer(const PeerEdge& from, Bytes packet) { bridge_.from_peer(from, packet); }
  // After each batch of whatever happened, before what is queued goes to the kernel; and after.
  void pump();
  void resume();
  // Now and then: that the device still is as it was set, and once more what did not succeed.
  void check();
  // Of `info`: device, address, mtu, counters.
  nlohmann::json describe() const;

 private:
  void configure();
  void wait_readable();
  void on_readable();

  Agent& agent_;
  TunDevice device_;
  TunLinkHooks hooks_;
  TunBridge bridge_;
  boost::asio::posix::stream_descriptor events_;
  bool waiting_ = false;
  bool up_ = false;
  bool gone_ = false;      // somebody removed the device
  bool refused_ = false;   // not tried again before the next check
  size_t wanted_ = 0;      // the MTU that was asked for
  size_t mtu_ = 0;         // and what the device has
  std::string complaint_;  // what was said last, so that it is said once
};

}  // namespace sluice::agent
