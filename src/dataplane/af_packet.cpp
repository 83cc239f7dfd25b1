#include "dataplane/af_packet.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "base/file.h"

namespace sluice::dataplane {
namespace {

// The PMD's default, and what the kernel puts before a packet in a frame of the ring: its own
// header, a socket address, and room up to the next 16 bytes (packet(7), TPACKET_V2).
constexpr uint32_t kDefaultFrame = 2048;
constexpr uint32_t kBefore = 80;
constexpr uint32_t kLinkHeader = 18;  // Ethernet with a VLAN tag
constexpr uint32_t kFramesPerBlock = 4;

std::string argument(const std::string& device, const std::string& key) {
  size_t at = device.find("," + key + "=");
  if (at == std::string::npos) return {};
  at += key.size() + 2;
  return device.substr(at, device.find(',', at) - at);
}

// 0 if the kernel does not say.
unsigned interface_mtu(const std::string& name) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), sizeof request.ifr_name - 1);
  if (!socket || ioctl(socket.get(), SIOCGIFMTU, &request) != 0) return 0;
  return static_cast<unsigned>(request.ifr_mtu);
}

}  // namespace

bool is_af_packet(const fabric::PortConfig& port) {
  return port.device.starts_with("net_af_packet");
}

uint32_t af_packet_frame(const fabric::PortConfig& port) {
  if (const std::string given = argument(port.device, "framesz"); !given.empty()) {
    uint32_t size = 0;
    std::from_chars(given.data(), given.data() + given.size(), size);
    return size;
  }
  // Whole kilobytes, so that four of them fill whole pages.
  const uint32_t needed = (port.mtu + kBefore + kLinkHeader + 1023u) / 1024u * 1024u;
  return std::max(kDefaultFrame, needed);
}

std::string af_packet_device(const fabric::PortConfig& port, unsigned queue_pairs) {
  std::string out = port.device;
  if (queue_pairs > 1 && argument(out, "qpairs").empty()) {
    out += fmt::format(",qpairs={}", queue_pairs);
  }
  const uint32_t frame = af_packet_frame(port);
  if (frame != kDefaultFrame && argument(out, "framesz").empty()) {
    out += fmt::format(",framesz={}", frame);
    if (argument(out, "blocksz").empty()) {
      out += fmt::format(",blocksz={}", frame * kFramesPerBlock);
    }
  }
  return out;
}

Result<void> check_af_packet(const fabric::PortConfig& port, unsigned queues, unsigned polled) {
  const auto place = fmt::format("port {} ({})", port.name, port.device);
  if (queues != polled) {
    // Its fan-out spreads over all queues, so each needs a worker.
    return fail(ErrorCode::kConfig,
                fmt::format("{} spreads packets over {} queues but the core map polls {}: give "
                            "every worker one of its queues",
                            place, queues, polled));
  }
  const uint32_t frame = af_packet_frame(port);
  if (frame > kLargestRingFrame) {
    return fail(ErrorCode::kConfig,
                fmt::format("{} has ring frames of {} bytes: framesz= is at most {}, or left out",
                            place, frame, kLargestRingFrame));
  }
  if (frame < port.mtu + kBefore + kLinkHeader) {
    return fail(ErrorCode::kConfig, fmt::format("{} has ring frames of {} bytes, too few for an "
                                                "MTU of {}: raise framesz= in device:, or leave "
                                                "it out",
                                                place, frame, port.mtu));
  }
  const std::string interface = argument(port.device, "iface");
  if (const unsigned mtu = interface_mtu(interface); mtu != 0 && mtu < port.mtu) {
    return fail(ErrorCode::kConfig,
                fmt::format("{} carries an MTU of {}, not {}: ip link set {} mtu {}, or lower mtu:",
                            place, mtu, port.mtu, interface, port.mtu));
  }
  return {};
}

}  // namespace sluice::dataplane
