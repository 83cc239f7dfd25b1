#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>

#include <fmt/format.h>

#include "control/config_parts.h"

namespace sluice::control {
namespace {

constexpr std::array<std::string_view, 9> kVdevKinds = {
    "net_af_packet", "net_af_xdp", "net_memif", "net_ring", "net_virtio_user",
    "net_vhost",     "net_null",   "net_tap",   "net_pcap"};

bool is_port_name(std::string_view s) {
  return !s.empty() && s.size() <= 31 && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

// The digits of a hexadecimal field in lower case; empty if it is not one of that width.
std::string hex_field(std::string_view s, size_t digits, unsigned most) {
  if (s.size() != digits) return {};
  std::string out;
  unsigned v = 0;
  for (const char c : s) {
    const char low = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool digit = low >= '0' && low <= '9';
    if (!digit && !(low >= 'a' && low <= 'f')) return {};
    v = v * 16 + static_cast<unsigned>(digit ? low - '0' : low - 'a' + 10);
    out += low;
  }
  return v <= most ? out : std::string();
}

// dddd:bb:dd.f or bb:dd.f in full form; empty if it is neither.
std::string full_pci_address(std::string_view s) {
  std::string domain = "0000";
  if (s.size() == 12 && s[4] == ':') {
    domain = hex_field(s.substr(0, 4), 4, 0xffff);
    s.remove_prefix(5);
  }
  if (domain.empty() || s.size() != 7 || s[2] != ':' || s[5] != '.') return {};
  const std::string bus = hex_field(s.substr(0, 2), 2, 0xff);
  const std::string device = hex_field(s.substr(3, 2), 2, 0x1f);
  const std::string function = hex_field(s.substr(6, 1), 1, 7);
  if (bus.empty() || device.empty() || function.empty()) return {};
  return fmt::format("{}:{}:{}.{}", domain, bus, device, function);
}

// What may be used by one port only: the PCI address, or the vdev's name and the kernel
// interface that it takes. Empty: not a device.
std::vector<std::string> device_claims(std::string_view s) {
  if (auto pci = full_pci_address(s); !pci.empty()) return {"PCI device " + pci};
  const std::string_view name = s.substr(0, s.find(','));
  const bool known = std::any_of(kVdevKinds.begin(), kVdevKinds.end(),
                                 [&](std::string_view k) { return name.starts_with(k); });
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  constexpr size_t kLongestName = 63;  // RTE_DEV_NAME_MAX_LEN with its end
  if (!known || !plain || name.size() > kLongestName) return {};
  std::vector<std::string> claims{"vdev " + std::string(name)};
  for (size_t at = name.size(); at < s.size();) {
    const size_t end = std::min(s.find(',', at + 1), s.size());
    const std::string_view option = s.substr(at + 1, end - at - 1);
    if (option.starts_with("iface="))
      claims.push_back("interface " + std::string(option.substr(6)));
    at = end;
  }
  return claims;
}

// Sets `out`; what is wrong with the address otherwise.
std::string parse_address(std::string_view text, fabric::PortAddress& out) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return "has no prefix length; write it as 192.0.2.1/24 or 2001:db8::1/64";
  }
  const std::string host(text.substr(0, slash));
  const auto prefix = parse_decimal(text.substr(slash + 1));
  ByteArray<4> four{};
  if (inet_pton(AF_INET, host.c_str(), four.data()) == 1) {
    out.v6 = false;
    out.ip = wire::mapped_ip4(four.data());
    if (all_zero(four)) return "is the unspecified address; give the port's own";
    if (four[0] >= 224 && four[0] < 240) return "is a multicast address; give the port's own";
    if (load_le<uint32_t>(four.data()) == 0xffffffff) {
      return "is the broadcast address; give the port's own";
    }
  } else if (inet_pton(AF_INET6, host.c_str(), out.ip.data()) == 1) {
    static constexpr ByteArray<12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    out.v6 = true;
    if (all_zero(out.ip)) return "is the unspecified address; give the port's own";
    if (out.ip[0] == 0xff) return "is a multicast address; give the port's own";
    if (std::equal(kMapped.begin(), kMapped.end(), out.ip.begin())) {
      return "is an IPv4 address inside IPv6; write it as plain IPv4";
    }
  } else {
    return "is not an IPv4 or IPv6 address; write it as 192.0.2.1/24 or 2001:db8::1/64";
  }
  const uint64_t most = out.v6 ? 128 : 32;
  if (!prefix || *prefix == 0 || *prefix > most) {
    return fmt::format("has a wrong prefix length; give /1 to /{}", most);
  }
  out.prefix = static_cast<uint8_t>(*prefix);
  return {};
}

// Reads the ports and remembers what each has taken, so that a second claim can name the first.
class PortReader {
 public:
  explicit PortReader(Problems& problems) : problems_(problems) {}

  fabric::PortConfig read(const YamlNode& node, size_t index) {
    const Section s(problems_, &node, item_place("ports", node, index),
                    {"name", "device", "addresses", "mtu", "rx_descriptors", "tx_descriptors"});
    fabric::PortConfig port;
    port.line = node.line;
    read_name(s, port);
    read_device(s, port);
    read_addresses(s, port);
    s.number("mtu", port.mtu, 1280, 9000);
    read_descriptors(s, "rx_descriptors", port.rx_descriptors);
    read_descriptors(s, "tx_descriptors", port.tx_descriptors);
    return port;
  }

 private:
  // The line of the earlier claim, 0 if this is the first.
  int claim(std::map<std::string, int>& taken, const std::string& what, int line) {
    const auto [at, fresh] = taken.emplace(what, line);
    return fresh ? 0 : at->second;
  }

  void read_name(const Section& s, fabric::PortConfig& port) {
    if (!s.require("name", "give the port a name, by which queues refer to it")) return;
    const auto v = s.text("name");
    if (!v) return;
    port.name = v->text;
    if (!is_port_name(v->text)) {
      s.problem(
          v->line, "name",
          fmt::format("{} is not a port name; give 1 to 31 of a-z, 0-9 and -", quote(v->text)));
    } else if (const int first = claim(names_, v->text, v->line)) {
      s.problem(v->line, "name",
                fmt::format("{} is taken by the port on line {}; give another name", quote(v->text),
                            first));
    }
  }

  void read_device(const Section& s, fabric::PortConfig& port) {
    if (!s.require("device", "give a PCI address, or a vdev such as net_af_packet0,iface=eth1")) {
      return;
    }
    const auto v = s.text("device");
    if (!v) return;
    const auto claims = device_claims(v->text);
    if (claims.empty()) {
      const auto kind = std::string_view(v->text).substr(0, v->text.find_first_of(",0123456789"));
      const std::string hint = kind.starts_with("net") ? suggestion(kind, kVdevKinds) : "";
      s.problem(v->line, "device",
                fmt::format("{} is neither a PCI address (0000:3b:00.0) nor a vdev of a known kind "
                            "({}){}",
                            quote(v->text), join_names(kVdevKinds), hint));
      return;
    }
    for (const auto& c : claims) {
      if (const int first = claim(devices_, c, v->line)) {
        s.problem(v->line, "device",
                  fmt::format("{} is used by the port on line {}; a device belongs to one port", c,
                              first));
        return;
      }
    }
    port.device = v->text;
  }

  void read_addresses(const Section& s, fabric::PortConfig& port) {
    for (const auto& node : s.list("addresses")) {
      const auto text = scalar_text(problems_, node, s.place("addresses"));
      if (!text) continue;
      fabric::PortAddress address;
      if (const auto wrong = parse_address(*text, address); !wrong.empty()) {
        s.problem(node.line, "addresses", fmt::format("{} {}", quote(*text), wrong));
        continue;
      }
      const std::string bytes(as_text(address.ip));
      if (const int first = claim(addresses_, bytes, node.line)) {
        s.problem(node.line, "addresses",
                  fmt::format("{} is given already on line {}; remove one", quote(*text), first));
        continue;
      }
      port.addresses.push_back(address);
    }
  }

  void read_descriptors(const Section& s, std::string_view key, uint16_t& out) {
    uint16_t n = out;
    if (!s.number(key, n, 64, 4096)) return;
    if (std::has_single_bit(n)) {
      out = n;
    } else {
      s.problem(s.line_of(key), key,
                fmt::format("{} is not a power of two; give {} or {}", n, std::bit_floor(n),
                            std::bit_ceil(n)));
    }
  }

  Problems& problems_;
  std::map<std::string, int> names_;
  std::map<std::string, int> devices_;
  std::map<std::string, int> addresses_;
};

}  // namespace

void read_ports(const Section& root, fabric::Topology& out) {
  const auto nodes = root.required_list("ports", "list at least one port with name and device");
  if (nodes.size() > fabric::kMaxPorts) {
    root.problem(nodes[fabric::kMaxPorts].line, "ports",
                 fmt::format("{} ports are listed; a relay drives at most {}", nodes.size(),
                             fabric::kMaxPorts));
  }
  PortReader reader(root.problems());
  for (size_t i = 0; i < nodes.size(); ++i) out.ports.push_back(reader.read(nodes[i], i));
}

}  // namespace sluice::control
