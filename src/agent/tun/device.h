// The kernel's end: a TUN device of our own (Documentation/networking/tuntap.rst), with
// virtio-net headers, so that the kernel leaves segmentation and checksums to us and takes what was
// put together. Needs CAP_NET_ADMIN, or a device that somebody made for this user. It is gone when
// this is destroyed, unless it was there before. One thread.
#pragma once

#include <string>

#include "agent/tun/net.h"
#include "agent/tun/packet.h"
#include "base/error.h"
#include "base/file.h"

namespace sluice::agent {

class TunDevice {
 public:
  static constexpr size_t kMostName = 15;

  // kNoPrivilege, kConflict (somebody has it open), kUsage (a name that no device can have).
  static Result<TunDevice> open(const std::string& name);

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }

  // Sets the address with the net's prefix, so that the kernel routes the net to the device; the
  // MTU; and brings the device up.
  // What is so already needs no privilege, nor does a smaller MTU that somebody chose.
  Result<void> set_address(const Ip6& address);
  Result<void> set_mtu(size_t mtu);
  Result<void> bring_up();

  // The next packet, in `buffer`, after its header. Empty: none waits. Valid until the next read.
  MutBytes read(VnetHeader& header);
  // False: the kernel did not take it; errno says why.
  bool write(const VnetHeader& header, Bytes packet);

 private:
  TunDevice(Fd fd, Fd control, std::string name);
  bool has(const Ip6& address) const;

  Fd fd_;
  Fd control_;  // a socket, for the device's settings
  std::string name_;
  Buffer buffer_;
};

}  // namespace sluice::agent
