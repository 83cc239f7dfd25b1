#include "agent/tun/device.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sluice::agent {
namespace {

constexpr const char* kPath = "/dev/net/tun";
constexpr size_t kMostPacket = 65'536;

// As <linux/ipv6.h> has it, which does not go together with the C library's.
struct AddressRequest {
  in6_addr address;
  uint32_t prefix;
  int device;
};

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= TunDevice::kMostName && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%';
         });
}

ifreq request_for(const std::string& name) {
  ifreq out{};
  std::copy_n(name.data(), std::min(name.size(), sizeof out.ifr_name - 1), out.ifr_name);
  return out;
}

tl::unexpected<Error> refused(const std::string& what, int error) {
  const bool privilege = error == EPERM || error == EACCES;
  return fail(privilege        ? ErrorCode::kNoPrivilege
              : error == EBUSY ? ErrorCode::kConflict
                               : ErrorCode::kResource,
              fmt::format("{}: {}", what, std::strerror(error)));
}

}  // namespace

TunDevice::TunDevice(Fd fd, Fd control, std::string name)
    : fd_(std::move(fd)),
      control_(std::move(control)),
      name_(std::move(name)),
      buffer_(sizeof(VnetHeader) + kMostPacket) {}

Result<TunDevice> TunDevice::open(const std::string& name) {
  if (!is_name(name)) {
    return fail(ErrorCode::kUsage, fmt::format("\"{}\" is no name of a device: 1 to {} letters, "
                                               "digits, dots and dashes, such as sluice0",
                                               name, kMostName));
  }
  Fd fd(::open(kPath, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) {
      return fail(ErrorCode::kResource,
                  fmt::format("{} is not there: modprobe tun loads the kernel's driver", kPath));
    }
    return refused(fmt::format("{} cannot be opened", kPath), errno);
  }
  ifreq request = request_for(name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    const int error = errno;
    auto out = refused(fmt::format("the TUN device {} cannot be had", name), error);
    if (error == EPERM) {
      out.value().message += fmt::format(
          "; give the daemon CAP_NET_ADMIN, or have root make the device for this user: "
          "ip tuntap add dev {} mode tun user $USER vnet_hdr (docs/tun.md)",
          name);
    }
    return out;
  }
  int header = sizeof(VnetHeader);
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header) != 0 ||
      ioctl(fd.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO6) != 0) {
    return refused(fmt::format("the TUN device {} takes no segmentation offload", name), errno);
  }
  Fd control(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return refused("IPv6 is off in this kernel", errno);
  return TunDevice(std::move(fd), std::move(control), request.ifr_name);
}

bool TunDevice::has(const Ip6& address) const {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return false;
  bool found = false;
  for (const ifaddrs* a = all; a != nullptr; a = a->ifa_next) {
    if (a->ifa_addr == nullptr || a->ifa_addr->sa_family != AF_INET6 || name_ != a->ifa_name) {
      continue;
    }
    sockaddr_in6 is{};
    std::memcpy(&is, a->ifa_addr, sizeof is);
    found = found || std::equal(address.begin(), address.end(), is.sin6_addr.s6_addr);
  }
  freeifaddrs(all);
  return found;
}

Result<void> TunDevice::set_address(const Ip6& address) {
  if (has(address)) return {};
  ifreq by_name = request_for(name_);
  if (ioctl(control_.get(), SIOCGIFINDEX, &by_name) != 0) {
    return refused(fmt::format("the TUN device {} is gone", name_), errno);
  }
  AddressRequest request{};
  std::copy(address.begin(), address.end(), request.address.s6_addr);
  request.prefix = TunNet::kPrefix;
  request.device = by_name.ifr_ifindex;
  if (ioctl(control_.get(), SIOCSIFADDR, &request) != 0 && errno != EEXIST) {
    return refused(
        fmt::format("the TUN device {} does not get the address {}", name_, to_text(address)),
        errno);
  }
  return {};
}

Result<void> TunDevice::set_mtu(size_t mtu) {
  ifreq request = request_for(name_);
  const bool known = ioctl(control_.get(), SIOCGIFMTU, &request) == 0;
  if (known && request.ifr_mtu == int(mtu)) return {};
  const bool fits = known && request.ifr_mtu >= int(kIp6LeastMtu) && request.ifr_mtu < int(mtu);
  request.ifr_mtu = static_cast<int>(mtu);
  if (ioctl(control_.get(), SIOCSIFMTU, &request) == 0) return {};
  // Whoever made the device for this user chose a smaller one.
  if (fits && errno == EPERM) return {};
  return refused(fmt::format("the TUN device {} does not get an MTU of {} bytes", name_, mtu),
                 errno);
}

Result<void> TunDevice::bring_up() {
  ifreq request = request_for(name_);
  if (ioctl(control_.get(), SIOCGIFFLAGS, &request) != 0) {
    return refused(fmt::format("the TUN device {} is gone", name_), errno);
  }
  if ((request.ifr_flags & IFF_UP) != 0) return {};
  request.ifr_flags |= IFF_UP;
  if (ioctl(control_.get(), SIOCSIFFLAGS, &request) == 0) return {};
  return refused(fmt::format("the TUN device {} cannot be brought up", name_), errno);
}

MutBytes TunDevice::read(VnetHeader& header) {
  const ssize_t n = ::read(fd_.get(), buffer_.data(), buffer_.size());
  if (n < ssize_t{sizeof header}) return {};
  std::memcpy(&header, buffer_.data(), sizeof header);
  return MutBytes(buffer_).subspan(sizeof header, size_t(n) - sizeof header);
}

bool TunDevice::write(const VnetHeader& header, Bytes packet) {
  iovec parts[2] = {{const_cast<VnetHeader*>(&header), sizeof header},
                    {const_cast<uint8_t*>(packet.data()), packet.size()}};
  return ::writev(fd_.get(), parts, 2) >= 0;
}

}  // namespace sluice::agent
