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

using HttpFields = boost::beast::http::fields;
using RequestHead = boost::beast::http::header<true>;
using ResponseHead = boost::beast::http::header<false>;

inline constexpr uint32_t kMostHead = 64u << 10;

// Drops what is between two neighbours alone (RFC 9110, 7.6.1), and all of `Sluice-…`.
void drop_hop_fields(HttpFields& fields);
// A WebSocket's, or another protocol's, that the other side may switch to; empty: none.
std::string upgrade_of(const HttpFields& fields);
void set_upgrade(HttpFields& fields, const std::string& protocol);

std::string to_text(const RequestHead& head);
std::string to_text(const ResponseHead& head);

// Where the head ends in `bytes`, the empty line included.
std::optional<size_t> head_size(Bytes bytes);
// Of exactly one head. kUsage: it is none.
Result<RequestHead> parse_request(std::string_view text);
Result<ResponseHead> parse_response(std::string_view text);

std::optional<uint64_t> content_length(const HttpFields& fields);
bool is_chunked(const HttpFields& fields);

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
