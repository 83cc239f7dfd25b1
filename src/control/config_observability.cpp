#include <arpa/inet.h>

#include <array>

#include <fmt/format.h>

#include "control/config_parts.h"

namespace sluice::control {

bool split_listen(std::string_view text, std::string& address, uint16_t& port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  std::string host(text.substr(0, colon));
  const bool v6 = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (v6) host = host.substr(1, host.size() - 2);
  std::array<uint8_t, 16> bytes{};
  const auto number = parse_decimal(text.substr(colon + 1));
  if (inet_pton(v6 ? AF_INET6 : AF_INET, host.c_str(), bytes.data()) != 1 || !number ||
      *number == 0 || *number > 0xffff) {
    return false;
  }
  address = host;
  port = static_cast<uint16_t>(*number);
  return true;
}

std::string join_listen(std::string_view address, uint16_t port) {
  const bool v6 = address.find(':') != std::string_view::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

void read_observability(const Section& root, ObservabilityConfig& out) {
  const Section s = root.section("observability", {"latency", "latency_tenants"});
  s.choice<bool>("latency", out.latency, {{"on", true}, {"off", false}});
  s.number("latency_tenants", out.latency_tenants, 0, 4096);
  if (!root.has("metrics")) return;
  const Section metrics = root.section("metrics", {"listen"});
  if (!metrics.require("listen", "give ADDRESS:PORT, such as 127.0.0.1:9760")) return;
  const auto v = metrics.text("listen");
  if (v && !split_listen(v->text, out.metrics_address, out.metrics_port)) {
    metrics.problem(v->line, "listen",
                    fmt::format("{} is not ADDRESS:PORT, such as 127.0.0.1:9760 or \"[::1]:9760\"",
                                quote(v->text)));
  }
}

}  // namespace sluice::control
