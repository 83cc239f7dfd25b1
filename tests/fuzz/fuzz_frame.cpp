// Frames from agents, end-to-end messages inside them, and messages on the streams of calls.
#include <algorithm>

#include "fuzz.h"
#include "wire/end_to_end.h"
#include "wire/frame.h"
#include "wire/stream.h"

namespace {

using namespace sluice;
using namespace sluice::wire;

fuzz::Canary ok_seen("a frame that an agent may send");
fuzz::Canary open_seen("a CALL_OPEN");
fuzz::Canary kk1_seen("a KK1");
fuzz::Canary kk2_seen("a KK2");
fuzz::Canary transport_seen("a transport message");
fuzz::Canary begin_seen("a message that begins a stream");
fuzz::Canary credit_seen("a message that gives credit");

void frame(Bytes in) {
  if (in.size() < sizeof(FrameHeader)) return;
  const FrameHeader h = read_frame(in.data());
  uint8_t again[sizeof(FrameHeader)];
  write_frame(again, h);
  SLUICE_REQUIRE(std::memcmp(again, in.data(), sizeof again) == 0);
  SLUICE_REQUIRE(make_label(label_slot(h.label), label_generation(h.label)) == h.label);
  const size_t after = in.size() - sizeof(FrameHeader);
  const auto verdict = check_agent_frame(h, after);
  SLUICE_REQUIRE((verdict == FrameVerdict::kUnknownType) == (h.type >= kFrameTypes));
  if (verdict != FrameVerdict::kOk) return;
  SLUICE_REQUIRE(check_relay_frame(h, after) == FrameVerdict::kOk);
  ok_seen.reached();
  SLUICE_REQUIRE(h.extension_length <= after);
  SLUICE_REQUIRE(h.type != uint8_t(FrameType::kCallDeny) &&
                 h.type != uint8_t(FrameType::kCredential));
  // What the relay alone sets.
  if (h.type != uint8_t(FrameType::kKeepalive)) SLUICE_REQUIRE((h.flags & ~kFlagReply) == 0);
  switch (static_cast<FrameType>(h.type)) {
    case FrameType::kCallOpen:
      open_seen.reached();
      SLUICE_REQUIRE(after == kEnvelopeSize);
      break;
    case FrameType::kCallClose:
      SLUICE_REQUIRE(after == kCallCloseSize);
      break;
    case FrameType::kCallAccept:
      SLUICE_REQUIRE(after == kCallAcceptSize);
      break;
    case FrameType::kControl:
      SLUICE_REQUIRE(after > 0 && after <= kControlMax && h.label == 0);
      break;
    case FrameType::kKeepalive:
      SLUICE_REQUIRE(after == 0 && h.label == 0);
      break;
    case FrameType::kDatagram:
      SLUICE_REQUIRE(h.call_id == 0 && h.extension_length == 0);
      break;
    default:
      break;
  }
}

void stream(Bytes in) {
  const auto m = read_stream(in);
  if (!m) return;
  SLUICE_REQUIRE(fuzz::inside(m->key, in) && fuzz::inside(m->data, in));
  SLUICE_REQUIRE(m->key.size() == (m->begins() && !m->reply() ? kStreamKey : 0));
  SLUICE_REQUIRE(in.size() - m->data.size() <= kStreamOverhead);
  Buffer again;
  write_stream(*m, again);
  SLUICE_REQUIRE(again.size() == in.size() && std::equal(again.begin(), again.end(), in.begin()));
  if (m->begins()) begin_seen.reached();
  if (m->credits()) credit_seen.reached();
}

void end_to_end(Bytes in) {
  const auto h = parse_e2e(in);
  if (!h) return;
  SLUICE_REQUIRE(in.size() >= kE2eOverhead);
  uint8_t again[sizeof(E2eHeader)];
  store_le(again, *h);
  SLUICE_REQUIRE(std::memcmp(again, in.data(), sizeof again) == 0);
  switch (static_cast<E2eType>(h->type)) {
    case E2eType::kKk1:
      kk1_seen.reached();
      SLUICE_REQUIRE(in.size() == kKk1Size);
      break;
    case E2eType::kKk2:
      kk2_seen.reached();
      SLUICE_REQUIRE(in.size() == kKk2Size);
      break;
    case E2eType::kTransport:
      transport_seen.reached();
      break;
  }
  const auto aad = e2e_aad(in.data(), 3, 1, h->counter);
  SLUICE_REQUIRE(std::memcmp(aad.data(), in.data(), 16) == 0 && aad[16] == 3 && aad[17] == 1);
  SLUICE_REQUIRE(load_le<uint64_t>(aad.data() + 18) == h->counter);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const Bytes in(bytes, size);
  frame(in);
  end_to_end(in);
  stream(in);
  if (in.size() > sizeof(FrameHeader)) end_to_end(in.subspan(sizeof(FrameHeader)));
  return 0;
}
