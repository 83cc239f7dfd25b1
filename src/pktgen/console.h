// What goes to the terminal while something takes time, and the words that scripts wait for. A
// line that changes in place on a terminal, else one line every 5 s, on standard error; `ready`,
// `begin` and `end` lines on standard output.
#pragma once

#include <string>

#include "base/clock.h"
#include "pktgen/connector.h"

namespace sluice::pktgen {

class Fleet;

class Console {
 public:
  explicit Console(const Clock& clock);

  void progress(const std::string& line);  // shown at most once a second
  void finish_progress();
  void connecting(const Connector& connector, uint32_t agents);

 private:
  const Clock& clock_;
  bool terminal_;
  uint64_t begin_;
  uint64_t next_ = 0;
  bool open_ = false;
};

void say_marker(bool wanted, const char* what, const std::string& name);
// `ready` on a line of its own; with `wait`, then a line from standard input, or its end.
void say_ready(Fleet& fleet, bool wait);
// `done`, then the same: a peer on shared memory should not see its other side vanish.
void say_done(Fleet& fleet, bool hold);

}  // namespace sluice::pktgen
