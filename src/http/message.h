// What travels over the project's local HTTP sockets, free of any HTTP library. Plain values.
#pragma once

#include <sys/types.h>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/wiped.h"

namespace sluice::http {

// A body of this type is taken for a secret: it comes as Request::secret, and no copy is left.
inline constexpr std::string_view kSecretType = "application/octet-stream";

// Who connected: on a Unix socket as the kernel recorded it at connect time (SO_PEERCRED), over TLS
// by the certificate that was verified.
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string certificate;  // its common name; empty on a Unix socket
};

struct Request {
  std::string method;
  std::string path;  // percent-decoded, without the query
  std::map<std::string, std::string> query;
  std::string body;
  WipedBytes secret;         // in its place where the content is kSecretType
  std::string content_type;  // lower-case, without parameters
  PeerCredentials peer;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

// To be called on the io_context's thread, inside the handler or later. Only the first call
// counts; one for a connection that has died is ignored; when every copy is dropped uncalled, the
// peer gets status 500.
using Respond = std::function<void(Response)>;
using Handler = std::function<void(Request, Respond)>;

// {"error":{"code","message"}} with the status of the code.
Response error_response(const Error& error);

// The reverse, for clients: the error that a response with status 400 or above carries; one that
// is not of that form becomes kInternal with its status and the start of its body.
Error error_from(const Response& response);

}  // namespace sluice::http
