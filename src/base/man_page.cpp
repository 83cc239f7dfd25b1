#include "base/man_page.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "base/error.h"

namespace sluice {
namespace {

// One character of UTF-8, its continuation bytes taken off the front of `rest`.
uint32_t code_point(unsigned char first, std::string_view& rest) {
  uint32_t value = first < 0xe0 ? first & 0x1f : first < 0xf0 ? first & 0x0f : first & 0x07;
  while (!rest.empty() && (static_cast<unsigned char>(rest[0]) & 0xc0) == 0x80) {
    value = value << 6 | (static_cast<unsigned char>(rest[0]) & 0x3f);
    rest.remove_prefix(1);
  }
  return value;
}

constexpr uint32_t kEllipsis = 0x2026;

// groff(7) would set some of these as typographic characters, which nobody can paste or search for.
std::string escaped(std::string_view text) {
  std::string out;
  if (text.starts_with('.') || text.starts_with('\'')) out = "\\&";
  while (!text.empty()) {
    const char c = text[0];
    text.remove_prefix(1);
    switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '"':
        out += "\\(dq";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x80) {
          out += c;
        } else {
          const uint32_t point = code_point(static_cast<unsigned char>(c), text);
          // A terminal without it would have nothing there.
          out += point == kEllipsis ? "..." : fmt::format("\\[u{:04X}]", point);
        }
    }
  }
  return out;
}

std::string bold(std::string_view text) {
  return fmt::format("\\fB{}\\fR", escaped(text));
}

std::string italic(std::string_view text) {
  return fmt::format("\\fI{}\\fR", escaped(text));
}

// Paragraphs are filled, what is indented stays as it is, and so does what follows "Example:".
class Blocks {
 public:
  explicit Blocks(std::string& out) : out_(out) {}
  ~Blocks() { end(); }

  void add(std::string_view text) {
    while (!text.empty()) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      add_line(line);
    }
  }

 private:
  void add_line(std::string_view line) {
    const size_t begin = line.find_first_not_of(' ');
    if (begin == std::string_view::npos) return end();
    if (begin >= 2) return literal(line.substr(begin));
    for (std::string_view mark : {"Example:  ", "Examples:  "}) {
      const size_t at = line.find(mark);
      if (at == std::string_view::npos) continue;
      filled(line.substr(0, at + mark.size() - 2));
      return literal(line.substr(at + mark.size()));
    }
    filled(line);
  }

  void filled(std::string_view line) {
    if (literal_) end();
    if (!open_) out_ += ".PP\n";
    open_ = true;
    out_ += escaped(line) + "\n";
  }

  void literal(std::string_view line) {
    if (!literal_) out_ += ".PP\n.RS 4\n.nf\n";
    literal_ = true;
    out_ += escaped(line) + "\n";
  }

  void end() {
    if (literal_) out_ += ".fi\n.RE\n";
    open_ = literal_ = false;
  }

  std::string& out_;
  bool open_ = false;
  bool literal_ = false;
};

bool hidden(const CLI::Option& o) {
  return o.get_group().empty();
}

// What CLI11's checks say of themselves behind the type, such as "UINT:INT in [1 - 9]".
std::string range_of(const CLI::Option& o) {
  const std::string type = o.get_type_name();
  const size_t colon = type.find(':');
  if (colon == std::string::npos) return {};
  std::string check = type.substr(colon + 1);
  if (check.starts_with('{') && check.ends_with('}')) {
    std::string list;
    for (const char c : check.substr(1, check.size() - 2))
      list += c == ',' ? ", " : std::string(1, c);
    return fmt::format(" One of {}.", list);
  }
  if (const size_t in = check.find(" in ["); in != std::string::npos && check.ends_with(']')) {
    std::string bounds = check.substr(in + 5, check.size() - in - 6);
    if (const size_t dash = bounds.find(" - "); dash != std::string::npos)
      bounds.replace(dash, 3, " to ");
    return fmt::format(" From {}.", bounds);
  }
  std::transform(check.begin(), check.end(), check.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return fmt::format(" A {} number.", check);
}

// The set's own order is that of addresses, another in every build.
std::string names_of(const std::set<CLI::Option*>& options) {
  std::set<std::string> names;
  for (const auto* o : options) names.insert(o->get_name());
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string values_of(const CLI::Option& o) {
  const std::string type = o.get_type_name();
  const std::string value = type.substr(0, type.find(':'));
  std::string out;
  for (int i = 0; i < o.get_items_expected_min() && i < 4; ++i) out += " " + italic(value);
  if (out.empty()) out = " " + italic(value);
  if (o.get_items_expected_max() > std::max(1, o.get_items_expected_min())) out += " ...";
  return out;
}

void add_option(const CLI::Option& o, std::string& out) {
  std::string names;
  for (const auto& name : o.get_snames()) names += (names.empty() ? "" : ", ") + bold("-" + name);
  for (const auto& name : o.get_lnames()) names += (names.empty() ? "" : ", ") + bold("--" + name);
  if (o.get_positional()) {
    names = italic(o.get_name(true, false));
  } else if (o.get_items_expected_max() > 0) {
    names += values_of(o);
  }
  std::string text = o.get_description();
  if (!text.empty() && !text.ends_with('.')) text += '.';
  text += range_of(o);
  const bool says_default = text.find("efault") != std::string::npos;
  if (!o.get_default_str().empty() && !says_default)
    text += fmt::format(" Default {}.", o.get_default_str());
  if (o.get_required() && !o.get_positional()) text += " Required.";
  if (!o.get_needs().empty()) text += fmt::format(" Needs {}.", names_of(o.get_needs()));
  if (!o.get_excludes().empty()) text += fmt::format(" Not with {}.", names_of(o.get_excludes()));
  out += fmt::format(".TP\n{}\n{}\n", names, escaped(text));
}

bool is_group(const CLI::App& app) {
  return app.get_name().empty();
}

std::vector<const CLI::App*> below(const CLI::App& app, bool groups) {
  return app.get_subcommands([groups](const CLI::App* sub) {
    return is_group(*sub) == groups && !sub->get_group().empty();
  });
}

// Help is the same everywhere: it stands with the options of the program alone.
void add_options(const CLI::App& app, bool with_help, std::string& out) {
  for (const CLI::Option* o : app.get_options()) {
    if (!hidden(*o) && (with_help || o != app.get_help_ptr())) add_option(*o, out);
  }
  for (const CLI::App* group : below(app, true)) {
    const std::string about = group->get_description();
    out += fmt::format(".PP\n{}{}\n", bold(group->get_group()),
                       about.empty() ? "" : ": " + escaped(about));
    add_options(*group, false, out);
  }
}

bool has_options(const CLI::App& app) {
  for (const CLI::Option* o : app.get_options()) {
    if (!hidden(*o) && !o->get_positional() && o != app.get_help_ptr()) return true;
  }
  const auto groups = below(app, true);
  return std::any_of(groups.begin(), groups.end(),
                     [](const CLI::App* g) { return has_options(*g); });
}

void add_positionals(const CLI::App& app, std::string& out) {
  for (const CLI::Option* o : app.get_options()) {
    if (!o->get_positional() || hidden(*o)) continue;
    const std::string name = italic(o->get_name(true, false));
    out += o->get_required() ? " " + name : " [" + name + "]";
  }
  for (const CLI::App* group : below(app, true)) add_positionals(*group, out);
}

std::string synopsis(const CLI::App& app, const std::string& path) {
  std::string out = bold(path);
  if (has_options(app)) out += " [" + italic("OPTION") + " ...]";
  add_positionals(app, out);
  if (!below(app, false).empty()) {
    const std::string command = italic("COMMAND") + " ...";
    out += app.get_require_subcommand_min() > 0 ? " " + command : " [" + command + "]";
  }
  return out;
}

void add_commands(const CLI::App& app, const std::string& path, std::string& out) {
  for (const CLI::App* sub : below(app, false)) {
    const std::string name = path + " " + sub->get_name();
    out += fmt::format(".SS {}\n", synopsis(*sub, name));
    Blocks(out).add(sub->get_description() + ".");
    add_options(*sub, false, out);
    // Where a command has no footer of its own, CLI11 hands it that of the one above.
    if (sub->get_footer() != app.get_footer()) Blocks(out).add(sub->get_footer());
    add_commands(*sub, name, out);
  }
}

}  // namespace

std::string man_page(const CLI::App& app, const ManPage& page) {
  const std::string& name = app.get_name();
  std::string title = name;
  std::transform(title.begin(), title.end(), title.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  std::string out = fmt::format(
      ".TH {} {} \"\" \"Sluice {}\" \"Sluice\"\n.nh\n.ad l\n.SH NAME\n{} \\- {}\n.SH "
      "SYNOPSIS\n{}\n.SH DESCRIPTION\n",
      escaped(title), page.section, SLUICE_VERSION, escaped(name), escaped(page.summary),
      synopsis(app, name));
  Blocks(out).add(app.get_description());
  Blocks(out).add(app.get_footer());
  out += ".SH OPTIONS\n";
  add_options(app, true, out);
  if (!below(app, false).empty()) {
    out += ".SH COMMANDS\n";
    add_commands(app, name, out);
  }
  out += ".SH EXIT STATUS\n.TP\n0\ndone\n";
  for (const auto& e : kErrorTable) {
    out += fmt::format(".TP\n{}\n{} ({})\n", e.exit_code, escaped(e.meaning), escaped(e.name));
  }
  if (!page.files.empty()) out += ".SH FILES\n";
  for (const auto& f : page.files)
    out += fmt::format(".TP\n{}\n{}\n", italic(f.path), escaped(f.text));
  out += ".SH SEE ALSO\n";
  for (size_t i = 0; i < page.see_also.size(); ++i) {
    const std::string_view other = page.see_also[i];
    const size_t paren = other.find('(');
    out += fmt::format(".BR {} {}{}\n", escaped(other.substr(0, paren)), other.substr(paren),
                       i + 1 < page.see_also.size() ? "," : "");
  }
  return out;
}

}  // namespace sluice
