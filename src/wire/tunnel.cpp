#include "wire/tunnel.h"

#include <algorithm>

namespace sluice::wire {

std::optional<HelloView> parse_hello(Bytes packet) noexcept {
  if (packet.size() < kHelloMin) return std::nullopt;
  HelloView v{packet, read_outer(packet.data()), 0};
  if (v.outer.type != uint8_t(Type::kHello) || v.outer.version != kProtocolVersion ||
      v.outer.counter != 0) {
    return std::nullopt;
  }
  if (packet.size() != kNoiseOffset + size_t{v.outer.sealed_length} + 2 * kMacSize) {
    return std::nullopt;
  }
  if (v.outer.sealed_length < kHelloTokens + kHelloPayloadMin + kTagSize) return std::nullopt;
  v.sender = load_le<uint32_t>(packet.data() + sizeof(OuterHeader));
  return v;
}

ByteArray<kPrologueSize> hello_prologue(Bytes packet) noexcept {
  constexpr auto label = padded_label<32>("sluice/1");
  ByteArray<kPrologueSize> out;
  std::memcpy(out.data(), label.data(), label.size());
  std::memcpy(out.data() + label.size(), packet.data(), kPrologueSize - label.size());
  return out;
}

std::optional<HelloPayload> parse_hello_payload(Bytes payload) noexcept {
  if (payload.size() < kHelloPayloadMin) return std::nullopt;
  HelloPayload out;
  const uint8_t* p = payload.data();
  out.identity = take<32>(p);
  out.time_ms = load_le<uint64_t>(p + 32);
  out.features = load_le<uint32_t>(p + 40);
  const size_t token_size = load_le<uint16_t>(p + 44);
  const size_t signed_size = payload.size() - 64;
  if (token_size > kTokenMax || 46 + token_size > signed_size) return std::nullopt;
  out.token = payload.subspan(46, token_size);
  if (!all_zero(payload.subspan(46 + token_size, signed_size - 46 - token_size))) {
    return std::nullopt;
  }
  out.signed_part = payload.first(signed_size);
  out.signature = take<64>(p + signed_size);
  return out;
}

size_t hello_payload_size(size_t token_size) noexcept {
  constexpr size_t around = kNoiseOffset + kHelloTokens + kTagSize + 2 * kMacSize;
  return std::max(kHelloPayloadMin + token_size, kHelloMin - around);
}

Buffer build_hello_payload(const ByteArray<32>& identity, uint64_t time_ms, uint32_t features,
                           Bytes token, size_t size) {
  Buffer out(size - 64, 0);
  std::memcpy(out.data(), identity.data(), 32);
  store_le(out.data() + 32, time_ms);
  store_le(out.data() + 40, features);
  store_le(out.data() + 44, static_cast<uint16_t>(token.size()));
  if (!token.empty()) std::memcpy(out.data() + 46, token.data(), token.size());
  return out;
}

std::optional<WelcomeView> parse_welcome(Bytes packet) noexcept {
  if (packet.size() != kWelcomeSize) return std::nullopt;
  WelcomeView v{packet, read_outer(packet.data()), 0};
  if (v.outer.type != uint8_t(Type::kWelcome) || v.outer.version != kProtocolVersion ||
      v.outer.counter != 0 || v.outer.sealed_length != kWelcomeNoise ||
      !all_zero(packet.last(kMacSize))) {
    return std::nullopt;
  }
  v.sender = load_le<uint32_t>(packet.data() + sizeof(OuterHeader));
  return v;
}

std::optional<RetryView> parse_retry(Bytes packet) noexcept {
  if (packet.size() != kRetrySize) return std::nullopt;
  const OuterHeader outer = read_outer(packet.data());
  if (outer.type != uint8_t(Type::kRetry) || outer.version != kProtocolVersion ||
      outer.counter != 0 || outer.sealed_length != kCookieSize + kTagSize) {
    return std::nullopt;
  }
  return RetryView{outer, packet.subspan(sizeof(OuterHeader), kRetryNonce),
                   packet.subspan(sizeof(OuterHeader) + kRetryNonce)};
}

std::optional<VersionView> parse_version(Bytes packet) noexcept {
  if (packet.size() < sizeof(OuterHeader)) return std::nullopt;
  const OuterHeader outer = read_outer(packet.data());
  if (outer.type != uint8_t(Type::kVersion) || outer.version != 0 ||
      packet.size() != sizeof(OuterHeader) + size_t{outer.sealed_length}) {
    return std::nullopt;
  }
  return VersionView{outer.receiver, outer.counter, packet.subspan(sizeof(OuterHeader))};
}

ByteArray<kVersionSize> build_version(Bytes hello) noexcept {
  ByteArray<kVersionSize> out{};
  const uint32_t sender = load_le<uint32_t>(hello.data() + sizeof(OuterHeader));
  write_outer(out.data(),
              {uint8_t(Type::kVersion), 0, 1, sender, read_outer(hello.data()).counter});
  out[sizeof(OuterHeader)] = kProtocolVersion;
  return out;
}

}  // namespace sluice::wire
