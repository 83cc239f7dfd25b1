#include "control/config_section.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <limits>
#include <map>

#include <fmt/format.h>

namespace sluice::control {
namespace {

using Kind = YamlNode::Kind;

std::string_view describe(const YamlNode& node) {
  switch (node.kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "a single value";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a group of keys";
    case Kind::kBroken:
      break;
  }
  return "something else";
}

}  // namespace

std::optional<uint64_t> parse_decimal(std::string_view text) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
  }
  uint64_t v = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), v);
  return r.ec == std::errc() ? v : std::numeric_limits<uint64_t>::max();
}

std::string item_place(std::string_view list, const YamlNode& item, size_t index) {
  for (const auto& child : item.children) {
    if (child.key != "name" || child.kind != Kind::kScalar) continue;
    const bool plain = std::all_of(child.text.begin(), child.text.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '.' || c == '_' || c == '-';
    });
    if (plain && !child.text.empty() && child.text.size() < 64) {
      return fmt::format("{}[{}]", list, child.text);
    }
    break;
  }
  return fmt::format("{}[{}]", list, index + 1);
}

std::optional<std::string> scalar_text(Problems& problems, const YamlNode& node,
                                       std::string_view place) {
  if (node.kind == Kind::kBroken) return std::nullopt;
  if (node.kind != Kind::kScalar) {
    problems.add(node.line,
                 node.kind == Kind::kNull
                     ? fmt::format("{}: has no value; give one or remove the key", place)
                     : fmt::format("{}: is {}; give a single value", place, describe(node)));
    return std::nullopt;
  }
  const bool control = std::any_of(node.text.begin(), node.text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (control) {
    problems.add(node.line, fmt::format("{}: {} contains control characters; remove them", place,
                                        quote(node.text)));
    return std::nullopt;
  }
  return node.text;
}

Section::Section(Problems& problems, const YamlNode* node, std::string place,
                 std::initializer_list<std::string_view> keys)
    : problems_(problems), node_(node), place_(std::move(place)), keys_(keys) {
  if (node_ == nullptr) return;
  if (node_->kind == Kind::kScalar || node_->kind == Kind::kList) {
    problems_.add(node_->line, fmt::format("{}: is {}; it needs keys, one of: {}", place_,
                                           describe(*node_), join_names(keys_)));
    return;
  }
  std::map<std::string_view, int> seen;
  for (const auto& child : node_->children) {
    const auto [first, fresh] = seen.emplace(child.key, child.key_line);
    if (!fresh) {
      problem(child.key_line, child.key,
              fmt::format("is given twice (first on line {}); remove one", first->second));
    } else if (std::find(keys_.begin(), keys_.end(), child.key) == keys_.end() &&
               !problems_.full()) {
      const std::string hint = suggestion(child.key, keys_);
      problems_.add(
          child.key_line,
          fmt::format("{}unknown key {}{}", place_.empty() ? "" : place_ + ": ", quote(child.key),
                      hint.empty() ? "; known here: " + join_names(keys_) : hint));
    }
  }
}

std::string Section::place(std::string_view key) const {
  const std::string shown(key.substr(0, 64));
  return place_.empty() ? shown : place_ + "." + shown;
}

void Section::problem(int line, std::string_view key, std::string_view text) const {
  problems_.add(line, fmt::format("{}: {}", place(key), text));
}

const YamlNode* Section::find(std::string_view key) const {
  assert(std::find(keys_.begin(), keys_.end(), key) != keys_.end());
  if (node_ == nullptr || node_->kind != Kind::kMap) return nullptr;
  for (const auto& child : node_->children) {
    if (child.key == key) return &child;
  }
  return nullptr;
}

int Section::line_of(std::string_view key) const {
  const YamlNode* n = find(key);
  return n != nullptr ? n->key_line : line();
}

Section Section::section(std::string_view key, std::initializer_list<std::string_view> keys) const {
  return Section(problems_, find(key), place(key), keys);
}

std::span<const YamlNode> Section::list(std::string_view key) const {
  const YamlNode* n = find(key);
  if (n == nullptr || n->kind == Kind::kNull || n->kind == Kind::kBroken) return {};
  if (n->kind != Kind::kList) {
    problem(n->line, key, fmt::format("is {}; it needs a list", describe(*n)));
    return {};
  }
  return n->children;
}

std::span<const YamlNode> Section::map(std::string_view key) const {
  const YamlNode* n = find(key);
  if (n == nullptr || n->kind == Kind::kNull || n->kind == Kind::kBroken) return {};
  if (n->kind != Kind::kMap) {
    problem(n->line, key, fmt::format("is {}; it needs keys", describe(*n)));
    return {};
  }
  return n->children;
}

std::span<const YamlNode> Section::required_list(std::string_view key,
                                                 std::string_view remedy) const {
  if (!require(key, remedy)) return {};
  const YamlNode* n = find(key);
  if (n->kind == Kind::kNull || (n->kind == Kind::kList && n->children.empty())) {
    problem(n->line, key, fmt::format("is empty; {}", remedy));
  }
  return list(key);
}

bool Section::require(std::string_view key, std::string_view remedy) const {
  if (find(key) != nullptr) return true;
  // A section of the wrong type has been reported; its keys are not missing one by one.
  if (node_ == nullptr || node_->kind == Kind::kMap || node_->kind == Kind::kNull) {
    problem(place_.empty() ? 0 : line(), key, fmt::format("is missing; {}", remedy));
  }
  return false;
}

void Section::require_any(std::initializer_list<std::string_view> keys,
                          std::string_view remedy) const {
  if (node_ == nullptr || (node_->kind != Kind::kMap && node_->kind != Kind::kNull)) return;
  for (const auto key : keys) {
    if (find(key) != nullptr) return;
  }
  problems_.add(line(), fmt::format("{}: {}", place_, remedy));
}

void Section::tell(std::string_view key, std::string_view form, std::string_view initial) const {
  if (!problems_.asks_for_rules()) return;
  problems_.add_rule({place(key), std::string(form), std::string(initial)});
}

std::optional<TextValue> Section::text(std::string_view key) const {
  tell(key, "text", "");
  return read_text(key);
}

std::optional<TextValue> Section::read_text(std::string_view key) const {
  const YamlNode* n = find(key);
  if (n == nullptr) return std::nullopt;
  auto t = scalar_text(problems_, *n, place(key));
  if (!t) return std::nullopt;
  return TextValue{std::move(*t), n->line};
}

void Section::flag(std::string_view key, bool& out) const {
  tell(key, "true or false", out ? "true" : "false");
  const YamlNode* n = find(key);
  const auto v = read_text(key);
  if (!v) return;
  if (!n->quoted && (v->text == "true" || v->text == "false")) {
    out = v->text == "true";
  } else {
    problem(v->line, key, fmt::format("{} is neither true nor false", quote(v->text)));
  }
}

std::optional<uint64_t> Section::read_number(std::string_view key, uint64_t low, uint64_t high,
                                             uint64_t initial) const {
  if (problems_.asks_for_rules()) {
    tell(key, fmt::format("{} to {}", low, high), std::to_string(initial));
  }
  const YamlNode* n = find(key);
  const auto v = read_text(key);
  if (!v) return std::nullopt;
  const auto number = n->quoted ? std::nullopt : parse_decimal(v->text);
  if (!number) {
    problem(v->line, key,
            fmt::format("{} is not a whole number; give {} to {} in decimal, without quotes",
                        quote(v->text), low, high));
  } else if (*number < low || *number > high) {
    problem(v->line, key,
            fmt::format("{} is out of range; give {} to {}", v->text.substr(0, 24), low, high));
  } else {
    return number;
  }
  return std::nullopt;
}

std::optional<size_t> Section::read_choice(std::string_view key,
                                           std::span<const std::string_view> names,
                                           std::string_view initial) const {
  tell(key, join_names(names), initial);
  const auto v = read_text(key);
  if (!v) return std::nullopt;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == v->text) return i;
  }
  problem(v->line, key,
          fmt::format("{} is not one of {}{}", quote(v->text), join_names(names),
                      suggestion(v->text, names)));
  return std::nullopt;
}

void Section::path(std::string_view key, std::string& out) const {
  tell(key, "absolute path", out);
  const auto v = read_text(key);
  if (!v) return;
  if (!v->text.starts_with('/')) {
    problem(v->line, key,
            fmt::format("{} is not an absolute path; begin it with /", quote(v->text)));
  } else if (v->text.size() >= 4096) {
    problem(v->line, key, "is longer than the 4095 bytes of a path");
  } else {
    out = v->text;
  }
}

void Section::file_path(std::string_view key, std::string& out) const {
  tell(key, "absolute path", out);
  std::string given;
  path(key, given);
  if (given.ends_with('/')) {
    problem(line_of(key), key, fmt::format("{} ends with /; name the file itself", quote(given)));
  } else if (!given.empty()) {
    out = given;
  }
}

}  // namespace sluice::control
