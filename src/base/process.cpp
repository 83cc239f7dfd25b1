#include "base/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace sluice {

void harden_process() noexcept {
  prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
}

}  // namespace sluice
