#include "bench/peers/blaster.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <system_error>

#include "bench/peers/frame.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// For caches, the relay's batching, and processes that wake slowly.
constexpr double kWarmUp = 0.25;
constexpr useconds_t kDrainStepUs = 20'000;

// Until nothing more has arrived for a while.
void drain(const Host& receiver) {
  uint64_t before = receiver.device_rx_packets();
  for (int quiet = 0, rounds = 0; quiet < 3 && rounds < 100; ++rounds) {
    usleep(kDrainStepUs);
    const uint64_t after = receiver.device_rx_packets();
    quiet = after == before ? quiet + 1 : 0;
    before = after;
  }
}

}  // namespace

Blaster::Blaster(Client& client, Host& sender, Host& receiver)
    : client_(client),
      sender_(sender),
      receiver_(receiver),
      slots_(kBatch),
      pieces_(kBatch),
      messages_(kBatch) {
  for (unsigned i = 0; i < kBatch; ++i) {
    uint8_t* at = slots_[i].bytes;
    std::memcpy(at, sender.config().relay_mac.data(), 6);
    std::memcpy(at + 6, sender.config().mac.data(), 6);
    store_be16(at + 12, wire::kEtherIp4);
    pieces_[i].iov_base = at;
    messages_[i].msg_hdr.msg_iov = &pieces_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
  }
}

void Blaster::fill(Slot& slot, iovec& piece) {
  uint8_t* ip = slot.bytes + wire::kEthSize;
  const size_t size = client_.next(ip + kIpUdp);
  const auto& from = sender_.config();
  // All packets of a trial have one size, so the headers are written once.
  if (piece.iov_len != wire::kEthSize + kIpUdp + size) {
    write_ip_udp(ip, from.address, from.port, client_.target_address(from), client_.relay_port(),
                 size);
    piece.iov_len = wire::kEthSize + kIpUdp + size;
  }
}

void Blaster::send_batch(unsigned count) {
  for (unsigned i = 0; i < count; ++i) fill(slots_[i], pieces_[i]);
  for (unsigned done = 0; done < count;) {
    const int n = sendmmsg(sender_.packet_socket(), &messages_[done], count - done, 0);
    if (n > 0) {
      done += static_cast<unsigned>(n);
    } else if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR) {
      ++done;  // the queue before the relay's core is full: this packet is sent, and lost
    } else {
      throw std::system_error(errno, std::generic_category(), "a packet cannot be sent");
    }
  }
}

unsigned Blaster::prove(unsigned count) {
  unsigned good = 0;
  const auto take = [&](MutBytes d) { good += client_.delivered(d) ? 1 : 0; };
  receiver_.receive_udp(50, take);
  good = 0;
  for (unsigned i = 0; i < count; ++i) {
    send_batch(1);
    receiver_.receive_udp(20, take);
  }
  while (good < count && receiver_.receive_udp(200, take)) {
  }
  return good;
}

Trial Blaster::run(double rate, double seconds) {
  const auto begin = Clock::now();
  const auto elapsed = [&] { return Seconds(Clock::now() - begin).count(); };
  const uint64_t arrived = receiver_.device_rx_packets();
  Trial out;
  uint64_t window_sent = 0, window_arrived = arrived;
  double window_begin = 0, now = 0, next = 0;
  const double period = rate > 0 ? kBatch / rate : 0;
  while ((now = elapsed()) < kWarmUp + seconds) {
    if (window_begin == 0 && now >= kWarmUp) {
      window_begin = now;
      window_sent = out.sent_all;
      window_arrived = receiver_.device_rx_packets();
    }
    if (now < next) continue;
    // Time that this core did not get is not made up for: a burst would hit the relay's queues.
    next = std::max(next, now - 2 * period) + period;
    send_batch(kBatch);
    out.sent_all += kBatch;
  }
  out.seconds = now - window_begin;
  out.sent = out.sent_all - window_sent;
  out.delivered = receiver_.device_rx_packets() - window_arrived;
  drain(receiver_);
  out.delivered_all = receiver_.device_rx_packets() - arrived;
  return out;
}

}  // namespace sluice::bench
