#include "agent/pins.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr size_t kFileLimit = 64u << 20;

std::optional<ByteArray<32>> key_from(const json& value) {
  if (!value.is_string()) return std::nullopt;
  const auto bytes = crypto::from_base64(value.get<std::string>());
  if (!bytes || bytes->size() != 32) return std::nullopt;
  return take<32>(bytes->data());
}

}  // namespace

std::string Pins::to_json() const {
  json peers = json::object();
  for (const auto& [identity, pin] : enrols) {
    peers[crypto::to_did(identity)] = {{"issued_ms", pin.issued_ms},
                                       {"e2e_key", crypto::to_base64(pin.e2e_key)}};
  }
  json agreed = json::object();
  for (const auto& [identity, pin] : agreements) {
    agreed[crypto::to_did(identity)] = {{"request", crypto::to_base64(pin.request)},
                                        {"grant", crypto::to_base64(pin.grant)},
                                        {"e2e_key", crypto::to_base64(pin.e2e_key)}};
  }
  json successors = json::object();
  for (const auto& [identity, former] : formers) {
    successors[crypto::to_did(identity)] = crypto::to_did(former);
  }
  json own_list = json::array();
  for (const auto& former : own_formers) own_list.push_back(crypto::to_did(former));
  json out = {
      {"version", 1},
      {"peers", std::move(peers)},
      {"agreements", std::move(agreed)},
      {"formers", std::move(successors)},
      {"own",
       {{"visible", visible}, {"enrol_ms", own_enrol_ms}, {"formers", std::move(own_list)}}}};
  if (operator_key) out["operator_key"] = crypto::to_base64(*operator_key);
  if (relay_key) {
    out["relay_key"] = {{"key", crypto::to_base64(relay_key->key)},
                        {"replaced", crypto::to_base64(relay_key->replaced)},
                        {"issued_ms", relay_key->issued_ms},
                        {"replaced_until_ms", relay_key->replaced_until_ms}};
  }
  return out.dump(1);
}

Result<Pins> Pins::from_json(const std::string& text) {
  const auto broken = [](const char* what) {
    return fail(ErrorCode::kKeyFile, fmt::format("{} is not readable", what));
  };
  const json doc = json::parse(text, nullptr, false);
  if (!doc.is_object() || doc.value("version", json()) != 1)
    return broken("the list of pinned keys");
  Pins out;
  if (doc.contains("operator_key")) {
    out.operator_key = key_from(doc["operator_key"]);
    if (!out.operator_key) return broken("the operator's pinned key");
  }
  if (doc.contains("relay_key")) {
    const json& value = doc["relay_key"];
    if (!value.is_object()) return broken("the relay's key");
    const auto key = key_from(value.value("key", json()));
    const auto replaced = key_from(value.value("replaced", json()));
    const json issued = value.value("issued_ms", json());
    const json until = value.value("replaced_until_ms", json());
    if (!key || !replaced || !issued.is_number_unsigned() || !until.is_number_unsigned()) {
      return broken("the relay's key");
    }
    out.relay_key = {*key, *replaced, issued.get<uint64_t>(), until.get<uint64_t>()};
  }
  const json peers = doc.value("peers", json::object());
  for (const auto& [did, value] : peers.items()) {
    const auto identity = crypto::parse_did(did);
    if (!identity || !value.is_object() || !value.contains("issued_ms") ||
        !value["issued_ms"].is_number_unsigned() || !value.contains("e2e_key")) {
      return broken("a peer's pinned key");
    }
    const auto key = key_from(value["e2e_key"]);
    if (!key) return broken("a peer's pinned key");
    out.enrols[*identity] = {value["issued_ms"].get<uint64_t>(), *key};
  }
  const json agreed = doc.value("agreements", json::object());
  for (const auto& [did, value] : agreed.items()) {
    const auto identity = crypto::parse_did(did);
    if (!identity || !value.is_object()) return broken("an agreement");
    const auto request = key_from(value.value("request", json()));
    const auto grant = key_from(value.value("grant", json()));
    const auto key = key_from(value.value("e2e_key", json()));
    if (!request || !grant || !key) return broken("an agreement");
    out.agreements[*identity] = {*request, *grant, *key};
  }
  const json successors = doc.value("formers", json::object());
  for (const auto& [did, value] : successors.items()) {
    const auto identity = crypto::parse_did(did);
    const auto former =
        value.is_string() ? crypto::parse_did(value.get<std::string>()) : std::nullopt;
    if (!identity || !former) return broken("a peer's former identity");
    out.formers[*identity] = *former;
  }
  const json own = doc.value("own", json::object());
  if (!own.is_object()) return broken("what this agent has told of itself");
  const json visible = own.value("visible", json(false)), at = own.value("enrol_ms", json(0u));
  if (!visible.is_boolean() || !at.is_number_unsigned()) {
    return broken("what this agent has told of itself");
  }
  for (const json& value : own.value("formers", json::array())) {
    const auto former =
        value.is_string() ? crypto::parse_did(value.get<std::string>()) : std::nullopt;
    if (!former) return broken("a former identity of this agent");
    out.own_formers.push_back(*former);
  }
  out.visible = visible.get<bool>();
  out.own_enrol_ms = at.get<uint64_t>();
  return out;
}

Result<Pins> load_pins(const std::string& path) {
  const auto text = read_secret_file(path, kFileLimit);
  if (!text && text.error().code == ErrorCode::kNotFound) return Pins{};
  if (!text) return tl::unexpected(text.error());
  auto pins = Pins::from_json(*text);
  if (!pins) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("{}: {}; delete the file only if you accept that keys which it pinned "
                            "may have changed",
                            path, pins.error().message));
  }
  return pins;
}

Result<void> save_pins(const std::string& path, Pins& pins) {
  const std::string text = pins.to_json();
  auto written = write_file(path, as_bytes(text), 0600);
  if (written) pins.changed = false;
  return written;
}

}  // namespace sluice::agent
