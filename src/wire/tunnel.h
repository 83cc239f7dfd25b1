// The tunnel's outer layer: the 16-byte header that every packet begins with, and what follows it
// in HELLO, WELCOME, RETRY and VERSION (wire.md §2 to §4). Views over bytes that somebody else
// owns; a view exists only after the length was checked. No state, any thread.
#pragma once

#include <optional>

#include "base/bytes.h"

namespace sluice::wire {

enum class Type : uint8_t { kHello = 1, kWelcome = 2, kRetry = 3, kData = 4, kVersion = 5 };
inline constexpr const char* kTypeNames[] = {"", "HELLO", "WELCOME", "RETRY", "DATA", "VERSION"};

inline constexpr uint8_t kProtocolVersion = 1;
inline constexpr size_t kTagSize = 16;
inline constexpr size_t kMacSize = 16;
inline constexpr uint8_t kSequenceBits = 56;
inline constexpr uint64_t kSequenceMask = (uint64_t{1} << kSequenceBits) - 1;

#pragma pack(push, 1)
struct OuterHeader {
  uint8_t type;
  uint8_t version;
  uint16_t sealed_length;
  uint32_t receiver;
  uint64_t counter;

  uint8_t lane() const noexcept { return static_cast<uint8_t>(counter >> kSequenceBits); }
  uint64_t sequence() const noexcept { return counter & kSequenceMask; }
};
#pragma pack(pop)
static_assert(sizeof(OuterHeader) == 16);

constexpr uint64_t make_counter(uint8_t lane, uint64_t sequence) {
  return uint64_t{lane} << kSequenceBits | (sequence & kSequenceMask);
}

inline OuterHeader read_outer(const uint8_t* p) noexcept {
  return load_le<OuterHeader>(p);
}
inline void write_outer(uint8_t* p, const OuterHeader& h) noexcept {
  // Two whole words: what reads the header next loads it as such.
  store_le(p, uint64_t{h.type} | uint64_t{h.version} << 8 | uint64_t{h.sealed_length} << 16 |
                  uint64_t{h.receiver} << 32);
  store_le(p + 8, uint64_t{h.counter});
}

// --- HELLO: outer | sender index (4) | Noise message 1 (N) | mac1 | mac2 ------------------------

inline constexpr size_t kHelloMin = 320;
inline constexpr size_t kVersionTriggerMin = 256;
inline constexpr size_t kNoiseOffset = sizeof(OuterHeader) + 4;
inline constexpr size_t kHelloTokens = 80;  // e (32), s (32 + 16)
inline constexpr size_t kHelloPayloadMin = 32 + 8 + 4 + 2 + 64;
inline constexpr size_t kTokenMax = 255;
inline constexpr size_t kPrologueSize = 32 + sizeof(OuterHeader) + 4;

struct HelloView {
  Bytes packet;
  OuterHeader outer;
  uint32_t sender;

  Bytes noise() const { return packet.subspan(kNoiseOffset, outer.sealed_length); }
  Bytes before_mac1() const { return packet.first(packet.size() - 2 * kMacSize); }
  Bytes mac1() const { return packet.subspan(packet.size() - 2 * kMacSize, kMacSize); }
  Bytes before_mac2() const { return packet.first(packet.size() - kMacSize); }
  Bytes mac2() const { return packet.last(kMacSize); }
};

// Checks type, version, counter, length (>= 320, N exactly what is between) of a whole UDP payload.
std::optional<HelloView> parse_hello(Bytes packet) noexcept;

// The Noise prologue: `sluice/1` zero-padded to 32 | outer header | sender index.
ByteArray<kPrologueSize> hello_prologue(Bytes packet) noexcept;

struct HelloPayload {
  ByteArray<32> identity{};
  uint64_t time_ms = 0;
  uint32_t features = 0;
  Bytes token;
  ByteArray<64> signature{};
  Bytes signed_part;  // the payload before the signature
};
// Padding must be zero; the signature stands last.
std::optional<HelloPayload> parse_hello_payload(Bytes payload) noexcept;
// Everything but the signature, which the caller appends; `size` is that of the whole payload.
Buffer build_hello_payload(const ByteArray<32>& identity, uint64_t time_ms, uint32_t features,
                           Bytes token, size_t size);
// Smallest payload that makes a HELLO of at least kHelloMin bytes.
size_t hello_payload_size(size_t token_size) noexcept;

// --- WELCOME: outer | sender index (4) | Noise message 2 (N) | mac1 | zeros (16) -----------------

#pragma pack(push, 1)
struct WelcomePayload {
  uint32_t receiver;
  uint32_t sender;
  uint64_t address;
  uint64_t relay_time_ms;
  uint64_t relay_epoch;
  uint32_t trust_life_s;
  uint32_t features;
  uint16_t mtu;
  uint8_t send_lanes;
  uint8_t receive_lanes;
  uint32_t zeros;
};
#pragma pack(pop)
static_assert(sizeof(WelcomePayload) == 48);

inline constexpr size_t kWelcomeTokens = 32;  // e
inline constexpr size_t kWelcomeNoise = kWelcomeTokens + sizeof(WelcomePayload) + kTagSize;
inline constexpr size_t kWelcomeSize = kNoiseOffset + kWelcomeNoise + 2 * kMacSize;
static_assert(kWelcomeSize <= kHelloMin, "a WELCOME is never longer than its HELLO");

struct WelcomeView {
  Bytes packet;
  OuterHeader outer;
  uint32_t sender;

  Bytes noise() const { return packet.subspan(kNoiseOffset, kWelcomeNoise); }
  Bytes before_mac1() const { return packet.first(packet.size() - 2 * kMacSize); }
  Bytes mac1() const { return packet.subspan(packet.size() - 2 * kMacSize, kMacSize); }
};
std::optional<WelcomeView> parse_welcome(Bytes packet) noexcept;

// --- RETRY: outer | nonce (24) | sealed cookie (32)
// -----------------------------------------------

inline constexpr size_t kCookieSize = 16;
inline constexpr size_t kRetryNonce = 24;
inline constexpr size_t kRetrySize = sizeof(OuterHeader) + kRetryNonce + kCookieSize + kTagSize;

struct RetryView {
  OuterHeader outer;
  Bytes nonce;
  Bytes sealed_cookie;
};
std::optional<RetryView> parse_retry(Bytes packet) noexcept;

// --- VERSION: type 5 | version 0 | count (2) | sender index (4) | counter (8) | versions
// -----------

inline constexpr size_t kVersionSize = sizeof(OuterHeader) + 1;
struct VersionView {
  uint32_t sender;
  uint64_t counter;
  Bytes versions;
};
std::optional<VersionView> parse_version(Bytes packet) noexcept;
// Answers a HELLO of an unknown version; `hello` has at least kVersionTriggerMin bytes.
ByteArray<kVersionSize> build_version(Bytes hello) noexcept;

// --- DATA: outer | tag (16) | sealed region (>= 16) | opaque rest
// ---------------------------------

inline constexpr size_t kDataRegion = sizeof(OuterHeader) + kTagSize;
inline constexpr size_t kDataMin = kDataRegion + 16;

enum class Seal : uint8_t { kFull, kHeader, kMalformed };

// How a DATA packet of `size` bytes is sealed (wire.md §3): told by the sealed length alone.
constexpr Seal seal_of(uint16_t sealed_length, size_t size) noexcept {
  if (sealed_length < 16) return Seal::kMalformed;
  if (sealed_length + kDataRegion == size) return Seal::kFull;
  if (sealed_length == 16 && size >= kDataMin + 16) return Seal::kHeader;
  return Seal::kMalformed;
}

}  // namespace sluice::wire
