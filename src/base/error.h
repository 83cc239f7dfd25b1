// Errors of everything that is not a worker: one table of codes, from which exit codes, HTTP
// statuses, JSON `error.code` and docs/errors.md come. Thread-safe, no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace sluice {

// X(enumerator, name in JSON, exit code, HTTP status, what it means)
#define SLUICE_ERRORS(X)                                                                       \
  X(kInternal, "internal", 1, 500, "something that should not happen; the message says what")  \
  X(kUsage, "usage", 2, 400, "the command line or request is not of the documented form")      \
  X(kConfig, "config", 3, 400, "the configuration has errors; each is listed with its line")   \
  X(kUnreachable, "unreachable", 4, 503, "the daemon's socket does not answer")                \
  X(kNotFound, "not_found", 5, 404, "no agent, peer or edge of that name")                     \
  X(kPermission, "permission", 6, 403, "not allowed: file mode, socket group or privilege")    \
  X(kResource, "resource", 7, 503, "memory, hugepages, a port or another resource is missing") \
  X(kConflict, "conflict", 8, 409, "already in use: a socket, a name, a state directory")      \
  X(kNotDurable, "not_durable", 9, 500, "done, but it would not survive a restart")            \
  X(kNotProven, "not_proven", 10, 500, "cut, but a worker did not prove it within 1 s")        \
  X(kTimeout, "timeout", 11, 504, "no answer in time")                                         \
  X(kKeyFile, "key_file", 12, 400, "a key file is missing, unreadable or not a key")           \
  X(kRefused, "refused", 13, 403, "the relay or the peer refused")                             \
  X(kStore, "store", 14, 500, "the durable store cannot be read or written")                   \
  X(kTooLarge, "too_large", 15, 413, "larger than the documented limit")                       \
  X(kOutdated, "outdated", 16, 409, "made too long ago, or overtaken by a newer one")          \
  X(kCallFailed, "call_failed", 17, 502, "the peer took the call and did not succeed")         \
  X(kNoPrivilege, "no_privilege", 77, 403, "needs a privilege that this user does not have")

enum class ErrorCode : uint8_t {
#define X(id, name, exit_code, http, text) id,
  SLUICE_ERRORS(X)
#undef X
};

struct ErrorInfo {
  const char* name;
  int exit_code;
  int http_status;
  const char* meaning;
};

inline constexpr ErrorInfo kErrorTable[] = {
#define X(id, name, exit_code, http, text) {name, exit_code, http, text},
    SLUICE_ERRORS(X)
#undef X
};

constexpr const ErrorInfo& info(ErrorCode code) {
  return kErrorTable[static_cast<size_t>(code)];
}

// An error is one clear sentence with the place and the remedy, plus its code.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace sluice
