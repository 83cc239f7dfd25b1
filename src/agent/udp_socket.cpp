#include "agent/udp_socket.h"

#include <arpa/inet.h>
#include <netinet/udp.h>
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
    : fd_(std::move(fd)),
      relay_(relay),
      queue_(kQueue),
      inbound_(new uint8_t[kBatch * kDatagram]) {}

Result<UdpSocket> UdpSocket::open(const UdpAddress& relay) {
  Fd fd(socket(relay.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot create a UDP socket: {}", std::strerror(errno)));
  }
  grow_buffers(fd.get());
  forbid_fragments(fd.get(), relay.v6());
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_UDP, UDP_GRO, &on, sizeof on);
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

// Of one size, but for the last, which may be shorter.
size_t UdpSocket::together(size_t first) const {
  if (!offload_) return 1;
  const size_t size = queue_[first].size();
  size_t n = 1;
  while (first + n < queued_ && n < kMostSegments && (n + 1) * size <= kMostTogether &&
         queue_[first + n].size() <= size) {
    if (queue_[first + n++].size() < size) break;
  }
  return n;
}

void UdpSocket::flush() {
  size_t done = 0;
  while (done < queued_) {
    mmsghdr messages[kBatch] = {};
    iovec parts[kBatch * 2];
    alignas(cmsghdr) char control[kBatch][CMSG_SPACE(sizeof(uint16_t))];
    size_t covers[kBatch];
    size_t n = 0, part = 0;
    for (size_t at = done; at < queued_ && n < kBatch; ++n) {
      covers[n] = together(at);
      if (part + covers[n] > std::size(parts)) break;
      msghdr& m = messages[n].msg_hdr;
      m.msg_iov = &parts[part];
      m.msg_iovlen = covers[n];
      m.msg_name = &relay_.storage;
      m.msg_namelen = relay_.size;
      if (covers[n] > 1) {
        m.msg_control = control[n];
        m.msg_controllen = sizeof control[n];
        cmsghdr* c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        store_le(CMSG_DATA(c), static_cast<uint16_t>(queue_[at].size()));
      }
      for (size_t i = 0; i < covers[n]; ++i, ++at) {
        parts[part++] = {queue_[at].data(), queue_[at].size()};
      }
    }
    const int sent = sendmmsg(fd_.get(), messages, static_cast<unsigned>(n), 0);
    if (sent > 0) {
      for (int i = 0; i < sent; ++i) {
        done += covers[i];
        counters_.sent += covers[i];
      }
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      break;
    } else if (covers[0] > 1 &&
               (errno == EINVAL || errno == EIO || errno == EOPNOTSUPP || errno == EMSGSIZE)) {
      offload_ = false;  // once more, one by one
    } else if (errno != EINTR) {
      error_ = errno;
      ++counters_.send_errors;
      done += covers[0];  // lost, as on any path
    }
  }
  // The unsent to the front, keeping every buffer's memory.
  std::rotate(queue_.begin(), queue_.begin() + std::ptrdiff_t(done),
              queue_.begin() + std::ptrdiff_t(queued_));
  queued_ -= done;
}

bool UdpSocket::flush_as_one() {
  const bool before = std::exchange(offload_, true);
  flush();
  queued_ = 0;  // what waits now would leave one by one, and prove nothing
  return std::exchange(offload_, before);
}

void UdpSocket::take_apart(MutBytes bytes, size_t size, const std::function<void(MutBytes)>& take) {
  while (!bytes.empty()) {
    const size_t n = std::min(size, bytes.size());
    ++counters_.received;
    take(bytes.first(n));
    bytes = bytes.subspan(n);
  }
}

bool UdpSocket::receive(size_t most, const std::function<void(MutBytes)>& take) {
  size_t seen = 0;
  while (seen < most) {
    mmsghdr messages[kBatch] = {};
    iovec parts[kBatch];
    UdpAddress from[kBatch];
    alignas(cmsghdr) char control[kBatch][CMSG_SPACE(sizeof(int))];
    for (size_t i = 0; i < kBatch; ++i) {
      parts[i] = {inbound_.get() + i * kDatagram, kDatagram};
      msghdr& m = messages[i].msg_hdr;
      m.msg_iov = &parts[i];
      m.msg_iovlen = 1;
      m.msg_name = &from[i].storage;
      m.msg_namelen = sizeof from[i].storage;
      m.msg_control = control[i];
      m.msg_controllen = sizeof control[i];
    }
    const int n = recvmmsg(fd_.get(), messages, kBatch, 0, nullptr);
    if (n <= 0) return false;
    seen += size_t(n);
    for (size_t i = 0; i < size_t(n); ++i) {
      msghdr& m = messages[i].msg_hdr;
      const bool whole = (m.msg_flags & MSG_TRUNC) == 0;
      if (!whole || !(from[i] == relay_)) {
        ++counters_.dropped_stranger;
        continue;
      }
      size_t size = messages[i].msg_len;
      for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
          size = std::max<size_t>(1, load_le<uint16_t>(CMSG_DATA(c)));
        }
      }
      if (size == 0) continue;
      take_apart({inbound_.get() + i * kDatagram, messages[i].msg_len}, size, take);
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
