// Synchronous HTTP/1.1 client on a Unix stream socket. It owns one kept-alive connection; one
// thread at a time.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "http/message.h"

namespace sluice::http {

class UnixClient {
 public:
  // `service` is the subject of error messages: "SERVICE does not answer on PATH: is it running?"
  explicit UnixClient(std::string path, std::string service = "the server");

  // `target` is a path and query, already percent-encoded. Any status is an answer, see
  // error_from(). A kept-alive connection that the server closed before it took this request is
  // replaced once; a request that the server may have acted upon is never sent twice.
  Result<Response> request(std::string_view method, std::string_view target, std::string_view body,
                           std::chrono::milliseconds timeout,
                           std::string_view content_type = "application/json");

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  struct Attempt;

  Result<void> connect(Deadline deadline);
  Attempt exchange(std::string_view head, std::string_view body, bool is_head, Deadline deadline);
  bool was_closed() const;

  std::string path_;
  std::string service_;
  Fd socket_;
};

}  // namespace sluice::http
