// The command line's commands. Each returns an error or the exit code of a success that is not
// quite one (recv and ping that got nothing).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace sluice::agent {

struct InitCommand {
  std::string name;
  uint32_t tenant = 1;
  std::string join_file;  // empty: standard input
};
Result<int> run_init(const std::string& state, const InitCommand& command);
// `join_file` as in InitCommand. `older_key`: also one that the relay has replaced.
Result<int> run_rejoin(const std::string& state, const std::string& join_file, bool older_key);

struct InfoCommand {
  bool json = false;
  bool statement = false;
};
Result<int> run_info(const std::string& state, const InfoCommand& command);
Result<int> run_rotate_identity(const std::string& state, bool json);
struct PeersCommand {
  bool json = false;
  bool hosts = false;  // as lines of /etc/hosts
};
Result<int> run_peers(const std::string& state, const PeersCommand& command);

struct SendCommand {
  std::string peer;
  std::optional<std::string> message;  // none: each line of standard input
  std::optional<uint64_t> count;
  double rate = 0;  // messages a second, 0: as fast as the daemon takes them
};
Result<int> run_send(const std::string& state, const SendCommand& command);

struct RecvCommand {
  std::optional<uint64_t> count;
  std::optional<double> timeout_s;
  bool json = false;
  bool quiet = false;
};
Result<int> run_recv(const std::string& state, const RecvCommand& command);

struct PingCommand {
  std::string peer;
  uint64_t count = 4;
  double interval_s = 1;
  uint64_t size = 56;
  uint64_t window = 64;
  double timeout_s = 2;
  bool json = false;
};
struct HandshakeCommand {
  std::string peer;
  std::string why;
  std::string life;  // of the trust, as people write it; empty: no end
  std::string right, offer;
  std::vector<std::string> scopes, protocols, capabilities;
  bool json = false;
};
Result<int> run_handshake(const std::string& state, const HandshakeCommand& command);
Result<int> run_pending(const std::string& state, bool json);

struct AnswerCommand {
  std::string peer;
  std::string life;
  std::string quota;  // approve: "5/1h"
  std::string reason;
  bool json = false;
};
Result<int> run_approve(const std::string& state, const AnswerCommand& command);
Result<int> run_reject(const std::string& state, const AnswerCommand& command);
Result<int> run_untrust(const std::string& state, const AnswerCommand& command);

struct VisibilityCommand {
  std::string visibility;
  bool json = false;
};
Result<int> run_visibility(const std::string& state, const VisibilityCommand& command);

struct CallCommand {
  std::string peer;
  std::string capability = "tool_call", protocol = "raw";
  uint16_t service = 0;
  std::vector<std::string> scopes;
  std::string timeout = "30s";         // as people write it
  std::string trace, idempotency_key;  // hex; empty: drawn at random
  bool json = false;
};
// The request is standard input, the response goes to standard output.
Result<int> run_call(const std::string& state, const CallCommand& command);
Result<int> run_calls(const std::string& state, bool json);

struct ServeCommand {
  std::vector<std::string> program;  // for each call; or
  bool echo = false;
  std::string upstream;  // http://…, where calls that carry HTTP go
  std::string protocol = "raw", path;
  std::string upstream_timeout = "10m";
  bool strip_authorization = false, strip_cookies = false;
  uint64_t parallel = 16;
  std::string limit = "60s";  // of a program, as people write it
  bool json = false;
};
Result<int> run_serve(const std::string& state, const ServeCommand& command);

struct EgressCommand {
  std::string protocol = "raw", path, timeout = "10m";
  std::vector<std::string> allow;  // hosts
  bool json = false;
};

Result<int> run_ping(const std::string& state, const PingCommand& command);

}  // namespace sluice::agent
