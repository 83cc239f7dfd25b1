#include "bench/command_line.h"

#include <cstdint>

#include <CLI/CLI.hpp>

namespace sluice::bench {

CommandLine::CommandLine(const std::string& about) : app_(std::make_unique<CLI::App>(about)) {}
CommandLine::~CommandLine() = default;

CommandLine::Option CommandLine::Option::range(double least, double most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

CommandLine::Option CommandLine::Option::one_of(const std::vector<std::string>& values) {
  option_->check(CLI::IsMember(values));
  return *this;
}

CommandLine::Option CommandLine::Option::required() {
  option_->required();
  return *this;
}

CommandLine::Option CommandLine::Option::expected(int values) {
  option_->expected(values);
  return *this;
}

template <typename T>
CommandLine::Option CommandLine::add_option(const std::string& name, T& value,
                                            const std::string& help) {
  CLI::Option* option = app_->add_option(name, value, help);
  if (option->get_expected_max() > 1) option->delimiter(',');
  option->capture_default_str();
  return Option(option);
}

#define SLUICE_OPTION(T) \
  template CommandLine::Option CommandLine::add_option(const std::string&, T&, const std::string&);
#define SLUICE_OPTIONS(T) SLUICE_OPTION(T) SLUICE_OPTION(std::vector<T>)
SLUICE_OPTIONS(int)
SLUICE_OPTIONS(unsigned)
SLUICE_OPTIONS(unsigned long)
SLUICE_OPTIONS(std::string)
SLUICE_OPTIONS(uint16_t)
SLUICE_OPTION(double)
#undef SLUICE_OPTIONS
#undef SLUICE_OPTION

void CommandLine::add_flag(const std::string& name, bool& value, const std::string& help) {
  app_->add_flag(name, value, help);
}

std::optional<int> CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app_->exit(e);
  }
  return std::nullopt;
}

}  // namespace sluice::bench
