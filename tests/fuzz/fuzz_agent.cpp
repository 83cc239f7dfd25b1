// What an agent reads from outside before or beside its seals: the join string, HTTP targets of its
// local API, and the relay's CONTROL messages with their sets of edges.
#include "agent/control_channel.h"
#include "agent/join.h"
#include "control.pb.h"
#include "crypto/secret.h"
#include "fuzz/fuzz.h"
#include "http/url.h"

using namespace sluice;

namespace {
fuzz::Canary joined("a join string was accepted");
fuzz::Canary target("an HTTP target was accepted");
fuzz::Canary control("a set of edges was complete");
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool ready = crypto::init();
  SLUICE_REQUIRE(ready);
  const Bytes bytes(data, size);
  if (const auto join = agent::parse_join(as_text(bytes))) {
    joined.reached();
    SLUICE_REQUIRE(join->port != 0 && !join->host.empty());
  }
  if (const auto parsed = http::parse_target(as_text(bytes))) {
    target.reached();
    SLUICE_REQUIRE(!parsed->path.empty() && parsed->path.find('\0') == std::string::npos);
  }
  agent::Pins pins;
  size_t acknowledged = 0;
  agent::ControlHooks hooks;
  hooks.send = [&](uint64_t, Bytes) { ++acknowledged; };
  hooks.edges = [&](std::vector<agent::PeerEdge> edges) {
    control.reached();
    // Nothing unsigned is ever used.
    for (const auto& e : edges) SLUICE_REQUIRE(!e.usable() || !all_zero(e.e2e_key));
  };
  hooks.revoked = [](const agent::Revocation&) {};
  hooks.report = [](auto, const std::string&) {};
  agent::ControlChannel channel({}, pins, hooks);
  channel.receive(1, bytes, 0);
  channel.receive(1, bytes, 0);
  SLUICE_REQUIRE(acknowledged <= 2);
  return 0;
}
