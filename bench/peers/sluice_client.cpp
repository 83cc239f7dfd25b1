// Two agents, from the identity files that sluice-agent has made: the product's own tunnel and
// control channel over kernel sockets, then DATAGRAMs sealed one by one. What the relay carries is
// as long as an end-to-end message with this payload; its content is opaque to the relay.
#include <chrono>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/control_channel.h"
#include "agent/identity_file.h"
#include "agent/tunnel.h"
#include "bench/peers/client.h"
#include "wire/end_to_end.h"

namespace sluice::bench {
namespace {

using namespace std::chrono;

agent::Now now() {
  const auto ms = [](auto d) { return uint64_t(duration_cast<milliseconds>(d).count()); };
  return {ms(steady_clock::now().time_since_epoch()), ms(system_clock::now().time_since_epoch())};
}

agent::AgentIdentity load(const std::string& state) {
  auto identity = agent::load_identity_file(state);
  if (!identity) throw std::runtime_error(identity.error().message);
  return std::move(*identity);
}

class Endpoint {
 public:
  Endpoint(const std::string& state, Host& host)
      : host_(host),
        identity_(load(state)),
        control_(identity_.join.relay_id, pins_,
                 {[this](uint64_t request, Bytes message) { answer(request, message); },
                  [this](std::vector<agent::PeerEdge> edges) { take_edges(edges); },
                  [](const agent::Revocation&) {},
                  [](const agent::RelayKeyPin&) {},
                  {},
                  [](agent::Level, const std::string&) {}}),
        tunnel_({{&identity_.identity, &tunnel_key_, identity_.join.relay_key, {}},
                 identity_.relay_name()},
                {[this](Bytes d) { leave(d); },
                 [this](const wire::FrameHeader& f, MutBytes p, agent::Now at) { take(f, p, at); },
                 {},
                 [this](agent::Level, std::string text) { trouble_ = std::move(text); }}) {}
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  void step() {
    tunnel_.tick(now());
    host_.receive_udp(5, [this](MutBytes d) { tunnel_.receive(d, now()); });
  }
  bool ready() const { return label_.has_value(); }
  const std::string& trouble() const { return trouble_; }
  uint16_t relay_port() const { return identity_.join.port; }

  // A sealed DATAGRAM into `out`.
  size_t seal(Bytes message, uint8_t* out) {
    slot_ = out;
    slot_size_ = 0;
    tunnel_.send_frame({uint8_t(wire::FrameType::kDatagram), 0, 0, *label_, 0}, message,
                       sealed_at_);
    slot_ = nullptr;
    if (slot_size_ == 0) throw std::runtime_error("the session has ended");
    return slot_size_;
  }
  // Once: no clock is read while packets are made.
  void freeze_clock() { sealed_at_ = now(); }

  // The DATAGRAM in it, empty if it is anything else.
  Bytes open(MutBytes datagram) {
    opened_ = {};
    tunnel_.receive(datagram, now());
    return opened_;
  }

 private:
  void leave(Bytes datagram) {
    if (slot_ == nullptr) return host_.send_udp(relay_port(), datagram);
    std::memcpy(slot_, datagram.data(), datagram.size());
    slot_size_ = datagram.size();
  }
  void take(const wire::FrameHeader& frame, MutBytes payload, agent::Now at) {
    if (static_cast<wire::FrameType>(frame.type) == wire::FrameType::kDatagram) opened_ = payload;
    if (static_cast<wire::FrameType>(frame.type) == wire::FrameType::kControl) {
      control_.receive(frame.call_id, payload, at.unix_ms);
    }
  }
  void answer(uint64_t request, Bytes message) {
    tunnel_.send_frame(
        {uint8_t(wire::FrameType::kControl), 0, static_cast<uint16_t>(message.size()), 0, request},
        message, now());
  }
  void take_edges(const std::vector<agent::PeerEdge>& edges) {
    for (const auto& e : edges) {
      if (e.usable()) label_ = e.label;
    }
  }

  Host& host_;
  agent::AgentIdentity identity_;
  crypto::X25519KeyPair tunnel_key_ = crypto::X25519KeyPair::generate();
  agent::Pins pins_;
  agent::ControlChannel control_;
  agent::Tunnel tunnel_;
  std::optional<uint32_t> label_;
  std::string trouble_;
  uint8_t* slot_ = nullptr;
  size_t slot_size_ = 0;
  agent::Now sealed_at_;
  Bytes opened_;
};

class SluiceClient : public Client {
 public:
  SluiceClient(const nlohmann::json& config, Bytes payload, Host& sender, Host& receiver)
      : sender_(config.at("sender_state").get<std::string>(), sender),
        receiver_(config.at("receiver_state").get<std::string>(), receiver),
        message_(wire::kE2eOverhead + 1) {
    message_[0] = uint8_t(wire::E2eType::kTransport);
    message_.insert(message_.end(), payload.begin(), payload.end());
  }

  void connect() override {
    const auto deadline = steady_clock::now() + seconds(10);
    while (!sender_.ready() || !receiver_.ready()) {
      sender_.step();
      receiver_.step();
      if (steady_clock::now() > deadline) {
        throw std::runtime_error(
            fmt::format("no session and edge with the relay within 10 s: {} {}", sender_.trouble(),
                        receiver_.trouble()));
      }
    }
    sender_.freeze_clock();
  }

  uint16_t relay_port() const override { return sender_.relay_port(); }
  size_t next(uint8_t* out) override { return sender_.seal(message_, out); }
  bool delivered(MutBytes datagram) override {
    const Bytes got = receiver_.open(datagram);
    return std::equal(got.begin(), got.end(), message_.begin(), message_.end());
  }

 private:
  Endpoint sender_;
  Endpoint receiver_;
  Buffer message_;
};

}  // namespace

std::unique_ptr<Client> make_sluice_client(const nlohmann::json& config, Bytes payload,
                                           Host& sender, Host& receiver) {
  return std::make_unique<SluiceClient>(config, payload, sender, receiver);
}

}  // namespace sluice::bench
