#include "crypto/lanes/ifma.h"
#include "field_probe_of.h"

namespace sluice::crypto::lanes {

const FieldProbe& field_probe_ifma() {
  static const FieldProbe probe = field_probe_of<Ifma>("ifma");
  return probe;
}

}  // namespace sluice::crypto::lanes
