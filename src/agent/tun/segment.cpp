#include "agent/tun/segment.h"

#include <algorithm>

namespace sluice::agent {

Segmenter::Verdict Segmenter::cut(const VnetHeader& header, MutBytes packet, size_t most,
                                  const std::function<void(Bytes)>& take) {
  const unsigned kind = header.kind & ~unsigned{vnet::kEcn};
  if (kind == vnet::kNone) {
    if (!is_whole_ip6(packet)) return Verdict::kMalformed;
    if (packet.size() > most) return Verdict::kTooBig;
    if ((header.flags & vnet::kNeedsChecksum) != 0) {
      const size_t start = header.sum_start, offset = header.sum_offset;
      if (start < wire::kIp6Size || start + offset + 2 > packet.size()) return Verdict::kMalformed;
      // The field holds the pseudo header's sum: the rest is summed over it.
      uint8_t* at = packet.data() + start + offset;
      uint16_t sum = wire::checksum_fold(wire::checksum_add(packet.subspan(start), 0));
      if (sum == 0 && packet[ip6_field::kNext] == wire::kProtoUdp) sum = 0xffff;
      store_le(at, sum);
    }
    take(packet);
    return Verdict::kOk;
  }
  const auto view = kind == vnet::kTcp6 ? parse_tcp(packet) : std::nullopt;
  if (!view || header.segment == 0) return Verdict::kMalformed;
  const size_t head = view->payload_at;
  if (head + header.segment > most) return Verdict::kTooBig;
  for (size_t done = 0; done < view->payload_size || done == 0;) {
    const size_t size = std::min<size_t>(header.segment, view->payload_size - done);
    const bool last = done + size == view->payload_size;
    scratch_.assign(packet.begin(), packet.begin() + std::ptrdiff_t(head));
    const auto from = packet.begin() + std::ptrdiff_t(head + done);
    scratch_.insert(scratch_.end(), from, from + std::ptrdiff_t(size));
    uint8_t* p = scratch_.data();
    store_be16(p + ip6_field::kLength, static_cast<uint16_t>(scratch_.size() - wire::kIp6Size));
    uint8_t* t = p + wire::kIp6Size;
    store_be32(t + tcp_field::kSequence, view->sequence + static_cast<uint32_t>(done));
    if (!last) t[tcp_field::kFlags] &= static_cast<uint8_t>(~(tcp_field::kFin | tcp_field::kPsh));
    if (done != 0) t[tcp_field::kFlags] &= static_cast<uint8_t>(~tcp_field::kCwr);
    fill_checksum(scratch_, wire::kIp6Size, tcp_field::kChecksum);
    take(scratch_);
    done += size;
    if (size == 0) break;
  }
  return Verdict::kOk;
}

}  // namespace sluice::agent
