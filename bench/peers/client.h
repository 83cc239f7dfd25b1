// How a contender's two clients talk: they greet the relay over kernel sockets, then make packets
// that the relay must carry from the one to the other. One thread.
#pragma once

#include <memory>

#include <nlohmann/json_fwd.hpp>

#include "bench/peers/host.h"

namespace sluice::bench {

inline constexpr size_t kMaxDatagram = 1500;

class Client {
 public:
  virtual ~Client() = default;

  // Both sides' handshakes. Throws with a sentence when the relay does not answer.
  virtual void connect() = 0;
  // Where packets go: the relay's UDP port, and the IP address if it is not the relay's own.
  virtual uint16_t relay_port() const = 0;
  virtual uint32_t target_address(const HostConfig& sender) const { return sender.relay_address; }
  // The next packet's UDP payload, never the same twice; returns its size.
  virtual size_t next(uint8_t* out) = 0;
  // True if this is one of them as the receiver must get it: authentic, whole, the same bytes.
  virtual bool delivered(MutBytes datagram) = 0;
};

// `config` is the whole configuration file; `payload` what a user's message is made of.
using ClientFactory = std::unique_ptr<Client>(const nlohmann::json& config, Bytes payload,
                                              Host& sender, Host& receiver);
ClientFactory make_plain_client;
ClientFactory make_sluice_client;
ClientFactory make_turn_client;
ClientFactory make_wireguard_client;

}  // namespace sluice::bench
