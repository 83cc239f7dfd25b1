// The field operations of crypto/lanes, one call each, for one lane type. Elements come and go as
// limbs, eight lanes to a limb: in[limb][lane].
#pragma once

#include <cstdint>

namespace sluice::crypto::lanes {

using LimbsIn = const uint64_t (&)[5][8];
using LimbsOut = uint64_t (&)[5][8];

struct FieldProbe {
  const char* name;
  void (*product)(LimbsIn a, LimbsIn b, LimbsOut raw);
  void (*square)(LimbsIn a, LimbsOut raw);
  void (*biased_product)(LimbsIn a, LimbsIn b, LimbsOut raw);  // kBias and the product
  void (*biased_square)(LimbsIn a, LimbsOut raw);
  void (*carry)(LimbsIn raw, LimbsOut out);
  void (*minus)(LimbsIn a, LimbsIn b, LimbsOut raw);  // kBias + a - b
  void (*sub)(LimbsIn a, LimbsIn b, LimbsOut out);
  void (*plus_121665_times)(LimbsIn a, LimbsIn b, LimbsOut raw);
  void (*freeze)(LimbsIn a, LimbsOut out);
  void (*invert)(LimbsIn a, LimbsOut out);
  void (*power_p58)(LimbsIn a, LimbsOut out);
  // Four words in and out, by way of a frozen element.
  void (*words)(const uint64_t (&in)[4][8], uint64_t (&out)[4][8]);
};

const FieldProbe& field_probe_ifma();  // only where ifma_engine_here() is not null
const FieldProbe& field_probe_portable();

}  // namespace sluice::crypto::lanes
