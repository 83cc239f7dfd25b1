#include <rte_mbuf.h>

#include "crypto/hash.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;

// mac1 costs about 300 ns: this many a burst keep a flood of HELLOs below 5 µs of a round.
constexpr unsigned kHellosPerBurst = 16;

DropReason reason_of(wire::IpVerdict v) noexcept {
  switch (v) {
    case wire::IpVerdict::kRunt:
      return DropReason::kRunt;
    case wire::IpVerdict::kMalformed:
      return DropReason::kIpMalformed;
    case wire::IpVerdict::kFragment:
      return DropReason::kFragment;
    case wire::IpVerdict::kExtension:
      return DropReason::kIpExtension;
    case wire::IpVerdict::kGso:
      return DropReason::kGsoFrame;
    case wire::IpVerdict::kNotIp:
      return DropReason::kNotIp;
    default:
      return DropReason::kNone;
  }
}

void answer_version(Context& c, Slot& s) noexcept {
  if (s.size < wire::kVersionTriggerMin) return s.die(DropReason::kBadVersion);
  if (!c.responder.take(c.now, c.clock.hz())) return s.die(DropReason::kResponderBudget);
  const auto answer = wire::build_version({s.outer, s.size});
  std::memcpy(s.outer, answer.data(), answer.size());
  uint8_t* eth = s.outer - s.path.size;
  wire::write_headers(eth, s.path, answer.size(), static_cast<uint8_t>(c.options.dscp << 2));
  if (s.path.v6() || c.options.ipv4_udp_checksum) {
    wire::finish_udp_checksum(eth, s.path.v6(), answer.size());
  }
  const uint16_t length = static_cast<uint16_t>(s.path.size + answer.size());
  s.mbuf->data_len = length;
  s.mbuf->pkt_len = length;
  c.counters.responses.add(1);
  s.next = Next::kTransmit;
  s.out_port = s.path.port;
}

void parse_hello(Context& c, Slot& s, const wire::IpView& ip, unsigned& budget) noexcept {
  if (s.outer[1] != wire::kProtocolVersion) return answer_version(c, s);
  const auto hello = wire::parse_hello({s.outer, s.size});
  if (!hello) return s.die(DropReason::kMalformed);
  if (budget == 0) return s.die(DropReason::kHelloBudget);
  --budget;
  const auto mac = crypto::blake2b_128(c.arena.relay().mac1_key, {hello->before_mac1()});
  if (!crypto::equal_secret(mac, hello->mac1())) return s.die(DropReason::kBadMac1);

  switch (wire::check_udp(rte_pktmbuf_mtod(s.mbuf, uint8_t*), ip)) {
    case wire::UdpChecksum::kUnfilled:
      c.counters.checksum_unfilled.add(1);
      break;
    case wire::UdpChecksum::kBad:
      c.counters.checksum_bad.add(1);
      break;
    default:
      break;
  }

  s.punt = fabric::ParcelKind::kHello;
  const uint32_t receiver = hello->outer.receiver;
  if (receiver != 0 && receiver < c.arena.sizes().sessions) {
    fabric::Session& session = c.arena.sessions()[receiver];
    wire::PathHeader endpoint;
    // The owner alone, since it writes the time; elsewhere, and more often, a rekey queues with all
    // other HELLOs.
    if (session.state.load(std::memory_order_acquire) ==
            uint32_t(fabric::SessionState::kConfirmed) &&
        c.arena.agents()[session.agent].owner.load(std::memory_order_acquire) == c.worker &&
        session.endpoint.read(endpoint) && same_remote(endpoint, s.path) &&
        c.now - session.last_rekey >= c.clock.hz() / 2) {
      session.last_rekey = c.now;
      s.punt = fabric::ParcelKind::kRekey;
      s.session_index = receiver;
    }
  }
  s.next = Next::kPunt;
}

void parse_tunnel(Context& c, Slot& s, const wire::IpView& ip, unsigned& budget) noexcept {
  if (s.size < sizeof(wire::OuterHeader)) return s.die(DropReason::kShort);
  switch (static_cast<wire::Type>(s.outer[0])) {
    case wire::Type::kData:
      if (s.outer[1] != wire::kProtocolVersion) return s.die(DropReason::kBadVersion);
      s.next = Next::kOpen;
      return;
    case wire::Type::kHello:
      return parse_hello(c, s, ip, budget);
    case wire::Type::kWelcome:
    case wire::Type::kRetry:
    case wire::Type::kVersion:
      return s.die(DropReason::kUnexpectedType);
  }
  s.die(DropReason::kBadType);
}

bool to_our_mac(const uint8_t* eth, const wire::Mac& mac) noexcept {
  return std::memcmp(eth, mac.data(), 6) == 0;
}

void parse_one(Context& c, Slot& s, uint8_t port, unsigned& budget) noexcept {
  const PortView& view = c.ports[port];
  if (s.mbuf->nb_segs != 1) return s.die(DropReason::kGsoFrame);
  uint8_t* eth = rte_pktmbuf_mtod(s.mbuf, uint8_t*);
  const size_t length = rte_pktmbuf_data_len(s.mbuf);
  wire::IpView ip;
  const wire::IpVerdict verdict = wire::parse_ip({eth, length}, view.mtu, ip);
  if (const DropReason r = reason_of(verdict); r != DropReason::kNone) return s.die(r);

  const bool multicast = (eth[0] & 1) != 0;
  // Only neighbour discovery is ever sent to a group; the tunnel never is.
  if (!multicast && !to_our_mac(eth, view.mac)) return s.die(DropReason::kNotForUs);
  if (verdict != wire::IpVerdict::kUdp) {
    if (multicast && !(verdict == wire::IpVerdict::kArp || ip.protocol == wire::kProtoIcmp6)) {
      return s.die(DropReason::kNotForUs);
    }
    return respond(c, s, port, ip, verdict);
  }
  const uint8_t* destination = eth + wire::kEthSize + (ip.v6 ? 24 : 16);
  if (multicast || !is_ours(view, destination, ip.v6) ||
      load_be16(eth + ip.l4_offset + 2) != c.options.udp_port) {
    return s.die(DropReason::kNotForUs);
  }
  s.outer = eth + ip.payload_offset;
  s.size = ip.payload_size;
  s.tos = ip.tos;
  s.path = wire::reply_path(eth, ip, port);
  parse_tunnel(c, s, ip, budget);
}

}  // namespace

void parse(Context& c, Burst& b, uint8_t port) noexcept {
  for (Slot& s : b) rte_prefetch0(rte_pktmbuf_mtod(s.mbuf, void*));
  unsigned budget = kHellosPerBurst;
  for (Slot& s : b) parse_one(c, s, port, budget);
}

}  // namespace sluice::dataplane
