#include <charconv>

#include <fmt/format.h>

#include "agent/cli.h"
#include "agent/daemon_client.h"
#include "base/clock.h"
#include "base/duration.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

// The relay's answer may take as long as its disk.
constexpr std::chrono::seconds kAnswerWithin{15};

std::string text_of(const json& value) {
  return value.is_string() ? printable(value.get_ref<const std::string&>()) : std::string();
}

Result<int> show(const Result<json>& answer, bool as_json, const std::string& sentence) {
  if (!answer) return tl::unexpected(answer.error());
  fmt::print("{}\n", as_json ? pretty(*answer) : sentence);
  return 0;
}

Result<uint64_t> seconds_of(const std::string& text) {
  if (text.empty()) return 0;
  const auto seconds = parse_duration_s(text);
  if (seconds && *seconds > 0) return *seconds;
  return fail(ErrorCode::kUsage,
              fmt::format("\"{}\" is no time; give a number and s, m, h or d, such as 30d",
                          printable(text)));
}

std::string terms_text(const json& terms) {
  std::string out = text_of(terms["right"]);
  for (const char* key : {"scopes", "protocols", "capabilities"}) {
    for (const json& n : terms[key]) out += fmt::format(" {}:{}", key, text_of(n));
  }
  return out;
}

void print_waiting(const json& list, bool incoming, uint64_t now_ms) {
  for (const json& w : list) {
    const uint64_t expires = w.value("expires_ms", now_ms);
    fmt::print("{} {} {}\n", incoming ? "from" : "to  ",
               incoming ? fmt::format("{} ({})", text_of(w["name"]), text_of(w["address"]))
                        : std::string(text_of(w["did"])),
               text_of(w["request"]).substr(0, 12));
    fmt::print("     \"{}\"\n", text_of(w["justification"]));
    fmt::print("     asks {}; offers {}; {}; waits for {} more\n", terms_text(w["asked"]),
               terms_text(w["offered"]),
               w["trust_ends_ms"].is_null()
                   ? "without an end"
                   : fmt::format("for {}", duration_text(w["trust_ends_ms"].get<uint64_t>() -
                                                         w.value("received_ms", now_ms))),
               duration_text(expires > now_ms ? expires - now_ms : 0));
    if (incoming) fmt::print("     {}\n", text_of(w["did"]));
  }
}

}  // namespace

Result<int> run_handshake(const std::string& state, const HandshakeCommand& c) {
  const auto life = seconds_of(c.life);
  if (!life) return tl::unexpected(life.error());
  json body = {{"peer", c.peer}, {"justification", c.why}, {"for_s", *life}};
  if (!c.right.empty()) body["right"] = c.right;
  if (!c.offer.empty()) body["offer"] = c.offer;
  if (!c.scopes.empty()) body["scopes"] = c.scopes;
  if (!c.protocols.empty()) body["protocols"] = c.protocols;
  if (!c.capabilities.empty()) body["capabilities"] = c.capabilities;
  const auto answer = DaemonClient(state).post("/v1/trust/request", body, kAnswerWithin);
  if (!answer) return tl::unexpected(answer.error());
  const bool approved = text_of((*answer)["state"]) == "approved";
  return show(answer, c.json,
              approved ? fmt::format("{} had asked as well: approved", text_of((*answer)["peer"]))
                       : fmt::format("asked {}; it is told if it is there. Request {}",
                                     text_of((*answer)["peer"]),
                                     text_of((*answer)["request"]).substr(0, 12)));
}

Result<int> run_pending(const std::string& state, bool as_json) {
  const auto answer = DaemonClient(state).get("/v1/trust/pending");
  if (!answer) return tl::unexpected(answer.error());
  if (as_json) {
    fmt::print("{}\n", pretty(*answer));
    return 0;
  }
  const uint64_t now = Clock(1).unix_ms();
  print_waiting((*answer)["incoming"], true, now);
  print_waiting((*answer)["outgoing"], false, now);
  if ((*answer)["incoming"].empty() && (*answer)["outgoing"].empty()) {
    fmt::print(stderr, "nothing waits\n");
  }
  return 0;
}

Result<int> run_approve(const std::string& state, const AnswerCommand& c) {
  const auto life = seconds_of(c.life);
  if (!life) return tl::unexpected(life.error());
  json body = {{"peer", c.peer}, {"for_s", *life}};
  if (!c.quota.empty()) {
    const size_t slash = c.quota.find('/');
    uint64_t calls = 0;
    const char* end = c.quota.data() + std::min(slash, c.quota.size());
    const auto [at, ec] = std::from_chars(c.quota.data(), end, calls);
    const auto period = slash == std::string::npos
                            ? std::nullopt
                            : parse_duration_s(std::string_view(c.quota).substr(slash + 1));
    if (ec != std::errc() || at != end || calls == 0 || !period || *period == 0) {
      return fail(
          ErrorCode::kUsage,
          fmt::format("--quota {} is no quota; give calls, a slash and a time, such as 5/1h",
                      c.quota));
    }
    body["quota_calls"] = calls;
    body["quota_s"] = *period;
  }
  const auto answer = DaemonClient(state).post("/v1/trust/approve", body, kAnswerWithin);
  if (!answer) return tl::unexpected(answer.error());
  return show(answer, c.json,
              fmt::format("{} ({}) is trusted now", text_of((*answer)["name"]),
                          text_of((*answer)["peer"])));
}

Result<int> run_reject(const std::string& state, const AnswerCommand& c) {
  json body = {{"peer", c.peer}};
  if (!c.reason.empty()) body["reason"] = c.reason;
  const auto answer = DaemonClient(state).post("/v1/trust/reject", body, kAnswerWithin);
  if (!answer) return tl::unexpected(answer.error());
  return show(answer, c.json, fmt::format("{} is told that it is not", text_of((*answer)["peer"])));
}

Result<int> run_untrust(const std::string& state, const AnswerCommand& c) {
  json body = {{"peer", c.peer}};
  if (!c.reason.empty()) body["reason"] = c.reason;
  const auto answer = DaemonClient(state).post("/v1/trust/untrust", body, kAnswerWithin);
  const bool pair = answer && text_of((*answer)["what"]) == "pair";
  return show(answer, c.json,
              pair ? "cut: the relay has proven that it forwards nothing more"
                   : "the request is taken back");
}

Result<int> run_visibility(const std::string& state, const VisibilityCommand& c) {
  const auto answer =
      DaemonClient(state).post("/v1/visibility", {{"visibility", c.visibility}}, kAnswerWithin);
  return show(answer, c.json,
              c.visibility == "public" ? "others of this tenant may look this agent up by name"
                                       : "nobody can look this agent up");
}

}  // namespace sluice::agent
