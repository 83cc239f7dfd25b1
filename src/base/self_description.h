// The verbs with which every program describes its command line: `completion SHELL` and, for the
// build alone and therefore not in --help, `man`.
#pragma once

#include <memory>
#include <optional>

#include "base/man_page.h"

namespace sluice {

class SelfDescription {
 public:
  // Adds the verbs to `app`, which has a name and outlives this.
  SelfDescription(CLI::App& app, ManPage page);
  ~SelfDescription();
  // The exit code, if one of the verbs was given; what it asks for is printed then.
  std::optional<int> run() const;

 private:
  struct Verbs;
  std::unique_ptr<Verbs> verbs_;
};

}  // namespace sluice
