// The end-to-end layer between two agents; the relay carries it unread (wire.md §6).
#pragma once

#include <optional>

#include "base/bytes.h"

namespace sluice::wire {

enum class E2eType : uint8_t { kKk1 = 1, kKk2 = 2, kTransport = 3 };
inline constexpr const char* kE2eNames[] = {"", "KK1", "KK2", "transport"};

// The first byte of what a transport message seals.
enum class MessageKind : uint8_t {
  kData = 0,
  kPing = 1,
  kPong = 2,
  kPacket = 3,
  kKeep = 4,
  kIp = 5
};
inline constexpr const char* kMessageKindNames[] = {"data", "ping", "pong", "packet", "keep", "ip"};
inline constexpr size_t kPingIdSize = 8;

#pragma pack(push, 1)
struct E2eHeader {
  uint8_t type;
  uint8_t zeros[3];
  uint32_t key_id;
  uint64_t counter;
};
#pragma pack(pop)
static_assert(sizeof(E2eHeader) == 16);

inline constexpr size_t kE2eTag = 16;
inline constexpr size_t kE2eOverhead = sizeof(E2eHeader) + kE2eTag;
inline constexpr size_t kKkTokens = 32;
// The header of KK1 and of its KK2 carries the key id that the initiator chose for what it will
// receive; the responder's own choice is KK2's payload.
inline constexpr size_t kKk1Payload = 8;  // time ms, above the last accepted from that peer
inline constexpr size_t kKk2Payload = 4;  // the responder's key id
inline constexpr size_t kKk1Size = sizeof(E2eHeader) + kKkTokens + kKk1Payload + kE2eTag;
inline constexpr size_t kKk2Size = sizeof(E2eHeader) + kKkTokens + kKk2Payload + kE2eTag;

// AAD of a transport message: its header | frame | flags | call id of the frame that carries it.
inline constexpr size_t kE2eAad = sizeof(E2eHeader) + 1 + 1 + 8;
ByteArray<kE2eAad> e2e_aad(const uint8_t* header, uint8_t frame, uint8_t flags,
                           uint64_t call_id) noexcept;

// Checks the header and the size that goes with its type.
std::optional<E2eHeader> parse_e2e(Bytes message) noexcept;

}  // namespace sluice::wire
