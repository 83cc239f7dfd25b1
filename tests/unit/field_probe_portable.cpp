#include "crypto/lanes/portable.h"

// After it: it sets how the formulas are compiled.
#include "field_probe_of.h"

namespace sluice::crypto::lanes {

const FieldProbe& field_probe_portable() {
  static const FieldProbe probe = field_probe_of<Portable>("portable");
  return probe;
}

}  // namespace sluice::crypto::lanes
