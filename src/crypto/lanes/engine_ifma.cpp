#include "crypto/lanes/engine_of.h"
#include "crypto/lanes/ifma.h"

namespace sluice::crypto::lanes {

const Engine& ifma_engine() {
  static const Engine engine = engine_of<Ifma>("ifma");
  return engine;
}

}  // namespace sluice::crypto::lanes
