// libcurl's handles, and what everybody who asks HTTPS servers of other people agrees on: verified
// TLS 1.2 or newer, no proxies, no redirects, nothing from the environment or from files of a home,
// and memory that is wiped when curl gives it back, since curl copies what it sends.
// A handle is one thread's at a time.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::http {

template <auto kCleanup>
struct CurlDeleter {
  template <typename Handle>
  void operator()(Handle* handle) const {
    kCleanup(handle);
  }
};
using CurlEasy = std::unique_ptr<CURL, CurlDeleter<&curl_easy_cleanup>>;
using CurlMulti = std::unique_ptr<CURLM, CurlDeleter<&curl_multi_cleanup>>;
using CurlUrl = std::unique_ptr<CURLU, CurlDeleter<&curl_url_cleanup>>;

// Before the first handle, as often as one likes. Any thread. kResource: curl does not start.
Result<void> init_curl();

// PEM; empty: the system's authorities, no certificate. They must outlive the request.
struct TlsTerms {
  std::string_view authority, client_chain, client_key;
};
// For a request by `handle`. `plain`: http:// is allowed as well as https://.
void set_terms(CURL* handle, const TlsTerms& terms, bool plain);

// A list of header lines as curl wants it, over text that somebody else owns and wipes.
class CurlLines {
 public:
  // `line`: ends with a NUL.
  void add(char* line) { nodes_.push_back({line, nullptr}); }
  // Valid until the next add().
  curl_slist* list() {
    for (size_t i = 0; i + 1 < nodes_.size(); ++i) nodes_[i].next = &nodes_[i + 1];
    return nodes_.empty() ? nullptr : nodes_.data();
  }

 private:
  std::vector<curl_slist> nodes_;
};

// What went wrong, for people: without a name, an address or anything that was sent.
const char* describe(CURLcode code);

}  // namespace sluice::http
