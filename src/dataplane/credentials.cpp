#include "dataplane/credentials.h"

#include <algorithm>

#include <rte_mbuf.h>

#include "base/prefetch.h"
#include "crypto/secret.h"
#include "dataplane/call_steps.h"
#include "fabric/buffer.h"

namespace sluice::dataplane {
namespace {

using fabric::CredentialSlot;
using fabric::DropReason;
using wire::CredentialHead;

constexpr size_t kFetchedAhead = 512;
constexpr size_t kBeforePart = wire::kDataMin + sizeof(CredentialHead);

uint8_t protocol_of(const Slot& s) noexcept {
  return s
      .outer[wire::kDataRegion + sizeof(wire::FrameHeader) + offsetof(wire::Envelope, protocol)];
}

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

uint32_t bytes_before(const Context& c, uint32_t credential) noexcept {
  if (!is_slot(credential)) return 0;
  const size_t size = c.tables.credential_slots[credential].size;
  return static_cast<uint32_t>(size + wire::credential_parts(size) * kBeforePart);
}

void prefetch_credential(const Context& c, const Slot& s) noexcept {
  const uint32_t index = credential_of(c.tables, c.tables.edges[s.edge], protocol_of(s));
  if (is_slot(index)) prefetch(&c.tables.credential_slots[index]);
}

Slot::Credential room_needed(const Context& c, const WaitingFrame& w) noexcept {
  const Tables& t = c.tables;
  constexpr Slot::Credential kNothing{fabric::kNoCredential, 0};
  if (w.slot.outer[wire::kDataRegion] != uint8_t(wire::FrameType::kCallOpen)) return kNothing;
  // Whatever the edge's slot is by now, it is looked at again before anything is forwarded.
  const uint32_t index = credential_of(t, t.edges[w.slot.edge], protocol_of(w.slot));
  if (!is_slot(index)) return kNothing;
  // Copied when its call has been decided, which takes a signature.
  const CredentialSlot& slot = t.credential_slots[index];
  for (size_t at = 0; at < slot.size && at < kFetchedAhead; at += 64) prefetch(slot.bytes + at);
  return {index, wire::credential_parts(slot.size)};
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
  // What was set anew since room was kept, in this very round, has not been said to be gone:
  // control waits for the round's end. What was taken away is gone.
  if (!is_slot(index) || s.verdict != Verdict::kGood || s.credential.frames == 0 ||
      !within_window(t.credential_slots[s.credential.slot], c.now)) {
    s.die(DropReason::kCredentialRoom);
    return false;
  }
  const CredentialSlot& from = t.credential_slots[s.credential.slot];
  for (unsigned i = 0; i < s.credential.frames; ++i) {
    write_part(s, f, edge, from, i, *(&s - s.credential.frames + i));
  }
  c.counters.credentials.add(s.credential.frames);
  mark_credentialed(s);
  return true;
}

void wipe_unsealed(const Slot& s) noexcept {
  if (s.session == nullptr && s.next == Next::kForward) crypto::wipe(s.outer, s.size);
}

}  // namespace sluice::dataplane
