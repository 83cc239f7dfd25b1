// DATA of one flow, written into a packet buffer: headers, frame, stamp. What is sealed later in a
// burst is described by the operation.
#pragma once

#include "pktgen/flow.h"
#include "pktgen/stamp.h"

namespace sluice::pktgen {

using HeaderAad = ByteArray<34>;

// Which packet this is, for the stamp; the flow's own counters move on.
struct DataShape {
  uint16_t payload = 0;
  wire::Seal seal = wire::Seal::kFull;
  uint64_t burst = 0;
};

// `at` has room for the whole frame; returns its size. `aad` outlives the operation.
inline uint16_t write_data(FlowTable& table, uint32_t local, const DataShape& shape, uint8_t* at,
                           crypto::AeadOp& op, HeaderAad& aad) noexcept {
  Flow& f = table.flows[local];
  const auto udp_payload = static_cast<uint16_t>(kTunnelSize + shape.payload);
  write_headers(f, at, udp_payload);
  uint8_t* outer = at + f.header_size;
  const bool full = shape.seal == wire::Seal::kFull;
  const auto region = static_cast<uint16_t>(full ? 16 + shape.payload : 16);
  wire::write_outer(outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion, region,
                            f.relay_index, wire::make_counter(0, f.sequence++)});
  uint8_t* frame = outer + wire::kDataRegion;
  wire::write_frame(frame, {uint8_t(wire::FrameType::kDatagram), 0, 0, f.label, 0});
  const uint64_t number = f.sent++;
  if (has_stamp(shape.payload)) {
    store_le(frame + 16, Stamp{kMagic, f.agent, number, shape.burst});
  }
  uint8_t* end = frame + 16 + shape.payload;
  if (has_trailer(shape.payload)) write_trailer(end, f.agent, number);
  op.key = &table.keys[local];
  op.text = frame;
  op.text_size = region;
  op.tag = outer + sizeof(wire::OuterHeader);
  std::memcpy(op.nonce, f.salt, 4);
  std::memcpy(op.nonce + 4, outer + 8, 8);
  if (full) {
    op.aad = outer;
    op.aad_size = sizeof(wire::OuterHeader);
  } else {
    std::memcpy(aad.data(), outer, 16);
    std::memcpy(aad.data() + 16, end - 16, 16);
    store_le(aad.data() + 32, udp_payload);
    op.aad = aad.data();
    op.aad_size = static_cast<uint16_t>(aad.size());
  }
  return static_cast<uint16_t>(f.header_size + udp_payload);
}

inline void prefetch_flow(const FlowTable& table, uint32_t local) noexcept {
  const auto* flow = reinterpret_cast<const uint8_t*>(&table.flows[local]);
  __builtin_prefetch(flow, 1);
  __builtin_prefetch(flow + 64, 1);
  // Round keys, and the hash-key powers that short messages read.
  const auto* key = table.keys[local].opaque;
  for (size_t line : {0, 1, 2, 3, 13, 14, 15}) __builtin_prefetch(key + line * 64, 0, 2);
}

}  // namespace sluice::pktgen
