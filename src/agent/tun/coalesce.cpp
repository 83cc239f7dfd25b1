#include "agent/tun/coalesce.h"

#include <algorithm>
#include <cstring>

namespace sluice::agent {
namespace {

// Flags that a segment may have which is put together with others.
constexpr uint8_t kPlain = tcp_field::kAck | tcp_field::kPsh;

bool equal(const uint8_t* a, const uint8_t* b, size_t from, size_t to) {
  return std::memcmp(a + from, b + from, to - from) == 0;
}

bool may_be_put_together(Bytes packet, const TcpView& view) {
  return view.payload_size > 0 && (view.flags & ~kPlain) == 0 &&
         (view.flags & tcp_field::kAck) != 0 && checksum_holds(packet, wire::kIp6Size);
}

}  // namespace

// Addresses and ports.
bool Coalescer::same_flow(const Flow& flow, Bytes packet) const {
  const uint8_t *a = flow.packet.data(), *b = packet.data();
  return equal(a, b, ip6_field::kSource, wire::kIp6Size + 4);
}

// What may differ is length, sequence, the push flag and the checksum.
bool Coalescer::goes_on(const Flow& flow, Bytes packet, const TcpView& view) const {
  const uint8_t *a = flow.packet.data(), *b = packet.data();
  const size_t t = wire::kIp6Size;
  return !flow.ended && view.payload_at == flow.head && view.sequence == flow.next &&
         view.payload_size <= flow.segment && flow.packet.size() + view.payload_size <= kMost &&
         equal(a, b, 0, ip6_field::kLength) && equal(a, b, ip6_field::kNext, ip6_field::kSource) &&
         equal(a, b, t + 8, t + tcp_field::kFlags) &&
         equal(a, b, t + 14, t + tcp_field::kChecksum) && equal(a, b, t + 18, flow.head);
}

void Coalescer::add(Bytes packet) {
  const auto view = parse_tcp(packet);
  if (!view) return write_({}, packet);
  const auto end = flows_.begin() + std::ptrdiff_t(open_);
  auto flow =
      std::find_if(flows_.begin(), end, [&](const Flow& f) { return same_flow(f, packet); });
  const bool joins = may_be_put_together(packet, *view);
  if (flow != end) {
    if (joins && goes_on(*flow, packet, *view)) {
      flow->packet.insert(flow->packet.end(), packet.begin() + std::ptrdiff_t(view->payload_at),
                          packet.end());
      ++flow->count;
      flow->next += static_cast<uint32_t>(view->payload_size);
      const bool pushed = (view->flags & tcp_field::kPsh) != 0;
      if (pushed) flow->packet[wire::kIp6Size + tcp_field::kFlags] |= tcp_field::kPsh;
      flow->ended = pushed || view->payload_size < flow->segment;
      return;
    }
    emit(*flow);
    std::rotate(flow, flow + 1, end);
    --open_;
  }
  if (!joins) return write_({}, packet);
  if (open_ == kFlows) {
    emit(flows_.front());
    std::rotate(flows_.begin(), flows_.begin() + 1, flows_.end());
    --open_;
  }
  if (open_ == flows_.size()) flows_.emplace_back();
  Flow& f = flows_[open_++];
  f.packet.assign(packet.begin(), packet.end());
  f.head = view->payload_at;
  f.segment = view->payload_size;
  f.count = 1;
  f.next = view->sequence + static_cast<uint32_t>(view->payload_size);
  f.ended = (view->flags & tcp_field::kPsh) != 0;
}

void Coalescer::flush() {
  for (size_t i = 0; i < open_; ++i) emit(flows_[i]);
  open_ = 0;
}

void Coalescer::emit(Flow& flow) {
  if (flow.count == 1) return write_({}, flow.packet);
  uint8_t* p = flow.packet.data();
  const size_t length = flow.packet.size() - wire::kIp6Size;
  store_be16(p + ip6_field::kLength, static_cast<uint16_t>(length));
  // Left to be completed for each segment.
  const uint16_t pseudo = static_cast<uint16_t>(~wire::checksum_fold(
      wire::pseudo_header_sum(p, true, kProtoTcp, static_cast<uint16_t>(length))));
  store_le(p + wire::kIp6Size + tcp_field::kChecksum, pseudo);
  VnetHeader header{};
  header.flags = vnet::kNeedsChecksum;
  header.kind = vnet::kTcp6;
  header.head = static_cast<uint16_t>(flow.head);
  header.segment = static_cast<uint16_t>(flow.segment);
  header.sum_start = wire::kIp6Size;
  header.sum_offset = tcp_field::kChecksum;
  write_(header, flow.packet);
}

}  // namespace sluice::agent
