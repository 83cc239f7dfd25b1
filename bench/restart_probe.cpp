// Two agents that wait for their relay: each sends a HELLO every 50 ms until it has a session, then
// the first sends a packet to the second every 5 ms until one arrives. Prints when each of that
// happened, as CLOCK_MONOTONIC. For `scripts/bench control`; kernel UDP sockets.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "agent/session.h"
#include "base/clock.h"
#include "bench/command_line.h"
#include "bench/restart.h"
#include "control.pb.h"
#include "crypto/text.h"

namespace sluice::bench {
namespace {

constexpr double kHelloEvery = 0.05;
constexpr double kPacketEvery = 0.005;
constexpr double kHelloLife = 2;  // then a fresh one
constexpr int kPollMs = 1;

double now_s() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

class Probe {
 public:
  Probe(unsigned number, const ByteArray<32>& relay_key, const sockaddr_in& relay)
      : number_(number), relay_key_(relay_key), identity_(probe_identity(number)) {
    fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0 || connect(fd_, reinterpret_cast<const sockaddr*>(&relay), sizeof relay) != 0) {
      std::perror("restart_probe");
      std::exit(1);
    }
  }
  int fd() const { return fd_; }

  void tick(double now) {
    if (session_) {
      if (number_ == 0 && label_ != 0 && now >= due_) {
        due_ = now + kPacketEvery;
        const uint8_t body[32] = {};
        transmit({uint8_t(wire::FrameType::kDatagram), 0, 0, label_, 0}, body);
      }
      return;
    }
    if (now < due_) return;
    due_ = now + kHelloEvery;
    if (!greeting_ || now - greeted_ > kHelloLife) {
      tunnel_ = crypto::X25519KeyPair::generate();
      greeting_.emplace(agent::HandshakeParty{&identity_, &tunnel_, relay_key_, {}}, number_ + 1, 0,
                        Clock(1).unix_ms());
      greeted_ = now;
    }
    send_raw(greeting_->hello());
  }

  // True: a packet of the other one has arrived.
  bool take(double now) {
    std::array<uint8_t, 2048> room;
    ssize_t n;
    while ((n = recv(fd_, room.data(), room.size(), 0)) > 0) {
      if (on_packet({room.data(), size_t(n)}, now)) return true;
    }
    return false;
  }

  double welcomed = 0, known = 0;

 private:
  // The relay may not be there: errors of the kernel are no news.
  void send_raw(Bytes packet) { (void)!send(fd_, packet.data(), packet.size(), 0); }

  void transmit(const wire::FrameHeader& header, Bytes body) {
    Buffer out;
    session_->seal(header, body, out);
    send_raw(out);
  }

  bool on_packet(MutBytes packet, double now) {
    if (!session_) {
      if (!greeting_) return false;
      if (const auto cookie = greeting_->read_retry(packet)) {
        greeting_->use_cookie(*cookie);
        send_raw(greeting_->hello());
      } else if (auto welcome = greeting_->read_welcome(packet); welcome && welcome->keys) {
        session_ = std::make_unique<agent::Session>(welcome->payload, std::move(*welcome->keys), 0);
        welcomed = now;
        transmit(
            {uint8_t(wire::FrameType::kKeepalive), uint8_t(wire::KeepaliveFlag::kPing), 0, 0, 1},
            {});
      }
      return false;
    }
    wire::FrameHeader frame{};
    MutBytes payload;
    if (session_->open(packet, frame, payload) != agent::OpenVerdict::kOk) return false;
    if (frame.type == uint8_t(wire::FrameType::kDatagram)) return true;
    if (frame.type != uint8_t(wire::FrameType::kControl)) return false;
    pb::Control message;
    if (!message.ParseFromArray(payload.data(), frame.extension_length)) return false;
    for (const auto& e : message.edge_sync().edges()) {
      if (e.peer() != as_text(probe_identity(1 - number_).public_key())) continue;
      label_ = e.label();
      known = now;
    }
    pb::Control ack;
    ack.mutable_ack();
    const std::string bytes = ack.SerializeAsString();
    transmit({uint8_t(wire::FrameType::kControl), 0, static_cast<uint16_t>(bytes.size()), 0,
              frame.call_id},
             as_bytes(bytes));
    return false;
  }

  unsigned number_;
  ByteArray<32> relay_key_;
  crypto::Identity identity_;
  crypto::X25519KeyPair tunnel_;
  int fd_ = -1;
  std::optional<agent::Handshake> greeting_;
  std::unique_ptr<agent::Session> session_;
  double greeted_ = 0, due_ = 0;
  uint32_t label_ = 0;
};

int run(const std::string& address, uint16_t port, const std::string& key, double patience) {
  sockaddr_in relay{};
  relay.sin_family = AF_INET;
  relay.sin_port = htons(port);
  const auto raw = crypto::from_base64url(key);
  if (inet_pton(AF_INET, address.c_str(), &relay.sin_addr) != 1 || !raw || raw->size() != 32) {
    fmt::print(stderr, "restart_probe: not an address, or not a relay's key\n");
    return 2;
  }
  const ByteArray<32> relay_key = take<32>(raw->data());
  std::array<Probe, kProbes> probes{Probe{0, relay_key, relay}, Probe{1, relay_key, relay}};
  fmt::print("ready\n");
  std::fflush(stdout);
  const double began = now_s();
  for (double now = began; now - began < patience; now = now_s()) {
    for (Probe& p : probes) p.tick(now);
    std::array<pollfd, kProbes> waits{pollfd{probes[0].fd(), POLLIN, 0},
                                      pollfd{probes[1].fd(), POLLIN, 0}};
    (void)poll(waits.data(), waits.size(), kPollMs);
    (void)probes[0].take(now_s());
    if (probes[1].take(now_s())) {
      fmt::print("{{\"welcome\":{:.6f},\"edges\":{:.6f},\"packet\":{:.6f}}}\n",
                 std::max(probes[0].welcomed, probes[1].welcomed), probes[0].known, now_s());
      return 0;
    }
  }
  fmt::print(stderr, "restart_probe: no packet within {} s\n", patience);
  return 1;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::CommandLine app{"Two agents that wait for their relay, for scripts/bench control"};
  std::string address, key;
  uint16_t port = 7600;
  double patience = 60;
  app.add_option("--relay", address).required();
  app.add_option("--port", port);
  app.add_option("--key", key, "the relay's public key, base64url").required();
  app.add_option("--patience", patience, "seconds");
  if (const auto done = app.parse(argc, argv)) return *done;
  if (!sluice::crypto::init()) return 1;
  return sluice::bench::run(address, port, key, patience);
}
