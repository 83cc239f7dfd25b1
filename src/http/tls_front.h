// TLS 1.3 in front of a UnixServer, for callers on other hosts. Who shows no certificate that
// its authority signed gets no further than the handshake. A thread of its own does all of it: what
// strangers make it compute costs the server's thread nothing. Each admitted connection reaches the
// server as one end of a socket pair, with the certificate's common name for credentials.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "http/message.h"
#include "http/tls_files.h"

namespace sluice::http {

struct TlsOptions {
  std::string address;  // IPv4 or IPv6
  uint16_t port = 0;
  TlsFiles files;               // ca: who signs callers, and nobody else
  std::set<std::string> names;  // common names that are let in; nobody else is
  // Cores that its thread may run on; empty: wherever it is created. It yields to everything else.
  std::vector<unsigned> cores;
  size_t max_admitted = 64;
  size_t max_per_name = 16;    // or one could keep all others out
  size_t max_strangers = 256;  // in their handshake
  size_t max_strangers_per_address = 16;
  std::chrono::milliseconds handshake_timeout{5'000};
  std::chrono::milliseconds write_timeout{10'000};
  std::chrono::milliseconds longest{3'600'000};  // or until the certificate ends
};

class TlsFront {
 public:
  // On the front's thread: takes over a stream socket. The credentials have no user.
  using Adopt = std::function<void(Fd, PeerCredentials)>;

  // kKeyFile: a file is missing or unfit. kConflict: the port is taken.
  static Result<std::unique_ptr<TlsFront>> listen(TlsOptions options, Adopt adopt);
  TlsFront(const TlsFront&) = delete;
  TlsFront& operator=(const TlsFront&) = delete;
  // Closes every connection; adopt is not called any more.
  ~TlsFront();

 private:
  struct Core;
  class Tunnel;
  explicit TlsFront(std::unique_ptr<Core> core);

  std::unique_ptr<Core> core_;
};

}  // namespace sluice::http
