#include "crypto/lanes/engine_of.h"
#include "crypto/lanes/ifma.h"

namespace sluice::crypto::lanes {

void add_ifma_agreements(Engine& e);  // engine_ifma_x25519.cpp

const Engine& ifma_engine() {
  static const Engine engine = [] {
    Engine e{};
    e.name = "ifma";
    add_signatures<Ifma>(e);
    add_ifma_agreements(e);
    return e;
  }();
  return engine;
}

}  // namespace sluice::crypto::lanes
