#include "oauth2/token_flight.h"

namespace sluice::oauth2 {
namespace {

// Their own memory, writable, as curl's list wants it; nothing in them is secret.
char kNoExpect[] = "Expect:";
char kAccept[] = "Accept: application/json";

struct ParsedUrl {
  http::CurlUrl url{curl_url()};
  bool good = false;
  std::string part(CURLUPart which) const {
    char* text = nullptr;
    if (curl_url_get(url.get(), which, &text, 0) != CURLUE_OK) return "";
    std::string out = text;
    curl_free(text);
    return out;
  }
};

}  // namespace

bool is_token_url(std::string_view text) {
  ParsedUrl url;
  crypto::SecretText copy;
  copy << text << '\0';
  if (curl_url_set(url.url.get(), CURLUPART_URL, copy.view().data(), CURLU_DISALLOW_USER) !=
      CURLUE_OK) {
    return false;
  }
  const std::string scheme = url.part(CURLUPART_SCHEME), host = url.part(CURLUPART_HOST);
  return scheme == "https" ||
         (scheme == "http" && (host == "localhost" || host == "127.0.0.1" || host == "[::1]"));
}

TokenFlight::TokenFlight(const ClientRecord& record, const FlightLimits& limits)
    : request_(token_request(record)), easy_(curl_easy_init()) {
  CURL* c = easy_.get();
  http::set_terms(c, {record.authority, {}, {}}, true);
  crypto::SecretText url;
  url << record.url << '\0';
  curl_easy_setopt(c, CURLOPT_URL, url.view().data());
  curl_easy_setopt(c, CURLOPT_POST, 1L);
  curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, long(request_.body.size()));
  curl_easy_setopt(c, CURLOPT_POSTFIELDS, request_.body.view().data());
  if (request_.authorization.size() > 0) {
    lines_.add(reinterpret_cast<char*>(request_.authorization.bytes().data()));
  }
  lines_.add(kNoExpect);
  lines_.add(kAccept);
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, lines_.list());
  curl_easy_setopt(c, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  // A connection that is kept would be kept for hours, and its answers are few.
  curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
  // A name that is still being looked up is left to its thread: neither the relay's end nor another
  // record waits for a resolver.
  curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, limits.connect_ms);
  curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, limits.whole_ms);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &TokenFlight::on_body);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, this);
}

size_t TokenFlight::on_body(char* data, size_t, size_t n, void* self) {
  auto& flight = *static_cast<TokenFlight*>(self);
  flight.too_large_ = n > kMostBytes - flight.body_.size();
  if (flight.too_large_) return 0;
  flight.body_ << std::string_view(data, n);
  return n;
}

long TokenFlight::status() const {
  long out = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &out);
  return out;
}

uint64_t TokenFlight::retry_after_ms() const {
  curl_off_t seconds = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &seconds);
  return seconds > 0 && seconds < 1'000'000 ? uint64_t(seconds) * 1000 : 0;
}

}  // namespace sluice::oauth2
