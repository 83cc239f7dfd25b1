#include "wire/end_to_end.h"

namespace sluice::wire {

ByteArray<kE2eAad> e2e_aad(const uint8_t* header, uint8_t frame, uint8_t flags,
                           uint64_t call_id) noexcept {
  ByteArray<kE2eAad> out;
  std::memcpy(out.data(), header, sizeof(E2eHeader));
  out[sizeof(E2eHeader)] = frame;
  out[sizeof(E2eHeader) + 1] = flags;
  store_le(out.data() + sizeof(E2eHeader) + 2, call_id);
  return out;
}

std::optional<E2eHeader> parse_e2e(Bytes message) noexcept {
  if (message.size() < kE2eOverhead) return std::nullopt;
  const E2eHeader h = load_le<E2eHeader>(message.data());
  if (h.zeros[0] != 0 || h.zeros[1] != 0 || h.zeros[2] != 0) return std::nullopt;
  switch (static_cast<E2eType>(h.type)) {
    case E2eType::kKk1:
      return message.size() == kKk1Size && h.counter == 0 ? std::optional(h) : std::nullopt;
    case E2eType::kKk2:
      return message.size() == kKk2Size && h.counter == 0 ? std::optional(h) : std::nullopt;
    case E2eType::kTransport:
      return h;
  }
  return std::nullopt;
}

}  // namespace sluice::wire
