// TLS 1.3 in front of a UnixServer, for callers on other hosts. Who shows no certificate that
// `client_ca` signed gets no further than the handshake. A thread of its own does all of it: what
// strangers make it compute costs the server's thread nothing. Each admitted connection reaches the
// server as one end of a socket pair, with the certificate's common name for credentials.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "http/message.h"

namespace sluice::http {

struct TlsOptions {
  std::string address;  // IPv4 or IPv6
  uint16_t port = 0;
  // PEM files. The key's may be read by its owner alone.
  std::string certificate;  // the server's, followed by those between it and its root
  std::string key;
  std::string client_ca;        // who signs callers' certificates: nothing else should
  size_t max_connections = 64;  // admitted ones, and as many again in their handshake
  std::chrono::milliseconds handshake_timeout{5'000};
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
