// Looks after the relay itself, some times a second: links, workers that stand still, how long the
// control thread was away, whether the audit log is written. Says what changed in Events. Control
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::control {

class Control;

class Watch {
 public:
  static constexpr uint64_t kPauseMs =
      100;  // between two rounds of control: from then on it counts

  explicit Watch(Control& control);

  // Once a round, with its ticks.
  void poll(uint64_t now);

  uint64_t pauses() const { return pauses_; }                // of kPauseMs and more
  uint64_t longest_pause() const { return longest_pause_; }  // ticks

 private:
  void look(uint64_t now);
  void look_at_links();
  void look_at_workers(uint64_t now);
  void look_at_audit();

  Control& control_;
  uint64_t last_round_ = 0;  // ticks
  uint64_t looked_at_ = 0;
  uint64_t pauses_ = 0;
  uint64_t longest_pause_ = 0;
  std::vector<bool> links_;
  struct Seen {
    uint64_t polls = 0;
    uint64_t since = 0;  // ticks: that it has not moved
    bool stalled = false;
  };
  std::vector<Seen> workers_;
  bool shed_ = false;
  bool audited_ = true;
  bool short_ = false;
  uint64_t lost_ = 0;
  uint64_t unseen_ = 0;
  uint64_t audited_at_ = 0;  // ticks: when the log's status was last asked for
};

}  // namespace sluice::control
