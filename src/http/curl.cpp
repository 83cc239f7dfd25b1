#include "http/curl.h"

namespace sluice::http {
namespace {

curl_blob view_of(std::string_view text) {
  return {const_cast<char*>(text.data()), text.size(), CURL_BLOB_NOCOPY};
}

}  // namespace

void set_terms(CURL* handle, const TlsTerms& terms, bool plain) {
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, plain ? "https,http" : "https");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_PROXY, "");
  curl_easy_setopt(handle, CURLOPT_NETRC, long{CURL_NETRC_IGNORED});
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!terms.authority.empty()) {
    curl_blob authority = view_of(terms.authority);
    curl_easy_setopt(handle, CURLOPT_CAINFO_BLOB, &authority);
    // In place of the system's, which curl would take beside it.
    curl_easy_setopt(handle, CURLOPT_CAINFO, nullptr);
    curl_easy_setopt(handle, CURLOPT_CAPATH, nullptr);
  }
  if (!terms.client_chain.empty()) {
    curl_blob chain = view_of(terms.client_chain);
    curl_blob key = view_of(terms.client_key);
    curl_easy_setopt(handle, CURLOPT_SSLCERTTYPE, "PEM");
    curl_easy_setopt(handle, CURLOPT_SSLCERT_BLOB, &chain);
    curl_easy_setopt(handle, CURLOPT_SSLKEYTYPE, "PEM");
    curl_easy_setopt(handle, CURLOPT_SSLKEY_BLOB, &key);
  }
}

const char* describe(CURLcode code) {
  switch (code) {
    case CURLE_OK:
      return "it is done";
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return "the URL is none that is asked";
    case CURLE_COULDNT_RESOLVE_HOST:
      return "its name is not found";
    case CURLE_COULDNT_CONNECT:
      return "it takes no connection";
    case CURLE_OPERATION_TIMEDOUT:
      return "it does not answer in time";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "its certificate is not valid for it, or not by an authority that is trusted";
    case CURLE_SSL_CACERT_BADFILE:
      return "the authority that it should be trusted by is no PEM certificate";
    case CURLE_SSL_CERTPROBLEM:
      return "the client's certificate or key is unfit";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_USE_SSL_FAILED:
      return "TLS with it fails: it speaks none, an old version, or wants a certificate";
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_BAD_CONTENT_ENCODING:
      return "its answer is no HTTP";
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
      return "it breaks off";
    case CURLE_OUT_OF_MEMORY:
      return "there is no memory left";
    case CURLE_FILESIZE_EXCEEDED:
      return "its answer is too large";
    default:
      return "the exchange with it fails";
  }
}

}  // namespace sluice::http
