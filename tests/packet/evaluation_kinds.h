// What can be wrong with a call, one kind each; and what was let through before, for those that
// try it again.
#pragma once

#include "packet/evaluation_cast.h"

namespace rig {

class EvaluationKinds : public EvaluationCast {
 protected:
  // A call over one of `on`'s caller's lines; half of them are good.
  Attempt any(Line& on);
  // Those of the last seconds that were let through, from earlier rounds.
  void remember(const std::vector<Attempt*>& calls);

 private:
  Attempt bad(Line& on);
  std::map<const Agent*, std::deque<Attempt>> lately_;
};

}  // namespace rig
