#include "crypto/lanes/engine_of.h"
#include "crypto/lanes/ifma.h"

namespace sluice::crypto::lanes {

void add_ifma_agreements(Engine& e);

void add_ifma_agreements(Engine& e) {
  add_agreements<Ifma>(e);
}

}  // namespace sluice::crypto::lanes
