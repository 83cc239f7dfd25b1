// Two TURN clients (RFC 8656) on one server without credentials. Each allocates a relayed address;
// the sender's ChannelData goes from its relayed address to the receiver's, and reaches the
// receiver as ChannelData again. With `one_leg` the receiver is a plain UDP peer instead.
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "bench/peers/client.h"
#include "crypto/secret.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kPort = 3478;
constexpr uint32_t kCookie = 0x2112a442;
constexpr uint16_t kAllocate = 0x0003, kAllocated = 0x0103;
constexpr uint16_t kChannelBind = 0x0009, kChannelBound = 0x0109;
constexpr uint16_t kChannelNumber = 0x000c, kXorPeerAddress = 0x0012, kXorRelayedAddress = 0x0016,
                   kRequestedTransport = 0x0019;
constexpr uint16_t kChannel = 0x4001;
constexpr size_t kStunHeader = 20, kChannelHeader = 4;

struct Endpoint {
  uint32_t address = 0;
  uint16_t port = 0;
};

ByteArray<8> xor_address(Endpoint e) {
  ByteArray<8> out{0, 1};
  store_be16(&out[2], static_cast<uint16_t>(e.port ^ (kCookie >> 16)));
  store_be32(&out[4], e.address ^ kCookie);
  return out;
}

class StunMessage {
 public:
  explicit StunMessage(uint16_t type) : bytes_(kStunHeader) {
    store_be16(bytes_.data(), type);
    store_be32(&bytes_[4], kCookie);
    crypto::random_bytes({&bytes_[8], 12});
  }
  // `value` is a multiple of four bytes long.
  void add(uint16_t attribute, Bytes value) {
    uint8_t header[4];
    store_be16(header, attribute);
    store_be16(header + 2, static_cast<uint16_t>(value.size()));
    bytes_.insert(bytes_.end(), header, header + 4);
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    store_be16(&bytes_[2], static_cast<uint16_t>(bytes_.size() - kStunHeader));
  }
  Bytes bytes() const { return bytes_; }
  bool answered_by(Bytes answer, uint16_t type) const {
    return answer.size() >= kStunHeader && load_be16(answer.data()) == type &&
           std::memcmp(&answer[4], &bytes_[4], 16) == 0;
  }

 private:
  Buffer bytes_;
};

Buffer ask(Host& host, const StunMessage& request, uint16_t answer_type, const char* what) {
  Buffer answer;
  for (int attempt = 0; attempt < 10 && answer.empty(); ++attempt) {
    host.send_udp(kPort, request.bytes());
    host.receive_udp(300, [&](MutBytes d) {
      if (request.answered_by(d, answer_type)) answer = to_buffer(d);
    });
  }
  if (answer.empty()) throw std::runtime_error(std::string("the TURN server refuses ") + what);
  return answer;
}

Endpoint allocate(Host& host) {
  StunMessage request(kAllocate);
  request.add(kRequestedTransport, ByteArray<4>{wire::kProtoUdp, 0, 0, 0});
  const Buffer answer = ask(host, request, kAllocated, "an allocation");
  for (size_t at = kStunHeader; at + 12 <= answer.size();) {
    const size_t size = load_be16(&answer[at + 2]);
    if (load_be16(&answer[at]) == kXorRelayedAddress && size == 8) {
      return {load_be32(&answer[at + 8]) ^ kCookie,
              static_cast<uint16_t>(load_be16(&answer[at + 6]) ^ (kCookie >> 16))};
    }
    at += 4 + (size + 3) / 4 * 4;
  }
  throw std::runtime_error("the TURN server's answer names no relayed address");
}

void bind_channel(Host& host, Endpoint peer) {
  StunMessage request(kChannelBind);
  request.add(kChannelNumber, ByteArray<4>{kChannel >> 8, kChannel & 0xff, 0, 0});
  request.add(kXorPeerAddress, xor_address(peer));
  ask(host, request, kChannelBound, "a channel");
}

class TurnClient : public Client {
 public:
  TurnClient(Bytes payload, Host& sender, Host& receiver, bool one_leg)
      : sender_(sender), receiver_(receiver), one_leg_(one_leg) {
    packet_.resize(kChannelHeader);
    store_be16(packet_.data(), kChannel);
    store_be16(&packet_[2], static_cast<uint16_t>(payload.size()));
    packet_.insert(packet_.end(), payload.begin(), payload.end());
  }

  void connect() override {
    const Endpoint from = allocate(sender_);
    if (one_leg_) {
      return bind_channel(sender_, {receiver_.config().address, receiver_.config().port});
    }
    const Endpoint to = allocate(receiver_);
    bind_channel(sender_, to);
    bind_channel(receiver_, from);
  }

  uint16_t relay_port() const override { return kPort; }

  size_t next(uint8_t* out) override {
    std::memcpy(out, packet_.data(), packet_.size());
    return packet_.size();
  }
  bool delivered(MutBytes datagram) override {
    const auto begin = packet_.begin() + (one_leg_ ? kChannelHeader : 0);
    return std::equal(datagram.begin(), datagram.end(), begin, packet_.end());
  }

 private:
  Host& sender_;
  Host& receiver_;
  bool one_leg_;
  Buffer packet_;
};

}  // namespace

std::unique_ptr<Client> make_turn_client(const nlohmann::json& config, Bytes payload, Host& sender,
                                         Host& receiver) {
  return std::make_unique<TurnClient>(payload, sender, receiver, config.value("one_leg", false));
}

}  // namespace sluice::bench
