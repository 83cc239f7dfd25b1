#include "bench/peers/host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace sluice::bench {
namespace {

int must(int result, const std::string& what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

Fd must_fd(int fd, const std::string& what) {
  return Fd(must(fd, what));
}

sockaddr_in ip4(uint32_t address, uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(address);
  return out;
}

// Sockets stay in the namespace in which they were opened, so one process can be both hosts.
void enter(const std::string& netns) {
  const Fd ns = must_fd(open(("/run/netns/" + netns).c_str(), O_RDONLY | O_CLOEXEC),
                        "namespace " + netns + " cannot be opened");
  must(setns(ns.get(), CLONE_NEWNET), "namespace " + netns + " cannot be entered");
}

Fd open_udp(const HostConfig& config) {
  Fd fd = must_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "UDP socket");
  const int megabyte = 1 << 20;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &megabyte, sizeof megabyte);
  const sockaddr_in own = ip4(config.address, config.port);
  must(bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), "binding the UDP port");
  return fd;
}

Fd open_packet(const HostConfig& config) {
  // Protocol 0 receives nothing.
  Fd fd = must_fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "packet socket (needs root)");
  const int on = 1, buffer = 4 << 20;
  must(setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on), "qdisc bypass");
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  sockaddr_ll link{};
  link.sll_family = AF_PACKET;
  link.sll_ifindex = static_cast<int>(if_nametoindex(config.device.c_str()));
  if (link.sll_ifindex == 0) throw std::runtime_error("there is no interface " + config.device);
  must(bind(fd.get(), reinterpret_cast<const sockaddr*>(&link), sizeof link),
       "binding the packet socket");
  return fd;
}

}  // namespace

uint32_t parse_ip4(const std::string& text) {
  in_addr out{};
  if (inet_pton(AF_INET, text.c_str(), &out) != 1) {
    throw std::runtime_error(text + " is not an IPv4 address");
  }
  return ntohl(out.s_addr);
}

wire::Mac parse_mac(const std::string& text) {
  wire::Mac out{};
  if (std::sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &out[0], &out[1], &out[2],
                  &out[3], &out[4], &out[5]) != 6) {
    throw std::runtime_error(text + " is not a MAC address");
  }
  return out;
}

Host::Host(const HostConfig& config) : config_(config) {
  enter(config.netns);
  udp_ = open_udp(config);
  packet_ = open_packet(config);
  counters_ = must_fd(open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC), "/proc/net/dev");
}

void Host::send_udp(uint16_t port, Bytes datagram) {
  const sockaddr_in to = ip4(config_.relay_address, port);
  // A refusal of the other side (ICMP) is reported here; who sends again finds out.
  (void)sendto(udp_.get(), datagram.data(), datagram.size(), 0,
               reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

bool Host::receive_udp(int wait_ms, const std::function<void(MutBytes)>& take) {
  pollfd ready{udp_.get(), POLLIN, 0};
  if (poll(&ready, 1, wait_ms) <= 0) return false;
  uint8_t buffer[2048];
  bool any = false;
  for (;;) {
    const ssize_t n = recv(udp_.get(), buffer, sizeof buffer, 0);
    if (n < 0) return any;
    any = true;
    take({buffer, static_cast<size_t>(n)});
  }
}

uint64_t Host::device_rx_packets() const {
  char text[4096];
  const ssize_t n = pread(counters_.get(), text, sizeof text - 1, 0);
  if (n <= 0) throw std::runtime_error("/proc/net/dev cannot be read");
  text[n] = 0;
  // "  eth0: BYTES PACKETS ..."
  const char* line = std::strstr(text, (config_.device + ":").c_str());
  if (line == nullptr) throw std::runtime_error("the interface " + config_.device + " is gone");
  unsigned long long bytes = 0, packets = 0;
  std::sscanf(line + config_.device.size() + 1, "%llu %llu", &bytes, &packets);
  return packets;
}

}  // namespace sluice::bench
