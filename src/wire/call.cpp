#include "wire/call.h"

namespace sluice::wire {
namespace {

// So that no sum of times, and no window behind a counter, wraps.
constexpr uint64_t kLatestMs = uint64_t{1} << 62;
constexpr uint64_t kLastCounter = ~uint64_t{0} - 65'536;

template <size_t N>
uint8_t bit_of(const char* const (&names)[N], std::string_view name) noexcept {
  for (size_t i = 0; i < N; ++i) {
    if (!name.empty() && name == names[i]) return static_cast<uint8_t>(1u << i);
  }
  return 0;
}

}  // namespace

uint8_t capability_bit(std::string_view name) noexcept {
  return bit_of(kCapabilityNames, name);
}
std::vector<std::string> capability_names(uint8_t bits) {
  std::vector<std::string> out;
  for (size_t i = 0; i < std::size(kCapabilityNames); ++i) {
    if ((bits >> i & 1) != 0) out.emplace_back(kCapabilityNames[i]);
  }
  return out;
}
uint8_t protocol_bit(std::string_view name) noexcept {
  return bit_of(kProtocolNames, name);
}

bool well_formed(const Envelope& e) noexcept {
  if (e.zero != 0 || e.scope_count > kMostScopes || e.expires_ms <= e.issued_ms) return false;
  if (e.expires_ms > kLatestMs || e.counter > kLastCounter) return false;
  uint64_t before = 0;
  for (size_t i = 0; i < kMostScopes; ++i) {
    const uint64_t scope = e.scopes[i];
    if (i < e.scope_count ? scope <= before : scope != 0) return false;
    before = scope;
  }
  return true;
}

void write_accept_signed(const Envelope& e, const CallAccept& a,
                         ByteArray<kAcceptSigned>& out) noexcept {
  std::memcpy(out.data(), &e, sizeof e);
  store_le(out.data() + sizeof e, a.status);
  store_le(out.data() + sizeof e + 2, a.time_ms);
}

}  // namespace sluice::wire
