// How sluicectl's commands talk to the relay and report what went wrong.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "crypto/secret_buffer.h"
#include "http/message.h"
#include "http/tls_files.h"

namespace sluice::cli {

struct Client {
  std::string socket = "/run/sluice/admin.sock";
  // Of a relay on another host, in the socket's place.
  std::string url;
  http::TlsFiles files;
  bool as_json = false;

  // An error's sentence on standard error, and as JSON on standard output where that is wanted; its
  // exit code.
  int report(const Error& e) const;

  // What the relay answers to a GET, as it is.
  Result<std::string> fetch(const std::string& target) const;

  Result<nlohmann::json> call(const char* method, const std::string& target,
                              const std::string& body = "",
                              std::chrono::seconds timeout = std::chrono::seconds(30)) const;

  // A look, for people or programs; the exit code.
  int show(const std::string& target,
           const std::function<void(const nlohmann::json&)>& print) const;

  // A request that changes something; `sentence` says in one line what came of it. The exit code.
  int change(const char* target, const nlohmann::json& request,
             const std::function<std::string(const nlohmann::json&)>& sentence) const;

  // The same beside a secret, which is the body then; an empty one is none.
  int change_with(const char* target, const nlohmann::json& request,
                  const crypto::SecretBuffer& secret,
                  const std::function<std::string(const nlohmann::json&)>& sentence,
                  std::chrono::seconds timeout) const;

 private:
  Result<http::Response> request(const char* method, const std::string& target,
                                 std::string_view body, std::chrono::seconds timeout,
                                 std::string_view content_type = "application/json") const;
  Result<nlohmann::json> parsed(Result<http::Response> response) const;
};

}  // namespace sluice::cli
