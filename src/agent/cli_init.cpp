#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "agent/cli.h"
#include "agent/daemon_client.h"
#include "agent/identity_file.h"
#include "agent/pins.h"
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

Result<Join> read_join(const std::string& file) {
  auto text = read_join_text(file);
  if (!text) return tl::unexpected(text.error());
  auto join = parse_join(*text);
  crypto::wipe(text->data(), text->size());
  return join;
}

}  // namespace

Result<int> run_init(const std::string& state, const InitCommand& command) {
  const std::string name = command.name.empty() ? host_name() : command.name;
  if (!wire::is_agent_name(name)) {
    return fail(ErrorCode::kUsage,
                "a name has 1 to 63 of the characters a-z 0-9 . _ - and begins "
                "with a letter or a digit");
  }
  auto join = read_join(command.join_file);
  if (!join) return tl::unexpected(join.error());
  const AgentIdentity identity =
      make_identity(name, command.tenant, std::move(*join), Clock(1).unix_ms());
  if (auto made = create_identity_file(state, identity); !made) return tl::unexpected(made.error());
  fmt::print("{}\n", identity.did());
  return 0;
}

Result<int> run_rejoin(const std::string& state, const std::string& join_file, bool older_key) {
  auto identity = load_identity_file(state);
  if (!identity) return tl::unexpected(identity.error());
  auto pins = load_pins(pins_path(state));
  if (!pins) return tl::unexpected(pins.error());
  auto join = read_join(join_file);
  if (!join) return tl::unexpected(join.error());
  if (join->relay_id != identity->join.relay_id) {
    return fail(ErrorCode::kConflict,
                "that is another relay, where nothing that this identity agreed on holds: join it "
                "with init and a folder of its own (--state)");
  }
  if (DaemonClient(state).get("/v1/info").has_value()) {
    return fail(ErrorCode::kConflict,
                "this agent is running, and would go on as before: end its sluice-agent up first");
  }
  if (join->token.empty()) join->token = std::move(identity->join.token);
  identity->join = std::move(*join);
  // The operator's word of today, which came another way, goes before what the relay once told.
  const auto& known = pins->relay_key;
  const bool older =
      known && (join->relay_key == known->replaced ||
                (join->relay_key == join->relay_id && join->relay_key != known->key));
  if (older && !older_key) {
    return fail(
        ErrorCode::kConflict,
        "that is an older key than the one that the relay has told this agent, signed by its "
        "operator; if the operator says that the relay came back from an older backup, "
        "repeat this with --older-key");
  }
  if (known && join->relay_key != known->key) {
    pins->relay_key.reset();
    if (auto saved = save_pins(pins_path(state), *pins); !saved) {
      return tl::unexpected(saved.error());
    }
  }
  if (auto saved = replace_identity_file(state, *identity); !saved) {
    return tl::unexpected(saved.error());
  }
  fmt::print("{} greets {} from now on\n", identity->name, identity->relay_name());
  return 0;
}

}  // namespace sluice::agent
