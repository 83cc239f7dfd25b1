// Two WireGuard peers of one hub. What they exchange is IPv4 and UDP around the payload, padded to
// 16 bytes, which the hub decrypts, routes back into its tunnel and encrypts for the other.
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "bench/peers/client.h"
#include "bench/peers/frame.h"
#include "bench/peers/wireguard_noise.h"
#include "crypto/text.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kPort = 51820;
constexpr uint16_t kInnerPort = 9000;
constexpr size_t kPadding = 16;
// wireguard-go's default; padding does not go beyond it.
constexpr size_t kInnerMtu = 1420;

Key32 key_at(const nlohmann::json& config, const char* name) {
  const auto bytes = crypto::from_base64(config.at(name).get<std::string>());
  if (!bytes || bytes->size() != 32) throw std::runtime_error(std::string(name) + " is no key");
  return take<32>(bytes->data());
}

class WireguardClient : public Client {
 public:
  WireguardClient(const nlohmann::json& config, Bytes payload, Host& sender, Host& receiver)
      : sender_(sender),
        receiver_(receiver),
        from_(wg_key_pair(key_at(config, "sender_key")), key_at(config, "hub_key"), 0x5e4d0001),
        to_(wg_key_pair(key_at(config, "receiver_key")), key_at(config, "hub_key"), 0x4ece0002),
        inner_(kIpUdp) {
    inner_.insert(inner_.end(), payload.begin(), payload.end());
    write_ip_udp(inner_.data(), parse_ip4(config.at("sender_inner")), kInnerPort,
                 parse_ip4(config.at("receiver_inner")), kInnerPort, payload.size());
    const size_t padded = (inner_.size() + kPadding - 1) / kPadding * kPadding;
    inner_.resize(std::max(inner_.size(), std::min(padded, kInnerMtu)));
  }

  void connect() override {
    greet(sender_, from_);
    greet(receiver_, to_);
  }

  uint16_t relay_port() const override { return kPort; }
  size_t next(uint8_t* out) override { return from_.seal(inner_, out); }

  // On its way the inner packet loses one hop, which changes TTL and header checksum.
  bool delivered(MutBytes datagram) override {
    const Bytes got = to_.open(datagram);
    return got.size() == inner_.size() && got[8] + 1 == inner_[8] &&
           std::equal(got.begin() + 12, got.end(), inner_.begin() + 12);
  }

 private:
  static void greet(Host& host, WgInitiator& wg) {
    bool done = false;
    for (int attempt = 0; attempt < 10 && !done; ++attempt) {
      host.send_udp(kPort, wg.initiation());
      host.receive_udp(500, [&](MutBytes d) { done = done || wg.read_response(d); });
    }
    if (!done) throw std::runtime_error("the WireGuard hub does not answer the handshake");
    // An empty packet confirms the session; before it the hub sends nothing on it.
    uint8_t out[kWgHeader + kWgTag];
    host.send_udp(kPort, {out, wg.seal({}, out)});
  }

  Host& sender_;
  Host& receiver_;
  WgInitiator from_;
  WgInitiator to_;
  Buffer inner_;
};

}  // namespace

std::unique_ptr<Client> make_wireguard_client(const nlohmann::json& config, Bytes payload,
                                              Host& sender, Host& receiver) {
  return std::make_unique<WireguardClient>(config, payload, sender, receiver);
}

}  // namespace sluice::bench
