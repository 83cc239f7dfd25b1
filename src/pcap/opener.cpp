#include "pcap/opener.h"

#include <algorithm>

#include "agent/data_seal.h"
#include "pcap/opened.h"
#include "wire/credential.h"
#include "wire/frame.h"

namespace sluice::capture {
namespace {

using crypto::KeyLogDirection;
using wire::FrameType;

// An expanded key of its own for each try: no more of them in memory than the one.
class ExpandedKey {
 public:
  explicit ExpandedKey(const crypto::Key256& key) { crypto::aead().expand(key.data(), key_); }
  ~ExpandedKey() { crypto::wipe(&key_, sizeof key_); }
  ExpandedKey(const ExpandedKey&) = delete;
  ExpandedKey& operator=(const ExpandedKey&) = delete;
  const crypto::GcmKey& get() const { return key_; }

 private:
  crypto::GcmKey key_;
};

bool is_data(Bytes p) {
  return p.size() >= wire::kDataMin && p[1] == wire::kProtocolVersion &&
         wire::seal_of(wire::read_outer(p.data()).sealed_length, p.size()) !=
             wire::Seal::kMalformed;
}

}  // namespace

Opening Opener::open_data(MutBytes payload) {
  const auto outer = wire::read_outer(payload.data());
  const auto seal = wire::seal_of(outer.sealed_length, payload.size());
  const auto& candidates = keys_.find(crypto::KeyLogKind::kTunnel, outer.receiver);
  for (const KeyLogDirection* d : candidates) {
    scratch_.assign(payload.begin(), payload.end());
    const ExpandedKey key(d->key);
    agent::HeaderSealAad aad;
    crypto::AeadOp op = agent::data_operation(scratch_, seal, key.get(), d->salt, aad);
    if (crypto::aead().open({&op, 1}) == 0) continue;
    std::copy(scratch_.begin(), scratch_.end(), payload.begin());
    payload[0] = kOpenedData;
    return Opening::kDone;
  }
  return candidates.empty() ? Opening::kUnknown : Opening::kRefusedTag;
}

Opening Opener::open_message(MutBytes payload) {
  const auto frame = wire::read_frame(payload.data() + wire::kDataRegion);
  const MutBytes message = payload.subspan(wire::kDataMin);
  const auto header = wire::parse_e2e(message);
  if (!header || header->type != uint8_t(wire::E2eType::kTransport)) return Opening::kNone;
  const auto aad = wire::e2e_aad(message.data(), frame.type, frame.flags, frame.call_id);
  const MutBytes sealed = message.subspan(sizeof *header);
  const auto& candidates = keys_.find(crypto::KeyLogKind::kEndToEnd, header->key_id);
  for (const KeyLogDirection* d : candidates) {
    const ExpandedKey key(d->key);
    ByteArray<crypto::kNonceSize> nonce;
    std::copy(d->salt.begin(), d->salt.end(), nonce.begin());
    std::memcpy(nonce.data() + 4, &header->counter, 8);
    scratch_.resize(sealed.size());
    if (!crypto::aead().open_appended(key.get(), nonce.data(), aad, sealed, scratch_.data())) {
      continue;
    }
    std::copy_n(scratch_.begin(), sealed.size() - wire::kE2eTag, sealed.begin());
    message[0] = kOpenedTransport;
    return Opening::kDone;
  }
  return candidates.empty() ? Opening::kUnknown : Opening::kRefusedTag;
}

OpeningResult Opener::open(MutBytes payload) {
  OpeningResult out;
  if (!is_data(payload)) return out;
  if (payload[0] == uint8_t(wire::Type::kData)) out.tunnel = open_data(payload);
  if (payload[0] != kOpenedData) return out;
  switch (static_cast<FrameType>(payload[wire::kDataRegion])) {
    case FrameType::kDatagram:
    case FrameType::kCallData:
      out.message = open_message(payload);
      return out;
    case FrameType::kCredential: {
      // A capture gets around more than it should, and nobody debugs a tunnel by it.
      constexpr size_t head = wire::kDataMin + sizeof(wire::CredentialHead);
      if (payload.size() <= head) return out;
      crypto::wipe(payload.data() + head, payload.size() - head);
      crypto::wipe(scratch_.data(), scratch_.size());
      out.credential = true;
      return out;
    }
    default:
      return out;
  }
}

}  // namespace sluice::capture
