// YAML text as a plain tree that remembers lines and repeated keys. What a configuration has no
// use for is refused here: anchors and aliases (so nothing can expand), tags, keys that are not
// text, a second document, tabs as indentation, control characters. Never throws.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/config_problems.h"

namespace sluice::control {

struct YamlNode {
  enum class Kind : uint8_t {
    kNull,  // nothing after the colon
    kScalar,
    kList,
    kMap,
    kBroken,  // already reported: readers pass over it in silence
  };

  Kind kind = Kind::kNull;
  bool quoted = false;  // a scalar in quotes is text, never a number
  int line = 0;         // 1-based; of the key where the value is not a scalar
  std::string key;      // of a map's child
  int key_line = 0;
  std::string text;                // of a scalar
  std::vector<YamlNode> children;  // of a list; of a map with repeated keys kept
};

// The root, or none after a problem that left nothing to read.
std::optional<YamlNode> read_yaml(std::string_view text, Problems& problems);

}  // namespace sluice::control
