// Calls on the wire (docs/protocol.md §7): the envelope that CALL_OPEN carries, and what
// CALL_ACCEPT, CALL_CLOSE and CALL_DENY say. Little-endian, plain values, any thread.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "wire/call_reason.h"
#include "wire/frame.h"

namespace sluice::wire {

inline constexpr size_t kMostScopes = 4;
inline constexpr size_t kScopeSize = 8;
// Of the envelope, what its signature covers.
inline constexpr size_t kEnvelopeSigned = 144;

enum class Capability : uint8_t { kRead = 1, kDelegate = 2, kToolCall = 3, kWorkflowCommand = 4 };
inline constexpr const char* kCapabilityNames[] = {"", "read", "delegate", "tool_call",
                                                   "workflow_command"};
enum class CallProtocol : uint8_t { kRaw = 0, kA2a = 1, kMcp = 2, kOpenai = 3, kAnp = 4, kAcp = 5 };
inline constexpr const char* kProtocolNames[] = {"raw", "a2a", "mcp", "openai", "anp", "acp"};
// Empty where the number has no name.
template <size_t N>
constexpr const char* name_of(const char* const (&names)[N], uint8_t number) {
  return number < N ? names[number] : "";
}

// Rights as workers compare them: bit n is capability or protocol n, and back.
inline constexpr uint8_t kAllCapabilities = 0x1e;
inline constexpr uint8_t kAllProtocols = 0x3f;
// The bit of one of those names; 0: no such name.
std::vector<std::string> capability_names(uint8_t bits);
uint8_t capability_bit(std::string_view name) noexcept;
uint8_t protocol_bit(std::string_view name) noexcept;

#pragma pack(push, 1)
struct Envelope {
  uint8_t trace[16];
  uint64_t epoch;    // message id: of the relay
  uint64_t counter;  // and the caller's own; the frame's call id
  uint8_t idempotency[16];
  uint64_t issued_ms;  // Unix
  uint64_t expires_ms;
  uint64_t audience;  // virtual addresses
  uint64_t issuer;
  uint16_t tenant;   // the caller's
  uint16_t service;  // the callee's free number
  uint8_t capability;
  uint8_t protocol;
  uint8_t scope_count;
  uint8_t zero;
  uint64_t scopes[kMostScopes];  // ascending; those that are not used are zero
  uint64_t grant;                // what the digest of the grant begins with; 0: policy
  uint8_t commitment[16];
  uint8_t signature[64];
};

struct CallAccept {
  uint64_t epoch;
  uint64_t counter;
  uint16_t status;  // 0: accepted
  uint8_t zero[6];
  uint64_t time_ms;
  uint8_t signature[64];
};

struct CallClose {
  uint16_t status;
  uint8_t zero[6];
  uint64_t bytes_sent;
};

struct CallDeny {
  uint64_t epoch;
  uint64_t counter;
  uint16_t reason;
  uint16_t zero;
  uint32_t retry_after_ms;
};
#pragma pack(pop)
static_assert(sizeof(Envelope) == kEnvelopeSize &&
              offsetof(Envelope, signature) == kEnvelopeSigned);
static_assert(offsetof(Envelope, issued_ms) == 48 && offsetof(Envelope, tenant) == 80 &&
              offsetof(Envelope, scopes) == 88 && offsetof(Envelope, commitment) == 128);
static_assert(sizeof(CallAccept) == kCallAcceptSize && sizeof(CallClose) == kCallCloseSize &&
              sizeof(CallDeny) == kCallDenySize);

// What an envelope's own bytes can tell: counters, times, scopes and zeros fit together. The
// frame's call id and the longest life that the relay allows are compared by the caller of this.
bool well_formed(const Envelope& e) noexcept;

// What the callee signs: the whole envelope, its status and its time.
inline constexpr size_t kAcceptSigned = kEnvelopeSize + 2 + 8;
void write_accept_signed(const Envelope& e, const CallAccept& a,
                         ByteArray<kAcceptSigned>& out) noexcept;

}  // namespace sluice::wire
