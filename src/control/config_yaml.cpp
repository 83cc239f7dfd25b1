#include "control/config_yaml.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace sluice::control {
namespace {

constexpr size_t kDeepest = 16;
// The scanner keeps a line's tokens in memory; the longest useful line is one signed statement.
constexpr size_t kLongestLine = 64u << 10;

using Kind = YamlNode::Kind;

int line_of(const YAML::Mark& mark) {
  return mark.is_null() ? 0 : mark.line + 1;
}

// Builds the tree from the parser's events. The library's own tree would lose repeated keys
// and share the nodes of aliases.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(Problems& problems) : problems_(problems) {}

  std::optional<YamlNode> take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { attach(node(Kind::kNull, mark)); }

  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    problems_.add(line_of(mark), fmt::format("anchor {}: anchors are not supported; remove it",
                                             quote("&" + name)));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    problems_.add(line_of(mark), "aliases (*name) are not supported; write the value out");
    attach(node(Kind::kBroken, mark));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    check_tag(mark, tag);
    YamlNode n = node(Kind::kScalar, mark);
    n.quoted = tag == "!";
    n.text = value;
    attach(std::move(n));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(Kind::kList, mark);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(Kind::kMap, mark);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    std::optional<YamlNode> key;  // a map's key that waits for its value
  };

  static YamlNode node(Kind kind, const YAML::Mark& mark) {
    YamlNode n;
    n.kind = kind;
    n.line = line_of(mark);
    return n;
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    problems_.add(line_of(mark),
                  fmt::format("tag {}: tags are not supported; remove it", quote(tag)));
  }

  void open(Kind kind, const YAML::Mark& mark) {
    if (stack_.size() == kDeepest) {
      throw YAML::ParserException(mark, fmt::format("nested deeper than {} levels", kDeepest));
    }
    stack_.push_back({node(kind, mark), std::nullopt});
  }

  void close() {
    YamlNode done = std::move(stack_.back().node);
    stack_.pop_back();
    attach(std::move(done));
  }

  void attach(YamlNode n) {
    if (stack_.empty()) {
      root_ = std::move(n);
      return;
    }
    Open& top = stack_.back();
    if (top.node.kind == Kind::kList) {
      top.node.children.push_back(std::move(n));
    } else if (!top.key) {
      if (n.kind != Kind::kScalar && n.kind != Kind::kBroken) {
        problems_.add(n.line, "a key is missing or is not plain text; write \"key: value\"");
        n.kind = Kind::kBroken;
      }
      top.key = std::move(n);
    } else {
      if (top.key->kind == Kind::kScalar) {
        n.key = std::move(top.key->text);
        n.key_line = top.key->line;
        if (n.kind != Kind::kScalar) n.line = n.key_line;
        top.node.children.push_back(std::move(n));
      }
      top.key.reset();
    }
  }

  Problems& problems_;
  std::vector<Open> stack_;
  std::optional<YamlNode> root_;
};

// The size of the UTF-8 sequence at the start of `s` (RFC 3629), 0 if it is not one.
size_t utf8_size(std::string_view s) {
  const auto at = [s](size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const auto tail = [&at](size_t i) { return (at(i) & 0xc0) == 0x80; };
  const unsigned a = at(0), b = at(1);
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0;
  if (a >= 0xe0 && a <= 0xef) {
    const bool overlong = a == 0xe0 && b < 0xa0, surrogate = a == 0xed && b > 0x9f;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (a >= 0xf0 && a <= 0xf4) {
    const bool overlong = a == 0xf0 && b < 0x90, too_high = a == 0xf4 && b > 0x8f;
    return tail(1) && tail(2) && tail(3) && !overlong && !too_high ? 4 : 0;
  }
  return 0;
}

// What the scanner would take silently for something else (byte 4 ends its input) or report in
// words that help nobody. False: there is no use in parsing.
bool check_text(std::string_view text, Problems& problems) {
  bool good = true, indenting = true, tab = false;
  int line = 1;
  size_t line_start = 0;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\n') {
      ++line;
      line_start = i + 1;
      indenting = true;
      tab = false;
    } else if (const bool crlf = c == '\r' && text.substr(i, 2) == "\r\n";
               (c < 0x20 && c != '\t' && !crlf) || c == 0x7f) {
      problems.add(line, fmt::format("not text: byte 0x{:02x}; the file must be YAML in UTF-8", c));
      return false;
    } else if (indenting) {
      tab = tab || c == '\t';
      indenting = c == ' ' || c == '\t' || c == '\r';
      if (!indenting && tab && c != '#') {
        problems.add(line, "indented with a tab; YAML wants spaces");
        good = false;
      }
    }
    if (i + 1 > line_start + kLongestLine) {
      problems.add(line, fmt::format("longer than {} bytes; break the line up", kLongestLine));
      return false;
    }
    const size_t n = utf8_size(text.substr(i, 4));
    if (n == 0) {
      problems.add(line,
                   fmt::format("not text: byte 0x{:02x} is not UTF-8; save the file as UTF-8", c));
      return false;
    }
    i += n;
  }
  return good;
}

// Says only whether anything follows the first document.
class SecondDocument : public TreeBuilder {
 public:
  explicit SecondDocument(Problems& problems) : TreeBuilder(problems), problems_(problems) {}
  void OnDocumentStart(const YAML::Mark& mark) override {
    problems_.add(line_of(mark), "a second YAML document or stray text; keep one configuration");
  }

 private:
  Problems& problems_;
};

}  // namespace

std::optional<YamlNode> read_yaml(std::string_view text, Problems& problems) {
  if (!check_text(text, problems)) return std::nullopt;
  std::optional<YamlNode> root;
  try {
    // The scanner takes an open quote at the end of its input for closed, but never one that a
    // document's end mark interrupts.
    std::istringstream in(std::string(text) + "\n...\n");
    YAML::Parser parser(in);
    TreeBuilder first(problems);
    if (parser.HandleNextDocument(first)) root = first.take_root();
    Problems of_second;
    SecondDocument second(of_second);
    if (root && parser.HandleNextDocument(second)) {
      for (auto& p : of_second.take_sorted()) {
        problems.add(p.line, std::move(p.text));
        break;
      }
    }
  } catch (const YAML::Exception& e) {
    const int last = 1 + static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    if (line_of(e.mark) > last) {
      problems.add(last, "not valid YAML: the file ends inside quotes or brackets; close them");
      return std::nullopt;
    }
    const int column = e.mark.is_null() ? 0 : e.mark.column + 1;
    problems.add(line_of(e.mark),
                 fmt::format("not valid YAML at column {}: {}; check indentation, brackets and "
                             "quotes here and on the line before",
                             column, e.msg));
    return std::nullopt;
  } catch (const std::exception& e) {
    problems.add(0, fmt::format("cannot be parsed as YAML: {}", e.what()));
    return std::nullopt;
  }
  if (!root || root->kind == Kind::kNull) {
    problems.add(0, "the file is empty; start from config/sluiced.yaml, which explains every key");
    return std::nullopt;
  }
  if (root->kind != Kind::kMap) {
    problems.add(root->line,
                 "the file does not consist of \"key: value\" lines; start from "
                 "config/sluiced.yaml, which explains every key");
    return std::nullopt;
  }
  return root;
}

}  // namespace sluice::control
