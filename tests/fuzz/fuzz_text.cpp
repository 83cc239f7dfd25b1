// Text that people and other programs write: base58, base64, hex, DIDs and virtual addresses. What
// decodes must encode to the same text; and any bytes survive the way through each encoding.
#include <algorithm>

#include "base/address.h"
#include "crypto/identity.h"
#include "crypto/text.h"
#include "fuzz.h"

namespace {

using namespace sluice;
using namespace sluice::crypto;

// The encoders are quadratic; nothing longer is ever decoded.
constexpr size_t kMax = 512;

fuzz::Canary base58_seen("base58");
fuzz::Canary base64_seen("base64");
fuzz::Canary base64url_seen("base64url");
fuzz::Canary hex_seen("hex");
fuzz::Canary did_seen("a DID");
fuzz::Canary address_seen("a virtual address");

const bool started = init();

void decode(std::string_view text) {
  if (const auto b = from_base58(text, kMax)) {
    if (!b->empty()) base58_seen.reached();
    SLUICE_REQUIRE(b->size() <= kMax && to_base58(*b) == text);
  }
  if (const auto b = from_base64(text)) {
    if (!b->empty()) base64_seen.reached();
    SLUICE_REQUIRE(to_base64(*b) == text);
  }
  if (const auto b = from_base64url(text)) {
    if (!b->empty()) base64url_seen.reached();
    SLUICE_REQUIRE(to_base64url(*b) == text);
  }
  if (const auto b = from_hex(text)) {
    if (!b->empty()) hex_seen.reached();
    SLUICE_REQUIRE(to_hex(*b) == text);
  }
  if (const auto key = parse_did(text)) {
    did_seen.reached();
    SLUICE_REQUIRE(to_did(*key) == text);
  }
  if (const auto a = parse_virtual_address(text)) {
    address_seen.reached();
    SLUICE_REQUIRE(to_string(*a) == text);
    SLUICE_REQUIRE(VirtualAddress::from_u64(a->to_u64()) == *a);
  }
}

void encode(Bytes in) {
  const Buffer whole = to_buffer(in);
  SLUICE_REQUIRE(from_base58(to_base58(in), in.size()) == whole);
  SLUICE_REQUIRE(from_base64(to_base64(in)) == whole);
  SLUICE_REQUIRE(from_base64url(to_base64url(in)) == whole);
  SLUICE_REQUIRE(from_hex(to_hex(in)) == whole);
  if (in.size() >= 32) {
    const auto key = take<32>(in.data());
    SLUICE_REQUIRE(parse_did(to_did(key)) == key);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  SLUICE_REQUIRE(started);
  decode(as_text({bytes, size}));
  encode(Bytes(bytes, size).first(std::min(size, kMax)));
  return 0;
}
