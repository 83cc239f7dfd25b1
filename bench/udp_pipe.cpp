// The ends of the agent bench's bare pipeline (bench/README.md, "agent"): datagrams at a given rate
// through the agent's own socket, and a counter of what arrives. Prints JSON.
//   udp_pipe send ADDRESS PORT MBIT_PER_S SECONDS SIZE
//   udp_pipe receive PORT SECONDS
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "agent/udp_socket.h"

namespace {

using namespace sluice;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

sockaddr_in address(const char* host, uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  inet_pton(AF_INET, host, &out.sin_addr);
  return out;
}

int send(const char* host, uint16_t port, double mbits, double seconds, size_t size) {
  agent::UdpAddress to;
  const sockaddr_in at = address(host, port);
  std::memcpy(&to.storage, &at, sizeof at);
  to.size = sizeof at;
  auto socket = agent::UdpSocket::open(to);
  if (!socket) {
    fmt::print(stderr, "{}\n", socket.error().message);
    return 1;
  }
  socket->set_offload(true);
  const Buffer datagram(size, 's');
  const double per_datagram = double(size) * 8e-6 / mbits;
  const auto begin = Clock::now();
  uint64_t sent = 0;
  for (double now = 0; now < seconds; now = since(begin)) {
    const auto due = uint64_t(now / per_datagram);
    if (sent >= due) std::this_thread::sleep_for(std::chrono::microseconds(200));
    for (; sent < due && socket->room(); ++sent) socket->add(datagram);
    socket->flush();
    if (sent + 5'000 < due) sent = due - 5'000;  // what could not be sent is not sent later
  }
  fmt::print("{{\"sent\":{}}}\n", socket->counters().sent);
  return 0;
}

int receive(uint16_t port, double seconds) {
  constexpr unsigned kBatch = 64;
  constexpr size_t kSize = 2'048;
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const sockaddr_in at = address("0.0.0.0", port);
  const int big = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    fmt::print(stderr, "cannot bind to port {}\n", port);
    return 1;
  }
  fmt::print("ready\n");
  std::fflush(stdout);
  std::vector<uint8_t> memory(kBatch * kSize);
  uint64_t bytes = 0;
  Clock::time_point first{}, last{};
  const auto begin = Clock::now();
  while (since(begin) < seconds) {
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, 100) <= 0) continue;
    mmsghdr messages[kBatch] = {};
    iovec parts[kBatch];
    for (unsigned i = 0; i < kBatch; ++i) {
      parts[i] = {memory.data() + i * kSize, kSize};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int n = recvmmsg(fd, messages, kBatch, MSG_DONTWAIT, nullptr);
    if (n <= 0) continue;
    last = Clock::now();
    if (bytes == 0) first = last;
    for (int i = 0; i < n; ++i) bytes += messages[i].msg_len;
  }
  const double took = std::chrono::duration<double>(last - first).count();
  fmt::print("{{\"mbps\":{:.1f},\"bytes\":{}}}\n", took > 0 ? double(bytes) * 8e-6 / took : 0,
             bytes);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "send" && argc == 7) {
    return send(argv[2], static_cast<uint16_t>(std::stoul(argv[3])), std::stod(argv[4]),
                std::stod(argv[5]), std::stoul(argv[6]));
  }
  if (mode == "receive" && argc == 4) {
    return receive(static_cast<uint16_t>(std::stoul(argv[2])), std::stod(argv[3]));
  }
  fmt::print(stderr,
             "usage: udp_pipe send ADDRESS PORT MBIT_PER_S SECONDS SIZE | receive PORT SECONDS\n");
  return 2;
}
