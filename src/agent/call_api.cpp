#include "agent/call_api.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/request.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr uint64_t kMostWaitMs = 60'000;
constexpr uint64_t kMostTimeoutMs = 3'600'000;
constexpr size_t kMostScopeBytes = 64;

template <size_t N>
Result<uint8_t> name_field(const json& body, const char* key, const char* const (&names)[N],
                           uint8_t otherwise) {
  if (!body.contains(key)) return otherwise;
  const auto text = string_field(body, key);
  std::string list;
  for (size_t i = 0; i < N; ++i) {
    if (*names[i] == 0) continue;
    if (text && *text == names[i]) return static_cast<uint8_t>(i);
    list += (list.empty() ? "" : ", ") + std::string(names[i]);
  }
  return fail(ErrorCode::kUsage, fmt::format("\"{}\" is one of {}", key, list));
}

Result<std::optional<ByteArray<16>>> id_field(const json& body, const char* key) {
  if (!body.contains(key)) return std::nullopt;
  const auto text = string_field(body, key);
  const auto bytes = text && text->size() == 32 ? crypto::from_hex(*text) : std::nullopt;
  if (!bytes || all_zero(*bytes)) {
    return fail(ErrorCode::kUsage, fmt::format("\"{}\" is 32 hex digits, not all zero", key));
  }
  return std::optional(take<16>(bytes->data()));
}

Result<std::vector<std::string>> scopes_field(const json& body) {
  std::vector<std::string> out;
  const auto it = body.find("scopes");
  if (it == body.end()) return out;
  const bool texts = it->is_array() && std::all_of(it->begin(), it->end(), [](const json& s) {
                       return s.is_string() && !s.get_ref<const std::string&>().empty() &&
                              s.get_ref<const std::string&>().size() <= kMostScopeBytes;
                     });
  if (!texts) {
    return fail(ErrorCode::kUsage,
                fmt::format("\"scopes\" is a list of names of up to {} bytes", kMostScopeBytes));
  }
  for (const json& s : *it) out.push_back(s.get<std::string>());
  return out;
}

Result<Buffer> data_field(const json& body) {
  const auto it = body.find("data");
  if (it == body.end() || !it->is_string()) {
    return fail(ErrorCode::kUsage, "\"data\" is missing or not a text in base64");
  }
  auto bytes = crypto::from_base64(it->get_ref<const std::string&>());
  if (!bytes) return fail(ErrorCode::kUsage, "\"data\" is not base64");
  if (bytes->size() > kMostMessage) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("\"data\" has {} bytes; {} is the most", bytes->size(), kMostMessage));
  }
  return std::move(*bytes);
}

Result<std::string> hex_query(const http::Request& request, const char* key) {
  const auto it = request.query.find(key);
  const bool hex = it != request.query.end() && it->second.size() == 16 &&
                   it->second.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (hex) return it->second;
  return fail(ErrorCode::kUsage,
              fmt::format("{} in the query is not 16 lower-case hex digits", key));
}

}  // namespace

const CallApi::Route* CallApi::find(const http::Request& request) {
  static constexpr Route kRoutes[] = {
      {"POST", "/v1/calls", &CallApi::open},
      {"GET", "/v1/calls/wait", &CallApi::wait},
      {"GET", "/v1/calls", &CallApi::list},
      {"DELETE", "/v1/calls", &CallApi::cancel},
      {"GET", "/v1/serve", &CallApi::ask},
      {"DELETE", "/v1/serve", &CallApi::leave},
      {"POST", "/v1/serve/answer", &CallApi::answer},
  };
  const auto it = std::find_if(std::begin(kRoutes), std::end(kRoutes), [&](const Route& r) {
    return r.method == request.method && r.path == request.path;
  });
  return it == std::end(kRoutes) ? nullptr : it;
}

bool CallApi::handles(const http::Request& request) const {
  return find(request) != nullptr;
}

void CallApi::handle(const http::Request& request, http::Respond respond, Instant at) {
  const auto done = (this->*find(request)->handle)(request, respond, at);
  if (!done) respond(http::error_response(done.error()));
}

void CallApi::pump(Instant at) {
  agent_.pump(at.now);
  servers_.pump(at);
  jobs_.pump(at);
}

Result<void> CallApi::open(const http::Request& request, http::Respond& respond, Instant at) {
  const auto body = parse_body(request);
  if (!body) return tl::unexpected(body.error());
  const auto name = string_field(*body, "peer");
  if (!name) return tl::unexpected(name.error());
  const auto capability =
      name_field(*body, "capability", wire::kCapabilityNames, uint8_t(wire::Capability::kToolCall));
  if (!capability) return tl::unexpected(capability.error());
  const auto protocol =
      name_field(*body, "protocol", wire::kProtocolNames, uint8_t(wire::CallProtocol::kRaw));
  if (!protocol) return tl::unexpected(protocol.error());
  const auto service = number_field(*body, "service", 0, 0xffff, 0);
  if (!service) return tl::unexpected(service.error());
  const auto timeout = number_field(*body, "timeout_ms", 1, kMostTimeoutMs, 30'000);
  if (!timeout) return tl::unexpected(timeout.error());
  auto scopes = scopes_field(*body);
  if (!scopes) return tl::unexpected(scopes.error());
  const auto trace = id_field(*body, "trace");
  if (!trace) return tl::unexpected(trace.error());
  const auto key = id_field(*body, "idempotency_key");
  if (!key) return tl::unexpected(key.error());
  auto data = data_field(*body);
  if (!data) return tl::unexpected(data.error());
  const auto peer = agent_.find(*name, at.now);
  if (!peer) return tl::unexpected(peer.error());
  CallRequest call;
  call.capability = static_cast<wire::Capability>(*capability);
  call.protocol = static_cast<wire::CallProtocol>(*protocol);
  call.service = static_cast<uint16_t>(*service);
  call.scopes = std::move(*scopes);
  call.trace = *trace;
  call.idempotency = *key;
  call.timeout_ms = *timeout;
  call.data = std::move(*data);
  const auto id = jobs_.open(*peer, std::move(call), at);
  if (!id) return tl::unexpected(id.error());
  respond(json_response({{"call", fmt::format("{:016x}", *id)}}));
  return {};
}

Result<void> CallApi::wait(const http::Request& request, http::Respond& respond, Instant at) {
  const auto id = hex_query(request, "call");
  if (!id) return tl::unexpected(id.error());
  const auto wait_ms = query_number(request, "wait_ms", 0, kMostWaitMs, 0);
  if (!wait_ms) return tl::unexpected(wait_ms.error());
  const auto known = request.query.find("state");
  jobs_.wait(std::stoull(*id, nullptr, 16), known == request.query.end() ? "" : known->second,
             at.us + *wait_ms * 1000, request.peer.pid, respond, at);
  return {};
}

Result<void> CallApi::cancel(const http::Request& request, http::Respond& respond, Instant at) {
  const auto id = hex_query(request, "call");
  if (!id) return tl::unexpected(id.error());
  const auto done = jobs_.cancel(std::stoull(*id, nullptr, 16), at);
  if (done) respond(json_response(json::object()));
  return done;
}

Result<void> CallApi::list(const http::Request&, http::Respond& respond, Instant at) {
  json calls = json::array();
  for (const CallRow& row : agent_.calls().rows()) {
    calls.push_back(call_json(row, agent_, at.now));
  }
  respond(json_response({{"calls", std::move(calls)}}));
  return {};
}

Result<void> CallApi::ask(const http::Request& request, http::Respond& respond, Instant at) {
  const auto server = hex_query(request, "server");
  if (!server) return tl::unexpected(server.error());
  const auto slots = query_number(request, "slots", 0, Servers::kMostSlots, 1);
  if (!slots) return tl::unexpected(slots.error());
  const auto wait_ms = query_number(request, "wait_ms", 0, kMostWaitMs, 0);
  if (!wait_ms) return tl::unexpected(wait_ms.error());
  servers_.ask(*server, *slots, at.us + *wait_ms * 1000, request.peer.pid, respond, at);
  return {};
}

Result<void> CallApi::leave(const http::Request& request, http::Respond& respond, Instant at) {
  const auto server = hex_query(request, "server");
  if (!server) return tl::unexpected(server.error());
  const auto done = servers_.leave(*server, at);
  if (done) respond(json_response(json::object()));
  return done;
}

Result<void> CallApi::answer(const http::Request& request, http::Respond& respond, Instant) {
  const auto body = parse_body(request);
  if (!body) return tl::unexpected(body.error());
  const auto server = string_field(*body, "server");
  if (!server) return tl::unexpected(server.error());
  const auto token = string_field(*body, "call");
  if (!token) return tl::unexpected(token.error());
  const auto status = number_field(*body, "status", 0, uint16_t(CallStatus::kNotStarted), 0);
  if (!status) return tl::unexpected(status.error());
  auto data = data_field(*body);
  if (!data) return tl::unexpected(data.error());
  const auto done =
      servers_.answer(*server, *token, static_cast<uint16_t>(*status), std::move(*data));
  if (done) respond(json_response(json::object()));
  return done;
}

}  // namespace sluice::agent
