// Calls: opened, waited for until their end, cancelled from elsewhere.
#include <algorithm>

#include <fmt/format.h>

#include "client/agent_impl.h"
#include "client/cancel.h"

namespace sluice::client {

using nlohmann::json;

Cancel::Cancel() : state_(std::make_shared<State>()) {}

bool Cancel::asked() const noexcept {
  return state_->asked;
}

void Cancel::operator()() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->asked.exchange(true)) return;
  for (const auto& hook : state_->hooks) hook();
}

namespace {

// While it lives, a Cancel's word goes to one call. Hold: what it is of outlives the calls.
class Hook {
 public:
  template <typename State>
  Hook(std::shared_ptr<State> state, std::function<void()> hook) {
    if (!state) return;
    const std::lock_guard lock(state->mutex);
    if (state->asked) {
      hook();
      return;
    }
    const auto at = state->hooks.insert(state->hooks.end(), std::move(hook));
    remove_ = [state, at] {
      const std::lock_guard inner(state->mutex);
      state->hooks.erase(at);
    };
  }
  ~Hook() {
    if (remove_) remove_();
  }
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;

 private:
  std::function<void()> remove_;
};

[[noreturn]] void raise_failure(const json& end, const json& error) {
  CallFailed::Details details;
  details.reason = text_of(error, "reason");
  details.hint = text_of(error, "hint");
  details.trace = text_of(end, "trace");
  if (const uint64_t ms = number_of(error, "retry_after_ms"); ms != 0) {
    details.retry_after = Milliseconds(ms);
  }
  details.status = static_cast<unsigned>(number_of(end, "status"));
  details.data = bytes_of(end, "data");
  std::string sentence = text_of(error, "message");
  if (!details.hint.empty()) sentence += "; " + details.hint;
  throw CallFailed(text_of(error, "code"), sentence, std::move(details));
}

void give_up(Transport& transport, const std::string& id) noexcept {
  try {
    transport.del("/v1/calls?call=" + id);
  } catch (...) {
    // It has ended already, or the daemon has.
  }
}

// Whoever stops asking has given the call up, also by an exception of its own.
struct Asking {
  Transport& transport;
  const std::string& id;
  bool ended = false;
  ~Asking() {
    if (!ended) give_up(transport, id);
  }
};

}  // namespace

CallResult Agent::call(std::string_view peer, std::string_view request,
                       const CallOptions& options) {
  if (request.size() > kMostBytes) {
    throw Error("too_large", fmt::format("the request has {} bytes; {} is the most", request.size(),
                                         kMostBytes));
  }
  if (options.cancel && options.cancel->asked()) {
    CallFailed::Details details;
    details.reason = "cancelled";
    throw CallFailed("call_failed", "this side gave it up before it began", std::move(details));
  }
  json body = {{"peer", peer},
               {"capability", options.capability},
               {"protocol", options.protocol},
               {"service", options.service},
               {"scopes", options.scopes},
               {"timeout_ms", std::max<int64_t>(options.timeout.count(), 0)},
               {"data", to_base64(request)}};
  if (!options.trace.empty()) body["trace"] = options.trace;
  if (!options.idempotency_key.empty()) body["idempotency_key"] = options.idempotency_key;
  Transport& transport = impl_->transport;
  const std::string id = text_of(transport.post("/v1/calls", body), "call");
  const Hook hook(options.cancel ? options.cancel->state_ : nullptr,
                  [&transport, id] { give_up(transport, id); });
  Asking asking{transport, id};
  std::string state = "opening";
  for (;;) {
    const json now = transport.get(fmt::format("/v1/calls/wait?call={}&state={}&wait_ms={}", id,
                                               state, Transport::kLongPoll.count()),
                                   Transport::kLongPoll + Transport::kAnswer);
    const std::string next = text_of(now, "state");
    asking.ended = next == "ended";
    if (next != state && options.on_state) options.on_state(next);
    state = next;
    if (!asking.ended) continue;
    if (const auto error = now.find("error"); error != now.end() && error->is_object()) {
      raise_failure(now, *error);
    }
    CallResult out;
    out.data = bytes_of(now, "data");
    out.call = id;
    out.message_id = text_of(now, "message_id");
    out.trace = text_of(now, "trace");
    out.idempotency_key = text_of(now, "idempotency_key");
    out.peer = text_of(now, "peer");
    out.name = text_of(now, "name");
    if (const auto ms = now.find("ms"); ms != now.end()) {
      out.total = Milliseconds(number_of(*ms, "total"));
    }
    return out;
  }
}

}  // namespace sluice::client
