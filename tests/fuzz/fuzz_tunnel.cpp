// The outer layer: HELLO and its payload, WELCOME, RETRY, VERSION and the seal of DATA.
#include "fuzz.h"
#include "wire/tunnel.h"

namespace {

using namespace sluice;
using namespace sluice::wire;
using fuzz::inside;

fuzz::Canary hello_seen("a HELLO");
fuzz::Canary payload_seen("a HELLO's payload with a token");
fuzz::Canary welcome_seen("a WELCOME");
fuzz::Canary retry_seen("a RETRY");
fuzz::Canary version_seen("a VERSION");
fuzz::Canary full_seen("DATA in the full seal");
fuzz::Canary header_seen("DATA in the header seal");

void hello(Bytes in) {
  const auto v = parse_hello(in);
  if (!v) return;
  hello_seen.reached();
  SLUICE_REQUIRE(in.size() >= kHelloMin);
  SLUICE_REQUIRE(v->outer.type == 1 && v->outer.version == 1 && v->outer.counter == 0);
  for (Bytes part : {v->noise(), v->before_mac1(), v->mac1(), v->before_mac2(), v->mac2()}) {
    SLUICE_REQUIRE(inside(part, in));
  }
  SLUICE_REQUIRE(v->noise().size() == v->outer.sealed_length);
  SLUICE_REQUIRE(v->noise().data() + v->noise().size() == v->mac1().data());
  SLUICE_REQUIRE(v->mac1().data() + kMacSize == v->mac2().data());
  SLUICE_REQUIRE(v->mac2().data() + kMacSize == in.data() + in.size());
  const auto prologue = hello_prologue(in);
  SLUICE_REQUIRE(std::memcmp(prologue.data() + 32, in.data(), 20) == 0);
}

void hello_payload(Bytes in) {
  const auto v = parse_hello_payload(in);
  if (!v) return;
  if (!v->token.empty()) payload_seen.reached();
  SLUICE_REQUIRE(inside(v->token, v->signed_part) && inside(v->signed_part, in));
  SLUICE_REQUIRE(v->signed_part.size() + v->signature.size() == in.size());
  Buffer again = build_hello_payload(v->identity, v->time_ms, v->features, v->token, in.size());
  again.insert(again.end(), v->signature.begin(), v->signature.end());
  SLUICE_REQUIRE(again.size() == in.size() && std::memcmp(again.data(), in.data(), in.size()) == 0);
}

void welcome(Bytes in) {
  const auto v = parse_welcome(in);
  if (!v) return;
  welcome_seen.reached();
  SLUICE_REQUIRE(in.size() == kWelcomeSize);
  SLUICE_REQUIRE(inside(v->noise(), in) && inside(v->mac1(), in) && inside(v->before_mac1(), in));
  SLUICE_REQUIRE(v->noise().data() + v->noise().size() == v->mac1().data());
  SLUICE_REQUIRE(all_zero(in.last(kMacSize)));
}

void retry(Bytes in) {
  const auto v = parse_retry(in);
  if (!v) return;
  retry_seen.reached();
  SLUICE_REQUIRE(v->nonce.size() == kRetryNonce && v->sealed_cookie.size() == 32);
  SLUICE_REQUIRE(v->nonce.data() + kRetryNonce == v->sealed_cookie.data());
  SLUICE_REQUIRE(inside(v->sealed_cookie, in));
}

void version(Bytes in) {
  if (in.size() >= kVersionTriggerMin) {
    const auto answer = build_version(in);
    const auto v = parse_version(answer);
    SLUICE_REQUIRE(v && v->versions.size() == 1 && v->versions[0] == kProtocolVersion);
    SLUICE_REQUIRE(v->sender == load_le<uint32_t>(in.data() + 16));
  }
  const auto v = parse_version(in);
  if (!v) return;
  version_seen.reached();
  SLUICE_REQUIRE(inside(v->versions, in) && v->versions.size() + 16 == in.size());
}

void data(Bytes in) {
  if (in.size() < sizeof(OuterHeader)) return;
  const OuterHeader h = read_outer(in.data());
  uint8_t again[sizeof(OuterHeader)];
  write_outer(again, h);
  SLUICE_REQUIRE(std::memcmp(again, in.data(), sizeof again) == 0);
  SLUICE_REQUIRE(make_counter(h.lane(), h.sequence()) == h.counter);
  switch (seal_of(h.sealed_length, in.size())) {
    case Seal::kFull:
      full_seen.reached();
      SLUICE_REQUIRE(in.size() >= kDataMin && kDataRegion + h.sealed_length == in.size());
      break;
    case Seal::kHeader:
      header_seen.reached();
      SLUICE_REQUIRE(h.sealed_length == 16 && in.size() >= kDataRegion + 32);
      break;
    case Seal::kMalformed:
      break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const Bytes in(bytes, size);
  hello(in);
  hello_payload(in);
  welcome(in);
  retry(in);
  version(in);
  data(in);
  return 0;
}
