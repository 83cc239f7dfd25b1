#include "http/tls_files.h"

#include <strings.h>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>

#include "base/file.h"

namespace sluice::http {
namespace {

constexpr size_t kMostPem = 256u << 10;

}  // namespace

Result<void> prepare(boost::asio::ssl::context& tls, const TlsFiles& files) {
  namespace asio = boost::asio;
  const auto unfit = [](const std::string& path, const std::string& why) {
    return fail(ErrorCode::kKeyFile, fmt::format("cannot use {}: {}", path, why));
  };
  const auto unread = [](const Error& e) { return fail(ErrorCode::kKeyFile, e.message); };
  SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_3_VERSION);
  boost::system::error_code ec;
  auto certificate = read_file(files.certificate, kMostPem);
  if (!certificate) return unread(certificate.error());
  tls.use_certificate_chain(asio::buffer(*certificate), ec);
  if (ec) return unfit(files.certificate, "it holds no certificate in PEM (" + ec.message() + ")");
  auto key = read_secret_file(files.key, kMostPem);
  if (!key) return unread(key.error());
  // Without this OpenSSL would ask the terminal for a passphrase.
  tls.set_password_callback([](size_t, asio::ssl::context::password_purpose) { return ""; });
  tls.use_private_key(asio::buffer(*key), asio::ssl::context::pem, ec);
  explicit_bzero(key->data(), key->size());
  if (ec) {
    return unfit(files.key,
                 fmt::format("it is not the private key, in PEM and without a passphrase, of "
                             "the certificate in {} ({})",
                             files.certificate, ec.message()));
  }
  auto authority = read_file(files.ca, kMostPem);
  if (!authority) return unread(authority.error());
  tls.add_certificate_authority(asio::buffer(*authority), ec);
  if (ec) return unfit(files.ca, "it holds no certificate in PEM (" + ec.message() + ")");
  return {};
}

}  // namespace sluice::http
