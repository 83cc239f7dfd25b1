#include "pktgen/flooder.h"

#include <rte_mbuf.h>

#include "crypto/cookie.h"
#include "crypto/hash.h"
#include "pktgen/random.h"

namespace sluice::pktgen {
namespace {

constexpr size_t kNoise = 1u << 16;
constexpr size_t kLongest = 1400;
constexpr size_t kHellos = 512;

}  // namespace

Flooder::Flooder(WorkerContext& context, Sender& sender, const Flood& flood, double pps,
                 const Traffic& traffic, const ByteArray<32>& relay_key)
    : c_(context),
      sender_(sender),
      kind_(flood.kind),
      out_(c_.port.id(), c_.port.queues(), c_.capture),
      pps_(pps),
      data_payload_(traffic.payloads[0]),
      seal_(traffic.seal),
      random_(crypto::random_u64()),
      noise_(kNoise + kLongest) {
  out_.set_dry(traffic.dry);
  crypto::random_bytes(noise_);
  if (kind_ == FloodKind::kHello || kind_ == FloodKind::kBadMac) make_hellos(relay_key);
}

Flooder::~Flooder() {
  c_.stats.flood_blocked.add(out_.drop());
}

void Flooder::make_hellos(const ByteArray<32>& relay_key) {
  const auto key = crypto::mac1_key(relay_key);
  for (size_t i = 0; i < kHellos; ++i) {
    Buffer hello(wire::kHelloMin);
    crypto::random_bytes(hello);
    const auto sealed =
        static_cast<uint16_t>(hello.size() - wire::kNoiseOffset - 2 * wire::kMacSize);
    wire::write_outer(hello.data(),
                      {uint8_t(wire::Type::kHello), wire::kProtocolVersion, sealed, 0, 0});
    uint8_t* mac1 = hello.data() + hello.size() - 2 * wire::kMacSize;
    std::memset(mac1 + wire::kMacSize, 0, wire::kMacSize);
    if (kind_ == FloodKind::kHello) {
      const auto mac =
          crypto::blake2b_128(key, {Bytes(hello).first(hello.size() - 2 * wire::kMacSize)});
      std::memcpy(mac1, mac.data(), mac.size());
    }
    hellos_.push_back(std::move(hello));
  }
}

Bytes Flooder::noise(size_t size) noexcept {
  return {noise_.data() + next_random(random_) % kNoise, size};
}

// Another address than any agent's, and any port.
void Flooder::spoof_source(uint8_t* at) noexcept {
  const uint64_t r = next_random(random_);
  const uint32_t beyond = c_.addresses.count + 1 + static_cast<uint32_t>(r % 200);
  const auto source = address_after(c_.addresses.first, beyond);
  uint8_t* ip = at + wire::kEthSize;
  if (c_.options.v6) {
    std::memcpy(ip + 8, source.data(), 16);
    store_be16(ip + wire::kIp6Size, static_cast<uint16_t>(1024 + (r >> 32) % 60'000));
    return;
  }
  std::memcpy(ip + 12, source.data() + 12, 4);
  store_be16(ip + wire::kIp4Size, static_cast<uint16_t>(1024 + (r >> 32) % 60'000));
  store_le<uint16_t>(ip + 10, 0);
  store_le(ip + 10, wire::checksum_fold(wire::checksum_add({ip, wire::kIp4Size}, 0)));
}

uint16_t Flooder::write_data(const Flow& f, uint32_t receiver, uint8_t* at) noexcept {
  const auto size = static_cast<uint16_t>(kTunnelSize + data_payload_);
  write_headers(f, at, size);
  uint8_t* outer = at + f.header_size;
  const auto region = static_cast<uint16_t>(seal_ == wire::Seal::kFull ? 16 + data_payload_ : 16);
  const uint64_t fresh = f.sequence + 1 + next_random(random_) % 256;
  wire::write_outer(outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion, region, receiver,
                            wire::make_counter(0, fresh)});
  const Bytes rest = noise(size - sizeof(wire::OuterHeader));
  std::memcpy(outer + sizeof(wire::OuterHeader), rest.data(), rest.size());
  return static_cast<uint16_t>(f.header_size + size);
}

uint16_t Flooder::write(uint8_t* at, uint16_t& queue) noexcept {
  const uint64_t r = next_random(random_);
  const Flow& f = c_.flows.flows[r % c_.flows.flows.size()];
  queue = f.queue;
  uint16_t size = 0;
  switch (kind_) {
    case FloodKind::kRandom: {
      const Bytes bytes = noise(1 + (r >> 32) % kLongest);
      write_headers(f, at, static_cast<uint16_t>(bytes.size()));
      std::memcpy(at + f.header_size, bytes.data(), bytes.size());
      size = static_cast<uint16_t>(f.header_size + bytes.size());
      break;
    }
    case FloodKind::kForged:
    case FloodKind::kForgedAway:
      size = write_data(f, f.relay_index, at);
      if (kind_ == FloodKind::kForgedAway) spoof_source(at);
      break;
    case FloodKind::kUnknown:
      size = write_data(f, static_cast<uint32_t>(r >> 32) | 0x8000'0000u, at);
      break;
    case FloodKind::kReplay: {
      const auto* p = sender_.replay_store() ? sender_.replay_store()->pick(r) : nullptr;
      if (p == nullptr) return 0;
      std::memcpy(at, p->bytes, p->size);
      queue = p->queue;
      return p->size;
    }
    case FloodKind::kHello:
    case FloodKind::kBadMac: {
      const Buffer& hello = hellos_[(r >> 32) % kHellos];
      write_headers(f, at, static_cast<uint16_t>(hello.size()));
      std::memcpy(at + f.header_size, hello.data(), hello.size());
      spoof_source(at);
      size = static_cast<uint16_t>(f.header_size + hello.size());
      break;
    }
  }
  if (c_.options.v6) {
    wire::finish_udp_checksum(at, true, static_cast<uint16_t>(size - f.header_size));
  }
  return size;
}

void Flooder::poll(uint64_t now) noexcept {
  if (!begun_) {
    pacer_.begin(pps_, c_.clock.hz(), now);
    begun_ = true;
  }
  if (!out_.empty()) c_.stats.floods[size_t(kind_)].add(out_.flush());
  uint64_t given_up = 0;
  const unsigned n = pacer_.due(now, kBurst, given_up);
  c_.stats.flood_blocked.add(given_up);
  rte_mbuf* packets[kBurst];
  if (!out_.empty() || n == 0 || rte_pktmbuf_alloc_bulk(c_.pool, packets, n) != 0) return;
  for (unsigned i = 0; i < n; ++i) {
    uint16_t queue = 0;
    rte_mbuf* m = packets[i];
    m->data_len = write(rte_pktmbuf_mtod(m, uint8_t*), queue);
    m->pkt_len = m->data_len;
    if (m->data_len == 0) {
      rte_pktmbuf_free(m);
    } else {
      out_.add(queue, m);
    }
  }
  pacer_.sent(n);
  c_.stats.floods[size_t(kind_)].add(out_.flush());
}

}  // namespace sluice::pktgen
