// Memory of curl and of nghttp2 under it: wiped when they give it back.
#include <malloc.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include <algorithm>
#include <cstdlib>

#include "http/curl.h"

namespace sluice::http {
namespace {

void wiping_free(void* p) {
  if (p == nullptr) return;
  explicit_bzero(p, malloc_usable_size(p));
  std::free(p);
}
// Never in place: what it leaves behind is wiped.
void* wiping_realloc(void* p, size_t size) {
  void* moved = std::malloc(size);
  if (moved == nullptr || p == nullptr) return moved;
  memcpy(moved, p, std::min(size, malloc_usable_size(p)));
  wiping_free(p);
  return moved;
}

}  // namespace

Result<void> init_curl() {
  static const CURLcode code =
      curl_global_init_mem(CURL_GLOBAL_DEFAULT, std::malloc, wiping_free, wiping_realloc, strdup,
                           [](size_t count, size_t size) { return std::calloc(count, size); });
  if (code == CURLE_OK) return {};
  return fail(ErrorCode::kResource, "libcurl does not start: reinstall libcurl4");
}

}  // namespace sluice::http

// curl makes nghttp2's sessions with malloc's memory, in which the fields of requests would stay.
// The program's own function of that name goes before the library's, for curl too; a curl that
// makes them otherwise is no worse off.
extern "C" int nghttp2_session_client_new2(nghttp2_session** session,
                                           const nghttp2_session_callbacks* callbacks,
                                           void* user_data, const nghttp2_option* option) {
  nghttp2_mem memory = {
      nullptr,
      [](size_t size, void*) { return std::malloc(size); },
      [](void* p, void*) { sluice::http::wiping_free(p); },
      [](size_t count, size_t size, void*) { return std::calloc(count, size); },
      [](void* p, size_t size, void*) { return sluice::http::wiping_realloc(p, size); },
  };
  return nghttp2_session_client_new3(session, callbacks, user_data, option, &memory);
}
