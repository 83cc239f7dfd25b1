#include "base/completion.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace sluice {
namespace {

// What can follow one command: of bash's `case`, an arm.
struct Words {
  std::string all;     // commands and options
  std::string values;  // options that take a value
  std::string files;   // those of them whose value is a path
  bool takes_file = false;
};

bool is_path(const CLI::Option* o) {
  const std::string type = o->get_type_name(), name = o->get_name(true, true);
  for (const char* hint : {"FILE", "DIR", "PATH", "socket", "state"}) {
    if (type.find(hint) != std::string::npos || name.find(hint) != std::string::npos) return true;
  }
  return false;
}

void add_options(const CLI::App& app, Words& w) {
  for (const CLI::Option* o : app.get_options()) {
    if (o->get_group().empty()) continue;  // hidden
    if (o->get_positional() && is_path(o)) w.takes_file = true;
    const bool value = o->get_items_expected_max() > 0;
    for (const auto& name : o->get_lnames()) {
      if ((w.all + " ").find(" --" + name + " ") != std::string::npos) continue;
      w.all += " --" + name;
      if (value) w.values += " --" + name;
      if (value && is_path(o)) w.files += " --" + name;
    }
    for (const auto& name : o->get_snames()) {
      if (value) w.values += " -" + name;
      if (value && is_path(o)) w.files += " -" + name;
    }
  }
}

// The arms of `app` and all below it.
void add_arms(const CLI::App& app, const std::string& path, Words inherited, std::string& paths,
              std::string& arms) {
  add_options(app, inherited);
  Words mine = inherited;
  const auto below =
      app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); });
  for (const CLI::App* sub : below) {
    if (sub->get_name().empty()) {
      add_options(*sub, mine);  // a group of options
    } else {
      mine.all += " " + sub->get_name();
    }
  }
  arms += fmt::format("    '{}') words='{}' values='{} ' files='{} ' takes_file={} ;;\n", path,
                      mine.all, mine.values, mine.files, mine.takes_file ? 1 : 0);
  for (const CLI::App* sub : below) {
    if (sub->get_name().empty()) continue;
    const std::string next = path + "/" + sub->get_name();
    paths += (paths.empty() ? "" : "|") + next;
    add_arms(*sub, next, sub->get_fallthrough() ? inherited : Words{}, paths, arms);
  }
}

}  // namespace

Result<std::string> completion_script(const CLI::App& app, std::string_view shell) {
  if (shell != "bash" && shell != "zsh") {
    return fail(ErrorCode::kUsage, fmt::format("no completion for {}: give bash or zsh", shell));
  }
  const std::string& name = app.get_name();
  std::string paths, arms;
  add_arms(app, "", {}, paths, arms);
  std::string function = name;
  for (char& c : function) c = c == '-' ? '_' : c;
  std::string head =
      fmt::format("# bash completion for {0}: source <({0} completion bash)\n", name);
  std::string tail;
  if (shell == "zsh") {
    head = fmt::format("#compdef {}\nautoload -U +X bashcompinit && bashcompinit\n", name);
    function += "_words";
    // zsh reads a file of this name when it is first asked, and takes it for the answer.
    tail = fmt::format("if [[ ${{funcstack[1]}} == _{} ]]; then _bash_complete -F _{}; fi\n", name,
                       function);
  }
  return head +
         fmt::format(R"(_{0}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} where= word i
  local words= values= files= takes_file=0
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case "$where/$word" in
      {1}) where="$where/$word" ;;
    esac
  done
  case $where in
{2}  esac
  COMPREPLY=()
  if [[ $files == *" $prev "* ]]; then
    COMPREPLY=($(compgen -f -- "$cur"))
  elif [[ $values != *" $prev "* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if ((takes_file)) && [[ $cur != -* ]]; then COMPREPLY+=($(compgen -f -- "$cur")); fi
  fi
}}
complete -F _{0} {3}
)",
                     function, paths, arms, name) +
         tail;
}

}  // namespace sluice
