#include "base/self_description.h"

#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/completion.h"

namespace sluice {

struct SelfDescription::Verbs {
  CLI::App& app;
  ManPage page;
  CLI::App* completion;
  CLI::App* man;
  std::string shell;
};

SelfDescription::SelfDescription(CLI::App& app, ManPage page)
    : verbs_(new Verbs{app,
                       std::move(page),
                       app.add_subcommand("completion", "Print a script that completes commands"),
                       app.add_subcommand("man", "Print the man page"),
                       {}}) {
  verbs_->completion->add_option("SHELL", verbs_->shell, "bash or zsh")->required();
  verbs_->completion->footer(fmt::format("Example:  source <({} completion bash)", app.get_name()));
  verbs_->man->group("");  // hidden
}

SelfDescription::~SelfDescription() = default;

std::optional<int> SelfDescription::run() const {
  if (verbs_->man->parsed()) {
    fmt::print("{}", man_page(verbs_->app, verbs_->page));
    return 0;
  }
  if (!verbs_->completion->parsed()) return std::nullopt;
  const auto script = completion_script(verbs_->app, verbs_->shell);
  if (!script) {
    fmt::print(stderr, "{}: {}\n", verbs_->app.get_name(), script.error().message);
    return info(script.error().code).exit_code;
  }
  fmt::print("{}", *script);
  return 0;
}

}  // namespace sluice
