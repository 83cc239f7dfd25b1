// No relay protocol at all: a UDP packet to the receiver's own address, which the kernel forwards.
#include <nlohmann/json.hpp>

#include "bench/peers/client.h"

namespace sluice::bench {
namespace {

class PlainClient : public Client {
 public:
  PlainClient(Bytes payload, Host& receiver) : payload_(to_buffer(payload)), receiver_(receiver) {}

  void connect() override {}
  uint16_t relay_port() const override { return receiver_.config().port; }
  uint32_t target_address(const HostConfig&) const override { return receiver_.config().address; }

  size_t next(uint8_t* out) override {
    std::memcpy(out, payload_.data(), payload_.size());
    return payload_.size();
  }
  bool delivered(MutBytes datagram) override {
    return std::equal(datagram.begin(), datagram.end(), payload_.begin(), payload_.end());
  }

 private:
  Buffer payload_;
  Host& receiver_;
};

}  // namespace

std::unique_ptr<Client> make_plain_client(const nlohmann::json&, Bytes payload, Host&,
                                          Host& receiver) {
  return std::make_unique<PlainClient>(payload, receiver);
}

}  // namespace sluice::bench
