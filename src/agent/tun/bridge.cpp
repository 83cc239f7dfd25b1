#include "agent/tun/bridge.h"

#include <algorithm>

namespace sluice::agent {
namespace {

constexpr size_t kMostKnown = 65'536;

bool is(const Ip6& address, Bytes packet, size_t at) {
  return std::equal(address.begin(), address.end(), packet.data() + at);
}

}  // namespace

TunBridge::TunBridge(Agent& agent, const ByteArray<32>& relay_id,
                     std::function<bool(const VnetHeader&, Bytes)> write)
    : agent_(agent),
      net_(relay_id),
      write_(std::move(write)),
      coalescer_([this](const VnetHeader& header, Bytes packet) {
        if (!write_(header, packet)) ++counters_.dropped_device;
      }) {}

const PeerEdge* TunBridge::find(VirtualAddress address) {
  if (const auto it = known_.find(address.to_u64()); it != known_.end()) {
    const PeerEdge* edge = agent_.edge(it->second);
    if (edge != nullptr && edge->address == address) return edge;
    known_.erase(it);
  }
  for (const PeerEdge* edge : agent_.edges()) {
    if (edge->address != address) continue;
    if (known_.size() >= kMostKnown) known_.clear();
    known_[address.to_u64()] = edge->identity;
    return edge;
  }
  return nullptr;
}

void TunBridge::tell(Buffer error) {
  if (!error.empty() && !write_({}, error)) ++counters_.dropped_device;
}

void TunBridge::from_host(const VnetHeader& header, MutBytes packet, Now now) {
  if (packet.size() < wire::kIp6Size || packet[0] >> 4 != 6) {
    ++counters_.dropped_malformed;
    return;
  }
  // Solicitations of routers and memberships of groups: there are none here.
  if (is_multicast(packet.data() + ip6_field::kTarget)) return;
  if (!own_ || !is(*own_, packet, ip6_field::kSource)) {
    ++counters_.dropped_source;
    return tell(unreachable(packet, Unreachable::kProhibited));
  }
  const auto address = net_.find(packet.data() + ip6_field::kTarget);
  const PeerEdge* edge = address ? find(*address) : nullptr;
  if (edge == nullptr) {
    ++counters_.dropped_target;
    return tell(unreachable(packet, Unreachable::kAddress));
  }
  const crypto::PublicKey peer = edge->identity;
  const size_t most = agent_.max_message();
  std::optional<Unreachable> failed;
  const auto verdict = segmenter_.cut(header, packet, most, [&](Bytes piece) {
    const auto sent = agent_.send(peer, MessageKind::kIp, piece, now);
    if (!sent) {
      ++counters_.dropped_refused;
      failed = sent.error().code == ErrorCode::kRefused ? Unreachable::kProhibited
                                                        : Unreachable::kAddress;
    } else if (*sent == PeerSession::Sent::kFull) {
      ++counters_.dropped_full;
    } else {
      ++counters_.sent;
      counters_.sent_bytes += piece.size();
    }
  });
  if (verdict == Segmenter::Verdict::kMalformed) ++counters_.dropped_malformed;
  if (verdict == Segmenter::Verdict::kTooBig) {
    ++counters_.dropped_too_big;
    tell(too_big(packet, static_cast<uint32_t>(most)));
  }
  if (failed) tell(unreachable(packet, *failed));
}

void TunBridge::from_peer(const PeerEdge& from, Bytes packet) {
  if (!is_whole_ip6(packet)) {
    ++counters_.dropped_malformed;
    return;
  }
  if (!is(net_.address(from.address), packet, ip6_field::kSource)) {
    ++counters_.dropped_source;
    return;
  }
  if (!own_ || !is(*own_, packet, ip6_field::kTarget)) {
    ++counters_.dropped_target;
    return;
  }
  ++counters_.received;
  counters_.received_bytes += packet.size();
  coalescer_.add(packet);
}

}  // namespace sluice::agent
