#include <smmintrin.h>

#include <rte_mbuf.h>

#include "crypto/hash.h"
#include "dataplane/locate.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;

// mac1 costs about 300 ns: this many a burst keep a flood of HELLOs below 5 µs of a round.
constexpr unsigned kMacsPerBurst = 16;
// Of them, those that are no renewals: on a saturated worker the sessions that are go first.
constexpr unsigned kNewWhenSaturated = 1;
struct MacBudget {
  unsigned left = kMacsPerBurst;
  unsigned unknown = kMacsPerBurst;
};

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
  const wire::PathHeader path = s.path();
  std::memcpy(s.outer, answer.data(), answer.size());
  uint8_t* eth = s.outer - path.size;
  wire::write_headers(eth, path, answer.size(), static_cast<uint8_t>(c.options.dscp << 2));
  if (path.v6() || c.options.ipv4_udp_checksum) {
    wire::finish_udp_checksum(eth, path.v6(), answer.size());
  }
  const uint16_t length = static_cast<uint16_t>(path.size + answer.size());
  s.mbuf->data_len = length;
  s.mbuf->pkt_len = length;
  c.counters.responses.add(1);
  s.next = Next::kTransmit;
}

// Whether the sender knows the relay's tunnel key, or the one before it while that is answered.
DropReason check_mac1(const fabric::RelayRecord& relay, const wire::HelloView& hello, bool renews,
                      MacBudget& budget) noexcept {
  ByteArray<32> key;
  for (const fabric::SharedKey& shared : relay.mac1) {
    if (!shared.get(key)) continue;
    if (budget.left == 0) return DropReason::kHelloBudget;
    --budget.left;
    if (!renews && budget.unknown == 0) return DropReason::kHelloBudget;
    if (!renews) --budget.unknown;
    const auto mac = crypto::blake2b_128(key, {hello.before_mac1()});
    if (crypto::equal_secret(mac, hello.mac1())) return DropReason::kNone;
  }
  return DropReason::kBadMac1;
}

// The session that a HELLO names, if it comes from where that session's agent is. The owner alone
// sees renewals, since it writes their time; elsewhere, and more often, one queues with all other
// HELLOs.
fabric::Session* session_to_renew(const Context& c, const Slot& s, uint32_t receiver) noexcept {
  if (receiver == 0 || receiver >= c.arena.sizes().sessions) return nullptr;
  fabric::Session& session = c.arena.sessions()[receiver];
  wire::PathHeader endpoint;
  const bool renews =
      session.state.load(std::memory_order_acquire) == uint32_t(fabric::SessionState::kConfirmed) &&
      c.arena.agents()[session.agent].owner.load(std::memory_order_acquire) == c.worker &&
      session.read_endpoint(endpoint) && same_remote(endpoint, s.path()) &&
      c.now - session.last_rekey >= c.clock.hz() / 2;
  return renews ? &session : nullptr;
}

void parse_hello(Context& c, Slot& s, MacBudget& budget) noexcept {
  if (s.outer[1] != wire::kProtocolVersion) return answer_version(c, s);
  const auto hello = wire::parse_hello({s.outer, s.size});
  if (!hello) return s.die(DropReason::kMalformed);
  const uint32_t receiver = hello->outer.receiver;
  // Before a session is looked at, which a flood may name at random.
  if (budget.left == 0 || (receiver == 0 && budget.unknown == 0)) {
    return s.die(DropReason::kHelloBudget);
  }
  fabric::Session* renewed = session_to_renew(c, s, receiver);
  const auto why = check_mac1(c.arena.relay(), *hello, renewed != nullptr, budget);
  if (why != DropReason::kNone) return s.die(why);

  switch (wire::check_udp(s.frame(), s.v6, s.size)) {
    case wire::UdpChecksum::kUnfilled:
      c.counters.checksum_unfilled.add(1);
      break;
    case wire::UdpChecksum::kBad:
      c.counters.checksum_bad.add(1);
      break;
    default:
      break;
  }

  s.next = Next::kPuntHello;
  if (renewed == nullptr) return;
  renewed->last_rekey = c.now;
  s.next = Next::kPuntRekey;
  s.session_index = receiver;
}

void parse_tunnel(Context& c, Slot& s, MacBudget& budget) noexcept {
  if (s.size < sizeof(wire::OuterHeader)) return s.die(DropReason::kShort);
  switch (static_cast<wire::Type>(s.outer[0])) {
    case wire::Type::kData:
      if (s.outer[1] != wire::kProtocolVersion) return s.die(DropReason::kBadVersion);
      s.next = Next::kOpen;
      return locate(c.tables, s);
    case wire::Type::kHello:
      return parse_hello(c, s, budget);
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

// The shape of nearly every packet: IPv4 and UDP to the port's first address, without options. All
// that the general path checks, on whole vectors; whatever differs goes the general way, which
// finds the reason.
class Plain {
 public:
  Plain(const PortView& view, uint16_t udp_port) noexcept
      : at_0_(_mm_set_epi64x(int64_t{0x450008} << 32, int64_t(view.mac48))),
        at_16_(_mm_set_epi64x(0, int64_t{wire::kProtoUdp} << 56)),
        at_26_(_mm_set_epi64x(int64_t{__builtin_bswap16(udp_port)} << 16,
                              int64_t(uint64_t{view.first_ip4} << 32))),
        // A port without an IPv4 address has no plain packets: none is as long.
        least_(view.first_ip4 != 0 ? kLeast : uint32_t{1} << 31),
        range_(view.first_ip4 != 0 ? view.mtu - kLeast : 0) {}

  // A buffer has room for the longest headers, however short the packet in it.
  bool operator()(const uint8_t* eth, uint32_t length) const noexcept {
    // MAC, EtherType, version and header length; fragment bits and protocol; address and UDP port.
    const __m128i mask_0 = _mm_set_epi64x(0x00ffffff'00000000, 0x0000ffff'ffffffff);
    const __m128i mask_16 = _mm_set_epi64x(0, int64_t(0xff00ff3f'00000000));
    const __m128i mask_26 = _mm_set_epi64x(0xffff0000, int64_t(0xffffffff'00000000));
    const __m128i differs =
        _mm_or_si128(_mm_or_si128(_mm_and_si128(_mm_xor_si128(load(eth), at_0_), mask_0),
                                  _mm_and_si128(_mm_xor_si128(load(eth + 16), at_16_), mask_16)),
                     _mm_and_si128(_mm_xor_si128(load(eth + 26), at_26_), mask_26));
    if (_mm_testz_si128(differs, differs) == 0) return false;
    const uint8_t* ip = eth + wire::kEthSize;
    const uint32_t total = length - wire::kEthSize;
    if (total - least_ > range_ || load_be16(ip + 2) != total ||
        load_be16(ip + wire::kIp4Size + 4) != total - wire::kIp4Size) {
      return false;
    }
    // 2^16 is 1 modulo 0xffff: the header's one's-complement sum is right if its words, of whatever
    // size and byte order, add up to a multiple.
    const uint64_t sum = uint64_t{load_le<uint32_t>(ip)} + load_le<uint32_t>(ip + 4) +
                         load_le<uint32_t>(ip + 8) + load_le<uint32_t>(ip + 12) +
                         load_le<uint32_t>(ip + 16);
    return sum % 0xffff == 0;
  }

 private:
  static constexpr uint32_t kLeast = wire::kIp4Size + wire::kUdpSize + sizeof(wire::OuterHeader);

  static __m128i load(const uint8_t* p) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }

  __m128i at_0_, at_16_, at_26_;
  uint32_t least_, range_;  // of the IP packet's length
};

// Everything but plain DATA.
void parse_other(Context& c, const PortView& view, Slot& s, MacBudget& budget) noexcept {
  if (s.mbuf->nb_segs != 1) return s.die(DropReason::kGsoFrame);
  const uint8_t port = s.port;
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
  s.v6 = ip.v6;
  parse_tunnel(c, s, budget);
}

}  // namespace

void parse(Context& c, Burst& b, uint8_t port) noexcept {
  const PortView& view = c.ports[port];
  const Plain is_plain(view, c.options.udp_port);
  const Tables t = c.tables;
  constexpr uint16_t kData = uint16_t(wire::Type::kData) | wire::kProtocolVersion << 8;
  MacBudget budget;
  if (c.saturated) budget.unknown = kNewWhenSaturated;
  for (Slot& s : b) {
    const rte_mbuf* m = s.mbuf;
    uint8_t* eth = rte_pktmbuf_mtod(m, uint8_t*);
    if (m->nb_segs != 1 || !is_plain(eth, m->data_len)) {
      parse_other(c, view, s, budget);
      continue;
    }
    uint8_t* outer = eth + wire::kEthSize + wire::kIp4Size + wire::kUdpSize;
    s.outer = outer;
    s.size = static_cast<uint16_t>(m->data_len - (outer - eth));
    s.tos = eth[wire::kEthSize + 1];
    if (load_le<uint16_t>(outer) == kData) {
      s.next = Next::kOpen;
      locate(t, s);
    } else {
      parse_tunnel(c, s, budget);
    }
  }
}

}  // namespace sluice::dataplane
