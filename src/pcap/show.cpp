// show: a line for each packet, as the project's own parser reads it.
#include <ctime>

#include <arpa/inet.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pcap/capture_file.h"
#include "pcap/commands.h"
#include "pcap/description.h"

namespace sluice::capture {
namespace {

std::string endpoint(const wire::IpBytes& ip, uint16_t port, bool v6) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(v6 ? AF_INET6 : AF_INET, v6 ? ip.data() : ip.data() + 12, text, sizeof text);
  return v6 ? fmt::format("[{}]:{}", text, port) : fmt::format("{}:{}", text, port);
}

std::string seconds(uint64_t ns) {
  return fmt::format("{}.{:09}", ns / 1'000'000'000, ns % 1'000'000'000);
}

void print_json(uint64_t number, const Packet& packet, const TunnelPacket& at,
                const Description& d) {
  nlohmann::ordered_json line = {{"packet", number},
                                 {"time", seconds(packet.time_ns)},
                                 {"from", endpoint(at.from, at.from_port, at.v6)},
                                 {"to", endpoint(at.to, at.to_port, at.v6)},
                                 {"verdict", info(d.verdict).name}};
  add_to(line, d);
  fmt::print("{}\n", line.dump());
}

void print_text(uint64_t number, const TunnelPacket& at, const Description& d) {
  const std::string what = sentence(d);
  fmt::print("{:>6} {} > {} {}", number, endpoint(at.from, at.from_port, at.v6),
             endpoint(at.to, at.to_port, at.v6), what);
  if (d.verdict != Verdict::kOk) {
    const VerdictInfo& v = info(d.verdict);
    fmt::print("{}[{}: {}]", what.empty() ? "" : " ", v.name, v.text);
  }
  fmt::print("\n");
}

}  // namespace

Result<int> run_show(const ShowCommand& command) {
  auto in = CaptureReader::open(command.in);
  if (!in) return tl::unexpected(in.error());
  auto finder = PacketFinder::create(in->link_type(), command.port);
  if (!finder) return tl::unexpected(finder.error());
  for (uint64_t number = 1;; ++number) {
    const auto packet = in->next();
    if (!packet) return tl::unexpected(packet.error());
    if (!*packet) return 0;
    TunnelPacket at;
    const Found found = finder->find((*packet)->bytes, (*packet)->wire_size, at);
    if (found == Found::kOther) continue;
    Description d{Verdict::kTruncated, {}};
    if (found == Found::kTunnel) {
      d = describe(Bytes((*packet)->bytes).subspan(at.payload_offset, at.payload_size),
                   at.to_relay);
    }
    if (command.json) {
      print_json(number, **packet, at, d);
    } else {
      print_text(number, at, d);
    }
  }
}

}  // namespace sluice::capture
