#include "agent/session.h"

#include "agent/data_seal.h"

namespace sluice::agent {
namespace {

bool allows_header_seal(const wire::FrameHeader& f) {
  const auto type = static_cast<wire::FrameType>(f.type);
  return type == wire::FrameType::kDatagram || type == wire::FrameType::kCallData;
}

}  // namespace

Session::Session(const wire::WelcomePayload& welcome, SessionKeys keys, uint64_t born_ms)
    : keys_(std::make_unique<Keys>()),
      windows_(std::make_unique<fabric::ReplayWindow[]>(welcome.receive_lanes)),
      send_salt_(keys.send_salt),
      receive_salt_(keys.receive_salt),
      own_index_(welcome.receiver),
      relay_index_(welcome.sender),
      lanes_(welcome.receive_lanes),
      born_ms_(born_ms) {
  crypto::aead().expand(keys.send.data(), keys_->send);
  crypto::aead().expand(keys.receive.data(), keys_->receive);
}

Session::~Session() {
  crypto::wipe(keys_.get(), sizeof(Keys));
}

void Session::seal(const wire::FrameHeader& frame, Bytes payload, Buffer& out, wire::Seal seal) {
  const bool header = seal == wire::Seal::kHeader;
  const size_t region = sizeof frame + (header ? 0 : payload.size());
  out.resize(wire::kDataMin + payload.size());
  wire::write_outer(out.data(),
                    {uint8_t(wire::Type::kData), wire::kProtocolVersion,
                     static_cast<uint16_t>(region), relay_index_, wire::make_counter(0, sent_++)});
  wire::write_frame(out.data() + wire::kDataRegion, frame);
  if (!payload.empty()) {
    std::memcpy(out.data() + wire::kDataRegion + sizeof frame, payload.data(), payload.size());
  }
  HeaderSealAad aad;
  auto op = data_operation(out, seal, keys_->send, send_salt_, aad);
  crypto::aead().seal({&op, 1});
}

OpenVerdict Session::open(MutBytes packet, wire::FrameHeader& frame, MutBytes& payload) {
  const auto outer = wire::read_outer(packet.data());
  const auto seal = wire::seal_of(outer.sealed_length, packet.size());
  if (seal == wire::Seal::kMalformed) return OpenVerdict::kMalformed;
  if (outer.lane() >= lanes_) return OpenVerdict::kLane;
  fabric::ReplayWindow& window = windows_[outer.lane()];
  if (window.check(outer.sequence()) != fabric::ReplayVerdict::kFresh) return OpenVerdict::kReplay;

  HeaderSealAad aad;
  auto op = data_operation(packet, seal, keys_->receive, receive_salt_, aad);
  if (crypto::aead().open({&op, 1}) == 0) return OpenVerdict::kBadTag;
  bool highest = false;
  if (window.commit(outer.sequence(), highest) != fabric::ReplayVerdict::kFresh) {
    return OpenVerdict::kReplay;
  }
  ++received_;
  frame = wire::read_frame(packet.data() + wire::kDataRegion);
  payload = packet.subspan(wire::kDataMin);
  if (seal == wire::Seal::kHeader && !allows_header_seal(frame)) return OpenVerdict::kMalformed;
  return OpenVerdict::kOk;
}

}  // namespace sluice::agent
