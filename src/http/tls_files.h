// What both ends of a TLS connection read at start: their own certificate and key, and who signs
// the other's. Any thread.
#pragma once

#include <string>

#include "base/error.h"

namespace boost::asio::ssl {
class context;
}

namespace sluice::http {

struct TlsFiles {
  // PEM. The key's file may be read by its owner alone, and has no passphrase.
  std::string certificate;  // followed by those between it and its root
  std::string key;
  std::string ca;
};

// TLS 1.3 or nothing. kKeyFile: a file is missing or unfit.
Result<void> prepare(boost::asio::ssl::context& tls, const TlsFiles& files);

}  // namespace sluice::http
