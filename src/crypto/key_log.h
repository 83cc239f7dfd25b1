// The key log's text (docs/capture.md): a line for each session whose packets somebody wants to
// open later. An agent writes it, sluice-pcap reads it. No I/O, no state.
//
//   LABEL UNIX_MS  ID KEY SALT  ID KEY SALT
//
// LABEL has the format's version. Each direction is named by what its packets carry, the number
// that their receiver chose (8 hex digits), and has a key (64) and the first four bytes of its
// nonces (8).
#pragma once

#include <optional>
#include <string_view>

#include "crypto/secret.h"
#include "crypto/secret_text.h"

namespace sluice::crypto {

enum class KeyLogKind : uint8_t {
  kTunnel,    // an agent and its relay: towards the relay, then back
  kEndToEnd,  // two agents: from the initiator, then back
};
inline constexpr std::string_view kKeyLogLabels[] = {"SLUICE_TUNNEL_1", "SLUICE_E2E_1"};

struct KeyLogDirection {
  uint32_t id = 0;
  Key256 key;
  ByteArray<4> salt{};
};

struct KeyLogEntry {
  KeyLogKind kind = KeyLogKind::kTunnel;
  uint64_t unix_ms = 0;  // when the keys were made
  KeyLogDirection there, back;
};

// One line with its end, in guarded memory.
SecretText key_log_line(const KeyLogEntry& entry);
// Of one line without its end; none: it is of another form.
std::optional<KeyLogEntry> parse_key_log_line(std::string_view line);

}  // namespace sluice::crypto
