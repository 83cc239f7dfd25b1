#include "client/transport.h"

#include "agent/state_folder.h"
#include "crypto/text.h"

namespace sluice::client {

using nlohmann::json;

namespace {

constexpr size_t kMostIdle = 64;

[[noreturn]] void raise(const sluice::Error& e) {
  throw Error(info(e.code).name, e.message);
}

std::string socket_of(const std::string& state) {
  if (!state.empty()) return agent::socket_path(state);
  const auto folder = agent::default_state();
  if (!folder) {
    throw Error("usage",
                "neither XDG_STATE_HOME nor HOME is set; give the daemon's state folder to Agent");
  }
  return agent::socket_path(*folder);
}

}  // namespace

Transport::Transport(const std::string& state) : path_(socket_of(state)) {}

json Transport::request(const char* method, const std::string& target, const std::string& body,
                        Milliseconds timeout) {
  std::unique_ptr<http::UnixClient> connection;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!connection) {
    connection = std::make_unique<http::UnixClient>(path_, "the agent's daemon (sluice-agent up)");
  }
  auto response = connection->request(method, target, body, timeout);
  if (!response) raise(response.error());
  {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kMostIdle) idle_.push_back(std::move(connection));
  }
  if (response->status >= 400) raise(http::error_from(*response));
  json out = json::parse(response->body, nullptr, false);
  if (!out.is_object()) throw Error("internal", "the daemon's answer is not a JSON object");
  return out;
}

json Transport::get(const std::string& target, Milliseconds timeout) {
  return request("GET", target, "", timeout);
}

json Transport::post(const std::string& target, const json& body, Milliseconds timeout) {
  return request("POST", target, body.dump(-1, ' ', false, json::error_handler_t::replace),
                 timeout);
}

void Transport::del(const std::string& target) {
  request("DELETE", target, "", kAnswer);
}

std::string text_of(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

uint64_t number_of(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
}

bool flag_of(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

std::string bytes_of(const json& object, const char* key) {
  const auto bytes = crypto::from_base64(text_of(object, key));
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

std::string to_base64(std::string_view bytes) {
  return crypto::to_base64({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

const json& rows_of(const json& object, const char* key) {
  static const json kNone = json::array();
  const auto it = object.find(key);
  return it != object.end() && it->is_array() ? *it : kNone;
}

std::vector<std::string> texts_of(const json& object, const char* key) {
  std::vector<std::string> out;
  for (const json& item : rows_of(object, key)) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

}  // namespace sluice::client
