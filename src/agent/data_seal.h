// The AEAD operation of a DATA packet (docs/protocol.md §3), for whoever seals or opens one packet
// at a time. The packet's form was checked. No state, any thread.
#pragma once

#include "crypto/aead.h"
#include "wire/tunnel.h"

namespace sluice::agent {

// The header seal's additional data: outer header | last 16 bytes of the packet | its size.
using HeaderSealAad = ByteArray<34>;

// `packet`, `key` and `aad`, which is filled where the seal needs it, outlive the operation.
inline crypto::AeadOp data_operation(MutBytes packet, wire::Seal seal, const crypto::GcmKey& key,
                                     const ByteArray<4>& salt, HeaderSealAad& aad) {
  crypto::AeadOp op{};
  op.key = &key;
  op.aad = packet.data();
  op.aad_size = sizeof(wire::OuterHeader);
  op.tag = packet.data() + sizeof(wire::OuterHeader);
  op.text = packet.data() + wire::kDataRegion;
  op.text_size = wire::read_outer(packet.data()).sealed_length;
  std::memcpy(op.nonce, salt.data(), 4);
  std::memcpy(op.nonce + 4, packet.data() + 8, 8);
  if (seal == wire::Seal::kHeader) {
    std::memcpy(aad.data(), packet.data(), 16);
    std::memcpy(aad.data() + 16, packet.data() + packet.size() - 16, 16);
    store_le(aad.data() + 32, static_cast<uint16_t>(packet.size()));
    op.aad = aad.data();
    op.aad_size = aad.size();
  }
  return op;
}

}  // namespace sluice::agent
