// A request on its way to a server and the answer on its way back: what differs between a server of
// this host, spoken to in plain HTTP/1.1 (PlainLink), and an HTTPS endpoint (CurlLink). One for
// each exchange, which outlives it. One thread, that of the event loop.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/front/credential.h"
#include "agent/front/message.h"
#include "agent/front/net.h"
#include "agent/front/request_body.h"

namespace sluice::agent {

// As the caller is told; never with anything of a credential in it.
struct LinkFailure {
  unsigned status;
  const char* reason;
  std::string detail;
};

struct OutgoingRequest {
  RequestHead head;  // without fields between neighbours; its target is the path at the server
  std::string upgrade;
  std::optional<Credential> credential;
  std::chrono::seconds timeout{};  // until the answer begins
  std::shared_ptr<void> owner;     // keeps alive what the link refers to
};

enum class LinkRead : uint8_t {
  kMore,
  kEnd,     // and there was an end
  kBroken,  // what came is less than the answer
};

class UpstreamLink {
 public:
  virtual ~UpstreamLink() = default;

  // Sends the request, its body as it comes, and waits for the head of the answer. Nothing: it is
  // there, or the caller is gone.
  virtual awaitable<std::optional<LinkFailure>> ask(OutgoingRequest& request) = 0;
  // Final, and without fields between neighbours; `length` is that of the body, where it has one.
  ResponseHead answer;
  std::optional<uint64_t> length;
  std::string upgraded;  // of a 101

  // Appends what has come of the body. `soon`: nothing where that would have to be waited for.
  virtual awaitable<LinkRead> read(std::string& out, bool soon) = 0;
  // Both ways until both have ended, where the answer was 101. The bytes that come go through
  // `redactor`.
  virtual awaitable<void> tunnel(Redactor& redactor) = 0;

  // Breaks off, from anywhere but the functions above.
  virtual void close() = 0;
  // Until nothing of it uses the call any more.
  virtual awaitable<void> stop() = 0;
  // The answer is whole: whatever can serve the next request may be kept.
  virtual void keep() = 0;
};

}  // namespace sluice::agent
