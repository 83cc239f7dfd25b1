#include "crypto/lanes/portable.h"

// After it: it sets how the formulas are compiled.
#include "crypto/lanes/engine_of.h"

namespace sluice::crypto::lanes {

const Engine& portable_engine() {
  static const Engine engine = [] {
    Engine e{};
    e.name = "portable";
    add_signatures<Portable>(e);
    add_agreements<Portable>(e);
    return e;
  }();
  return engine;
}

}  // namespace sluice::crypto::lanes
