// The man page of a program, made from its CLI11 command line, so that no verb or option is
// missing.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace sluice {

// What the command line itself does not say.
struct ManPage {
  struct File {
    const char* path;
    const char* text;
  };
  int section = 1;
  const char* summary = "";  // of NAME, as whatis shows it
  std::vector<File> files;
  std::vector<const char*> see_also;  // "sluiced(8)"
};

// In the man macros of groff, plain ASCII.
std::string man_page(const CLI::App& app, const ManPage& page);

}  // namespace sluice
