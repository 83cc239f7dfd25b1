#include <arpa/inet.h>
#include <sched.h>

#include <charconv>

#include "crypto/text.h"
#include "pktgen/options_parts.h"

namespace sluice::pktgen {
namespace {

bool parse_ip_text(const std::string& text, bool& v6, wire::IpBytes& out) {
  in_addr four{};
  if (inet_pton(AF_INET, text.c_str(), &four) == 1) {
    v6 = false;
    out = wire::mapped_ip4(reinterpret_cast<const uint8_t*>(&four));
    return true;
  }
  v6 = true;
  return inet_pton(AF_INET6, text.c_str(), out.data()) == 1;
}

template <typename T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::vector<unsigned> read_numbers(const std::string& text, const char* option,
                                   Problems& problems) {
  std::vector<unsigned> out;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    unsigned value = 0;
    if (!parse_number(std::string_view(text).substr(at, comma - at), value)) {
      problems.add("{} {} is not a list of numbers with commas between them", option, text);
      return {};
    }
    out.push_back(value);
    at = comma + 1;
  }
  return out;
}

std::vector<unsigned> default_cores(size_t devices) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<unsigned> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (unsigned c = 0; c < CPU_SETSIZE; ++c) {
      if (CPU_ISSET(c, &set)) cpus.push_back(c);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  std::vector<unsigned> out = {cpus[0]};
  for (size_t i = 0; i < devices; ++i) out.push_back(cpus[(cpus.size() - 1 - i) % cpus.size()]);
  return out;
}

void read_address(const std::string& text, DeviceOptions& out, Problems& problems) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos || !parse_ip_text(text.substr(0, slash), out.v6, out.base) ||
      !parse_number(std::string_view(text).substr(slash + 1), out.prefix) ||
      out.prefix > (out.v6 ? 128 : 32)) {
    problems.add("--address {} is not IP/PREFIX, e.g. 10.9.0.10/16", text);
  }
}

void read_relay(const std::string& text, DeviceOptions& out, Problems& problems) {
  const size_t colon = text.rfind(':');
  bool v6 = false;
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (colon == std::string::npos || !parse_ip_text(host, v6, out.relay) ||
      !parse_number(std::string_view(text).substr(colon + 1), out.relay_port) ||
      out.relay_port == 0) {
    problems.add("--relay {} is not IP:PORT, e.g. 10.9.0.1:7600 or [2001:db8::1]:7600", text);
  } else if (v6 != out.v6) {
    problems.add("--relay {} and its --address are not of the same IP version", text);
  }
}

void read_mac(const std::string& text, DeviceOptions& out, Problems& problems) {
  std::string hex;
  for (char c : text) {
    if (c != ':') hex += c;
  }
  const auto bytes = crypto::from_hex(hex);
  if (!bytes || bytes->size() != 6) {
    problems.add("--relay-mac {} is not like 02:00:00:00:00:01", text);
    return;
  }
  out.relay_mac = take<6>(bytes->data());
}

std::optional<ByteArray<32>> parse_relay_key(const std::string& text) {
  std::string key = text;
  while (!key.empty() && (key.back() == '\n' || key.back() == ' ')) key.pop_back();
  if (const size_t hash = key.find('#'); hash != std::string::npos) key = key.substr(hash + 1);
  auto bytes = crypto::from_base64url(key);
  if (!bytes) bytes = crypto::from_base64(key);
  if (!bytes || bytes->size() != 32) return std::nullopt;
  return take<32>(bytes->data());
}

}  // namespace sluice::pktgen
