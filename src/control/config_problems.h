// What is wrong with a configuration, collected while it is read: no exception, no early return.
// Local to one load, one thread.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/config.h"

namespace sluice::control {

class Problems {
 public:
  // `rules`: also learns what may stand at every key that is read; null: nobody asks.
  explicit Problems(std::vector<KeyRule>* rules = nullptr) : rules_(rules) {}
  // Past this many nothing more is kept: nobody reads on, and a hostile file costs no more.
  static constexpr size_t kMost = 500;

  void add(int line, std::string text);
  bool full() const { return list_.size() > kMost; }
  bool empty() const { return list_.empty(); }
  // By line; those of one line in the order in which they were found.
  std::vector<ConfigProblem> take_sorted();

  bool asks_for_rules() const { return rules_ != nullptr; }
  void add_rule(KeyRule rule);

 private:
  std::vector<KeyRule>* rules_;
  std::vector<ConfigProblem> list_;
};

// A value of the file as it may stand in a message: in quotes, shortened, control characters
// escaped, so that a configuration cannot write to the terminal.
std::string quote(std::string_view text);

// The candidate that `text` was probably meant to be, by edit distance; none when nothing is close.
std::optional<std::string_view> nearest(std::string_view text,
                                        std::span<const std::string_view> candidates);

// `; did you mean "x"?`, or nothing.
std::string suggestion(std::string_view text, std::span<const std::string_view> candidates);

// "a, b, c"
std::string join_names(std::span<const std::string_view> names);

}  // namespace sluice::control
