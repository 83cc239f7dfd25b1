#include "crypto/lanes/engine_of.h"
#include "crypto/lanes/portable.h"

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
