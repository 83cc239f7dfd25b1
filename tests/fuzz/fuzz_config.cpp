// The configuration's loader: any bytes give either a configuration or problems with lines, and
// what is good prints as something that is good.
#include "control/config.h"
#include "crypto/secret.h"
#include "fuzz/fuzz.h"

using namespace sluice;

namespace {
fuzz::Canary good("a configuration without problems");
fuzz::Canary bad("a configuration with problems");
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  static const bool ready = crypto::init();
  SLUICE_REQUIRE(ready);
  const auto loaded = control::parse_config(as_text({data, size}), std::nullopt);
  for (const auto& p : loaded.problems) SLUICE_REQUIRE(!p.text.empty() && p.line >= 0);
  if (!loaded.problems.empty()) {
    bad.reached();
    return 0;
  }
  good.reached();
  const std::string printed = control::print_config(loaded.config);
  const auto again = control::parse_config(printed, std::nullopt);
  SLUICE_REQUIRE(again.problems.empty());
  SLUICE_REQUIRE(control::print_config(again.config) == printed);
  return 0;
}
