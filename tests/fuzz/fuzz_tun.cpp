// Packets of a peer's for the TUN device: whatever they are, what is put together is cut into the
// same packets again, each flow's in their order, and nothing is lost or made up. Input: records of
// flags (1), size (2) and a packet; flags ask for a right length field and checksum, and for the
// sequence number that follows the record before.
#include <map>

#include "agent/tun/coalesce.h"
#include "agent/tun/segment.h"
#include "fuzz.h"

namespace {

using namespace sluice;
using namespace sluice::agent;

constexpr uint8_t kRepair = 1, kFollow = 2, kFlush = 4;

fuzz::Canary together_seen("segments put together");
fuzz::Canary alone_seen("a segment alone");
fuzz::Canary other_seen("what is no TCP");

using Flow = std::pair<bool, Buffer>;  // whether it is TCP, addresses and ports

Flow flow_of(Bytes packet) {
  const size_t end = std::min<size_t>(packet.size(), wire::kIp6Size + 4);
  return {parse_tcp(packet).has_value(),
          Buffer(packet.begin() + ip6_field::kSource, packet.begin() + std::ptrdiff_t(end))};
}

// Both spellings of a checksum of zero hold; the one that we compute is the other.
Buffer normal(Bytes packet) {
  Buffer out = to_buffer(packet);
  if (parse_tcp(packet) && checksum_holds(packet, wire::kIp6Size)) {
    fill_checksum(out, wire::kIp6Size, tcp_field::kChecksum);
  }
  return out;
}

void repair(Buffer& packet, uint8_t flags, uint32_t& next) {
  if (packet.size() < wire::kIp6Size) return;
  store_be16(packet.data() + ip6_field::kLength,
             static_cast<uint16_t>(packet.size() - wire::kIp6Size));
  packet[0] = static_cast<uint8_t>(0x60 | (packet[0] & 15));
  const auto view = parse_tcp(packet);
  if (!view) return;
  uint8_t* tcp = packet.data() + wire::kIp6Size;
  if ((flags & kFollow) != 0) store_be32(tcp + tcp_field::kSequence, next);
  next = load_be32(tcp + tcp_field::kSequence) + static_cast<uint32_t>(view->payload_size);
  fill_checksum(packet, wire::kIp6Size, tcp_field::kChecksum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::map<Flow, std::vector<Buffer>> in, out;
  Segmenter segmenter;
  Coalescer coalescer([&](const VnetHeader& header, Bytes packet) {
    SLUICE_REQUIRE(packet.size() <= Coalescer::kMost);
    Buffer copy = to_buffer(packet);
    if (header.kind == vnet::kNone) {
      (parse_tcp(packet) ? alone_seen : other_seen).reached();
      SLUICE_REQUIRE(header.flags == 0);
      out[flow_of(packet)].push_back(normal(packet));
      return;
    }
    together_seen.reached();
    SLUICE_REQUIRE(header.kind == vnet::kTcp6 && header.flags == vnet::kNeedsChecksum);
    SLUICE_REQUIRE(header.head + header.segment < packet.size());
    const auto verdict =
        segmenter.cut(header, copy, size_t{header.head} + header.segment,
                      [&](Bytes piece) { out[flow_of(piece)].push_back(normal(piece)); });
    SLUICE_REQUIRE(verdict == Segmenter::Verdict::kOk);
  });
  uint32_t next = 0;
  for (size_t at = 0; at + 3 <= size;) {
    const uint8_t flags = bytes[at];
    const size_t most = std::min<size_t>(load_le<uint16_t>(bytes + at + 1), size - at - 3);
    Buffer packet(bytes + at + 3, bytes + at + 3 + most);
    at += 3 + most;
    if ((flags & kRepair) != 0) repair(packet, flags, next);
    // As the bridge does.
    if (is_whole_ip6(packet)) {
      in[flow_of(packet)].push_back(normal(packet));
      coalescer.add(packet);
    }
    if ((flags & kFlush) != 0) coalescer.flush();
  }
  coalescer.flush();
  SLUICE_REQUIRE(in == out);
  return 0;
}
