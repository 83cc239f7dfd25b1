// HTTP messages between the front, the peer and its upstream: what of a head goes on to the next,
// and how it is written. Parsing is Beast's alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>

#include "base/bytes.h"
#include "base/error.h"

namespace sluice::agent {

inline std::string_view view(boost::beast::string_view s) {
  return {s.data(), s.size()};
}

using HttpFields = boost::beast::http::fields;
using RequestHead = boost::beast::http::header<true>;
using ResponseHead = boost::beast::http::header<false>;

inline constexpr uint32_t kMostHead = 64u << 10;

// How long a message's body is, as the parser that read it says: never taken from its fields again.
struct Framing {
  bool chunked = false;
  std::optional<uint64_t> length;

  bool has_body() const { return chunked || length.value_or(0) > 0; }
};

// Drops what is between two neighbours alone (RFC 9110, 7.6.1), framing with it, and all of
// `Sluice-…`, with underscores too: some servers take one for the other.
void drop_hop_fields(HttpFields& fields);
// Exactly what `framing` says.
void set_framing(HttpFields& fields, const Framing& framing);
// A WebSocket's, or another protocol's, that the other side may switch to; empty: none. HTTP/2 is
// none: this hop speaks HTTP/1.1.
std::string upgrade_of(const HttpFields& fields);
void set_upgrade(HttpFields& fields, const std::string& protocol);

std::string to_text(const RequestHead& head);
std::string to_text(const ResponseHead& head);

// Where the head ends in `bytes`, the empty line included.
std::optional<size_t> head_size(Bytes bytes);
struct ParsedRequest {
  RequestHead head;
  Framing framing;
};
struct ParsedResponse {
  ResponseHead head;
  Framing framing;
};
// Of exactly one head. kUsage: it is none, or two could understand it differently.
Result<ParsedRequest> parse_request(std::string_view text);
Result<ParsedResponse> parse_response(std::string_view text);

// Whether a transfer coding other than chunked alone stands in the fields.
bool has_odd_coding(const HttpFields& fields);
// A path with segments that mean another place, plainly or percent-encoded.
bool has_dot_segments(std::string_view target);

// An answer of the agent itself (RFC 9457).
struct Problem {
  unsigned status;
  std::string reason;  // a word for programs
  std::string detail;  // a sentence for people
  std::string hint;    // may be empty
  uint32_t retry_after_ms = 0;
  std::string trace;  // of the call, if there was one
};
struct ProblemText {
  std::string head, body;
};
ProblemText to_text(const Problem& problem, bool keep_alive);

}  // namespace sluice::agent
