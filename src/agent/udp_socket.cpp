#include "agent/udp_socket.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sluice::agent {
namespace {

constexpr int kSocketBuffer = 8 << 20;

// Where rmem_max forbids the size, what it allows has to do.
void grow_buffers(int fd) {
  const int wanted = kSocketBuffer;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
}

// The relay drops fragments: a datagram that does not fit must fail here, where it can be told.
void forbid_fragments(int fd, bool v6) {
  const int value = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;
  setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &value,
             sizeof value);
}

template <typename T>
T as(const sockaddr_storage& s) {
  T out;
  std::memcpy(&out, &s, sizeof out);
  return out;
}

}  // namespace

std::string UdpAddress::text() const {
  char out[INET6_ADDRSTRLEN] = "";
  if (v6()) {
    const auto a = as<sockaddr_in6>(storage);
    inet_ntop(AF_INET6, &a.sin6_addr, out, sizeof out);
    return fmt::format("[{}]:{}", out, ntohs(a.sin6_port));
  }
  const auto a = as<sockaddr_in>(storage);
  inet_ntop(AF_INET, &a.sin_addr, out, sizeof out);
  return fmt::format("{}:{}", out, ntohs(a.sin_port));
}

bool operator==(const UdpAddress& a, const UdpAddress& b) {
  if (a.storage.ss_family != b.storage.ss_family) return false;
  if (a.v6()) {
    const auto x = as<sockaddr_in6>(a.storage), y = as<sockaddr_in6>(b.storage);
    return x.sin6_port == y.sin6_port && std::memcmp(&x.sin6_addr, &y.sin6_addr, 16) == 0;
  }
  const auto x = as<sockaddr_in>(a.storage), y = as<sockaddr_in>(b.storage);
  return x.sin_port == y.sin_port && x.sin_addr.s_addr == y.sin_addr.s_addr;
}

UdpSocket::UdpSocket(Fd fd, const UdpAddress& relay)
    : fd_(std::move(fd)), relay_(relay), queue_(kQueue), inbound_(kBatch * kDatagram) {}

Result<UdpSocket> UdpSocket::open(const UdpAddress& relay) {
  Fd fd(socket(relay.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot create a UDP socket: {}", std::strerror(errno)));
  }
  grow_buffers(fd.get());
  forbid_fragments(fd.get(), relay.v6());
  return UdpSocket(std::move(fd), relay);
}

void UdpSocket::add(Bytes datagram) {
  if (!room()) flush();
  if (!room()) {
    ++counters_.dropped_full;
    return;
  }
  queue_[queued_++].assign(datagram.begin(), datagram.end());
}

void UdpSocket::flush() {
  size_t done = 0;
  while (done < queued_) {
    mmsghdr messages[kBatch] = {};
    iovec parts[kBatch];
    const size_t n = std::min(kBatch, queued_ - done);
    for (size_t i = 0; i < n; ++i) {
      Buffer& b = queue_[done + i];
      parts[i] = {b.data(), b.size()};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_name = &relay_.storage;
      messages[i].msg_hdr.msg_namelen = relay_.size;
    }
    const int sent = sendmmsg(fd_.get(), messages, static_cast<unsigned>(n), 0);
    if (sent > 0) {
      done += size_t(sent);
      counters_.sent += uint64_t(sent);
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      break;
    } else if (errno != EINTR) {
      error_ = errno;
      ++counters_.send_errors;
      ++done;  // this one is lost, as on any path
    }
  }
  // The unsent to the front, keeping every buffer's memory.
  std::rotate(queue_.begin(), queue_.begin() + std::ptrdiff_t(done),
              queue_.begin() + std::ptrdiff_t(queued_));
  queued_ -= done;
}

bool UdpSocket::receive(size_t most, const std::function<void(MutBytes)>& take) {
  size_t seen = 0;
  while (seen < most) {
    mmsghdr messages[kBatch] = {};
    iovec parts[kBatch];
    UdpAddress from[kBatch];
    for (size_t i = 0; i < kBatch; ++i) {
      parts[i] = {inbound_.data() + i * kDatagram, kDatagram};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_name = &from[i].storage;
      messages[i].msg_hdr.msg_namelen = sizeof from[i].storage;
    }
    const int n = recvmmsg(fd_.get(), messages, kBatch, 0, nullptr);
    if (n <= 0) return false;
    seen += size_t(n);
    for (size_t i = 0; i < size_t(n); ++i) {
      const bool whole = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) == 0;
      if (!whole || !(from[i] == relay_)) {
        ++counters_.dropped_stranger;
        continue;
      }
      ++counters_.received;
      take({inbound_.data() + i * kDatagram, messages[i].msg_len});
    }
    if (size_t(n) < kBatch) return false;
  }
  return true;
}

std::string probe_source(const UdpAddress& relay) {
  const Fd fd(socket(relay.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  UdpAddress own;
  own.size = sizeof own.storage;
  if (!fd ||
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&relay.storage), relay.size) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own.storage), &own.size) != 0) {
    return "";
  }
  const std::string text = own.text();
  return text.substr(0, text.rfind(':'));  // the port is the probe's own
}

}  // namespace sluice::agent
