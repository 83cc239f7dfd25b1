// The command line of a benchmark program, without CLI11's headers: they are as much work to
// compile as what is measured. Lists are separated by commas; a value's default is in --help.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace sluice::bench {

class CommandLine {
 public:
  class Option {
   public:
    explicit Option(CLI::Option* option) : option_(option) {}
    Option range(double least, double most);
    Option one_of(const std::vector<std::string>& values);
    Option required();
    Option expected(int values);

   private:
    CLI::Option* option_;
  };

  explicit CommandLine(const std::string& about);
  ~CommandLine();

  // T: a number, a text, or a vector of them (command_line.cpp names which).
  template <typename T>
  Option add_option(const std::string& name, T& value, const std::string& help = "");
  void add_flag(const std::string& name, bool& value, const std::string& help);

  // The exit code, where the program has nothing more to do: --help, or a mistake that was said.
  std::optional<int> parse(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace sluice::bench
