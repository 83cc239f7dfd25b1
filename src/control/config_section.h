// Typed reading of one map of the configuration. Unknown and repeated keys are reported when the
// section is opened, wrong types and ranges when a value is read; what could not be read keeps
// its default. Borrows the tree and the problems; lives for the length of one load.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/config_yaml.h"

namespace sluice::control {

// Decimal digits without sign or leading zeros; larger than 64 bits saturates.
std::optional<uint64_t> parse_decimal(std::string_view text);

// `list[name]` where the item has a name, else `list[3]`, counted from 1.
std::string item_place(std::string_view list, const YamlNode& item, size_t index);

struct TextValue {
  std::string text;
  int line = 0;
};

template <typename T>
using Choices = std::initializer_list<std::pair<std::string_view, T>>;

class Section {
 public:
  // `node`: null when the file has no such section. `place`: how messages name it, empty at the
  // root. `keys` must outlive the section (string literals do).
  Section(Problems& problems, const YamlNode* node, std::string place,
          std::initializer_list<std::string_view> keys);

  int line() const { return node_ != nullptr ? node_->line : 0; }
  Problems& problems() const { return problems_; }
  std::string place(std::string_view key) const;
  // `place.key: text`
  void problem(int line, std::string_view key, std::string_view text) const;

  // A section below this one; absent and empty ones are sections without keys.
  Section section(std::string_view key, std::initializer_list<std::string_view> keys) const;
  std::span<const YamlNode> list(std::string_view key) const;
  // The entries of a map whose keys are the operator's own.
  std::span<const YamlNode> map(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // Like list(); an absent or empty one is reported too.
  std::span<const YamlNode> required_list(std::string_view key, std::string_view remedy) const;
  // Reports a key that is not there, with what it should hold.
  bool require(std::string_view key, std::string_view remedy) const;
  // Reports a section that is there without any of these keys.
  void require_any(std::initializer_list<std::string_view> keys, std::string_view remedy) const;
  // Line of the key, or of the section where it is absent.
  int line_of(std::string_view key) const;

  std::optional<TextValue> text(std::string_view key) const;
  void flag(std::string_view key, bool& out) const;
  // An absolute path; file_path() refuses those that end with a slash.
  void path(std::string_view key, std::string& out) const;
  void file_path(std::string_view key, std::string& out) const;
  // Assigns if present and within [low, high]; returns whether it did.
  template <typename T>
  bool number(std::string_view key, T& out, uint64_t low, uint64_t high) const {
    const auto v = read_number(key, low, high, static_cast<uint64_t>(out));
    if (v) out = static_cast<T>(*v);
    return v.has_value();
  }
  template <typename T>
  void choice(std::string_view key, T& out, Choices<T> choices) const {
    std::vector<std::string_view> names;
    std::string_view initial;
    for (const auto& c : choices) {
      names.push_back(c.first);
      if (c.second == out) initial = c.first;
    }
    if (const auto i = read_choice(key, names, initial)) out = (choices.begin() + *i)->second;
  }

 private:
  const YamlNode* find(std::string_view key) const;
  std::optional<TextValue> read_text(std::string_view key) const;
  std::optional<uint64_t> read_number(std::string_view key, uint64_t low, uint64_t high,
                                      uint64_t initial) const;
  std::optional<size_t> read_choice(std::string_view key, std::span<const std::string_view> names,
                                    std::string_view initial) const;
  void tell(std::string_view key, std::string_view form, std::string_view initial) const;

  Problems& problems_;
  const YamlNode* node_;
  std::string place_;
  std::vector<std::string_view> keys_;
};

// The text of a scalar; anything else, and control characters, are reported under `place`.
std::optional<std::string> scalar_text(Problems& problems, const YamlNode& node,
                                       std::string_view place);

}  // namespace sluice::control
