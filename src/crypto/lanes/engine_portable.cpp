#include "crypto/lanes/engine_of.h"
#include "crypto/lanes/portable.h"

namespace sluice::crypto::lanes {

const Engine& portable_engine() {
  static const Engine engine = engine_of<Portable>("portable");
  return engine;
}

}  // namespace sluice::crypto::lanes
