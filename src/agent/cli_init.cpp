#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "agent/cli.h"
#include "agent/identity_file.h"
#include "base/clock.h"
#include "base/file.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

constexpr size_t kJoinLimit = 4096;

// From standard input or a file, never from the arguments: those are in every process list.
Result<std::string> read_join_text(const std::string& file) {
  if (!file.empty()) return read_file(file, kJoinLimit);
  if (isatty(STDIN_FILENO) != 0) std::fputs("join string: ", stderr);
  std::string line;
  std::getline(std::cin, line);
  std::string rest((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  if (line.empty() || !rest.empty()) {
    return fail(ErrorCode::kUsage,
                "standard input must hold one line, the join string that the operator gave you");
  }
  return line;
}

std::string host_name() {
  char out[65] = {};
  if (gethostname(out, sizeof out - 1) != 0) return "agent";
  for (char* c = out; *c != 0; ++c) {
    if (*c >= 'A' && *c <= 'Z') *c = static_cast<char>(*c - 'A' + 'a');
  }
  if (!wire::is_agent_name(out)) return "agent";
  return out;
}

}  // namespace

Result<int> run_init(const std::string& state, const InitCommand& command) {
  const std::string name = command.name.empty() ? host_name() : command.name;
  if (!wire::is_agent_name(name)) {
    return fail(ErrorCode::kUsage,
                "a name has 1 to 63 of the characters a-z 0-9 . _ - and begins "
                "with a letter or a digit");
  }
  auto text = read_join_text(command.join_file);
  if (!text) return tl::unexpected(text.error());
  auto join = parse_join(*text);
  crypto::wipe(text->data(), text->size());
  if (!join) return tl::unexpected(join.error());
  const AgentIdentity identity =
      make_identity(name, command.tenant, std::move(*join), Clock(1).unix_ms());
  if (auto made = create_identity_file(state, identity); !made) return tl::unexpected(made.error());
  fmt::print("{}\n", identity.did());
  return 0;
}

}  // namespace sluice::agent
