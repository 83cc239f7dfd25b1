#include "dataplane/credentials.h"

#include <algorithm>

#include <rte_mbuf.h>

#include "crypto/secret.h"
#include "dataplane/call_steps.h"
#include "fabric/buffer.h"

namespace sluice::dataplane {
namespace {

using fabric::CredentialSlot;
using fabric::DropReason;
using wire::CredentialHead;

constexpr size_t kBeforePart = wire::kDataMin + sizeof(CredentialHead);

void write_part(const Slot& open, const wire::FrameHeader& f, const fabric::Edge& edge,
                const CredentialSlot& from, unsigned index, Slot& out) noexcept {
  const size_t at = index * wire::kCredentialPart;
  const size_t size = std::min<size_t>(from.size - at, wire::kCredentialPart);
  uint8_t* region = out.outer + wire::kDataRegion;
  // With the receiver's label already: it counts as no packet of the edge.
  wire::write_frame(region, {uint8_t(wire::FrameType::kCredential), 0,
                             static_cast<uint16_t>(sizeof(CredentialHead) + size),
                             edge.opposite_label, f.call_id});
  const auto count = static_cast<uint8_t>(open.credential.frames);
  store_le(region + sizeof f,
           CredentialHead{from.version, static_cast<uint8_t>(index), count, from.kind, 0});
  std::memcpy(region + sizeof f + sizeof(CredentialHead), from.bytes + at, size);
  out.size = static_cast<uint16_t>(kBeforePart + size);
  out.out = open.out;
  out.out_index = open.out_index;
  out.next = Next::kForward;
}

}  // namespace

uint32_t bytes_before(const Context& c, const fabric::Edge& edge, uint8_t protocol) noexcept {
  const uint32_t index = credential_of(c.tables, edge, protocol);
  if (!is_slot(index)) return 0;
  const size_t size = c.tables.credential_slots[index].size;
  return static_cast<uint32_t>(size + wire::credential_parts(size) * kBeforePart);
}

Slot::Credential room_needed(const Context& c, const WaitingFrame& w) noexcept {
  const Tables& t = c.tables;
  constexpr Slot::Credential kNothing{fabric::kNoCredential, 0};
  if (t.credentials == nullptr ||
      w.slot.outer[wire::kDataRegion] != uint8_t(wire::FrameType::kCallOpen)) {
    return kNothing;
  }
  // Whatever the edge's slot is by now, it is looked at again before anything is forwarded.
  const uint8_t protocol = w.slot.outer[wire::kDataRegion + sizeof(wire::FrameHeader) +
                                        offsetof(wire::Envelope, protocol)];
  const uint32_t index = credential_of(t, t.edges[w.slot.edge], protocol);
  if (!is_slot(index)) return kNothing;
  return {index, wire::credential_parts(t.credential_slots[index].size)};
}

bool keep_room(Context& c, Burst& b, unsigned frames) noexcept {
  const unsigned before = b.count;
  for (unsigned i = 0; i < frames; ++i) {
    rte_mbuf* m = fabric::take_buffer(c.pool);
    if (m == nullptr) {
      while (b.count != before) fabric::drop_buffer(b.slots[--b.count].mbuf);
      return false;
    }
    Slot& s = b.add(m);
    s.outer = static_cast<uint8_t*>(m->buf_addr) + m->data_off;
    s.next = Next::kCredential;
  }
  return true;
}

bool add_credential(Context& c, Slot& s, const wire::FrameHeader& f, uint8_t protocol) noexcept {
  const Tables& t = c.tables;
  const fabric::Edge& edge = t.edges[s.edge];
  const uint32_t index = credential_of(t, edge, protocol);
  if (index == fabric::kNoCredential) return true;
  // Taken away, or set anew, since room was kept in this very round.
  if (s.verdict != Verdict::kGood || index != s.credential.slot || s.credential.frames == 0) {
    s.die(DropReason::kCredentialRoom);
    return false;
  }
  for (unsigned i = 0; i < s.credential.frames; ++i) {
    write_part(s, f, edge, t.credential_slots[index], i, *(&s - s.credential.frames + i));
  }
  c.counters.credentials.add(s.credential.frames);
  s.outer[wire::kDataRegion + offsetof(wire::FrameHeader, flags)] |= wire::kFlagCredentialed;
  return true;
}

void wipe_unsealed(const Slot& s) noexcept {
  if (s.session == nullptr && s.next == Next::kForward) crypto::wipe(s.outer, s.size);
}

}  // namespace sluice::dataplane
