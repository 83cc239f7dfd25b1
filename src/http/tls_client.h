// HTTP/1.1 client over TLS 1.3 with a certificate of its own: the other end of a TlsFront. A
// connection for each request; waits; one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"
#include "http/tls_files.h"

namespace sluice::http {

struct TlsTarget {
  std::string host;  // a name or an address; the server's certificate has to be for it
  uint16_t port = 0;
  TlsFiles files;
};

// `https://HOST[:PORT]`, an IPv6 address in brackets; kUsage.
Result<TlsTarget> parse_https_url(std::string_view url, uint16_t default_port);

class TlsClient {
 public:
  // `service` is the subject of error messages.
  TlsClient(TlsTarget target, std::string service);

  // As UnixClient's; never sent twice. Looking the name up is the system's, and not bounded by
  // `timeout`.
  Result<Response> request(std::string_view method, std::string_view target, std::string_view body,
                           std::chrono::milliseconds timeout,
                           std::string_view content_type = "application/json") const;

 private:
  TlsTarget target_;
  std::string service_;
  std::string where_;  // https://HOST:PORT
};

}  // namespace sluice::http
