#include "audit/record.h"

#include <algorithm>
#include <charconv>

#include "crypto/hash.h"

namespace sluice::audit {
namespace {

constexpr size_t kBody = 32;

uint8_t change_number(std::string_view kind) {
#define X(number, name) \
  if (kind == (name)) return number;
  SLUICE_AUDIT_CHANGES(X)
#undef X
  return 0;
}

// At most 32 bytes, zero-padded.
void put(Record& r, size_t at, Bytes bytes) {
  if (bytes.empty()) return;
  std::memcpy(r.data() + at, bytes.data(), std::min<size_t>(bytes.size(), 32));
}

}  // namespace

uint8_t handshake_number(std::string_view outcome) noexcept {
#define X(number, name) \
  if (outcome == (name)) return number;
  SLUICE_AUDIT_HANDSHAKES(X)
#undef X
  return 0;
}

Record make_record(const Header& h) noexcept {
  Record r{};
  r[0] = kLayout;
  r[1] = static_cast<uint8_t>(h.kind);
  r[2] = h.detail;
  r[3] = h.detail2;
  store_le(r.data() + 4, h.source);
  store_le(r.data() + 8, h.time_ms);
  store_le(r.data() + 16, h.subject.to_u64());
  store_le(r.data() + 24, h.object.to_u64());
  return r;
}

Header header_of(const Record& r) noexcept {
  return {static_cast<Kind>(r[1]),
          r[2],
          r[3],
          load_le<uint16_t>(r.data() + 4),
          load_le<uint64_t>(r.data() + 8),
          VirtualAddress::from_u64(load_le<uint64_t>(r.data() + 16)),
          VirtualAddress::from_u64(load_le<uint64_t>(r.data() + 24))};
}

ActorNumber number_of(std::string_view actor) noexcept {
  const auto starts = [&](std::string_view with) { return actor.starts_with(with); };
  if (actor == "config") return {Actor::kConfig, 0};
  if (actor == "relay") return {Actor::kRelay, 0};
  if (starts("uid ")) {
    uint64_t uid = 0;
    std::from_chars(actor.data() + 4, actor.data() + actor.size(), uid);
    return {Actor::kUid, uid};
  }
  const auto digest = crypto::sha256({as_bytes(actor)});
  const Actor who = starts("did:")           ? Actor::kAgent
                    : starts("certificate ") ? Actor::kCertificate
                                             : Actor::kRelay;
  return {who, load_le<uint64_t>(digest.data())};
}

ByteArray<16> digest_of(const Change& c) noexcept {
  ByteArray<16> numbers;
  store_le(numbers.data(), c.sequence);
  store_le(numbers.data() + 8, c.at_ms);
  // Lengths first, so that no two entries are the same bytes.
  ByteArray<8> sizes;
  const size_t parts[] = {c.actor.size(), c.kind.size(), c.subject.size(), c.object.size()};
  for (size_t i = 0; i < 4; ++i) store_le(sizes.data() + 2 * i, static_cast<uint16_t>(parts[i]));
  const auto h =
      crypto::sha256({numbers, sizes, as_bytes(c.actor), as_bytes(c.kind), c.subject, c.object});
  return take<16>(h.data());
}

Record record_of(const Change& c) noexcept {
  const ActorNumber actor = number_of(c.actor);
  Record r = make_record({Kind::kChange, change_number(c.kind), static_cast<uint8_t>(actor.actor),
                          kControl, c.at_ms, c.subject_address, c.object_address});
  put(r, kBody, c.subject);
  put(r, kBody + 32, c.object);
  store_le(r.data() + 96, c.sequence);
  store_le(r.data() + 104, actor.value);
  const auto digest = digest_of(c);
  std::memcpy(r.data() + 112, digest.data(), digest.size());
  return r;
}

uint64_t sequence_of(const Record& r) noexcept {
  return load_le<uint64_t>(r.data() + 96);
}

ByteArray<16> digest_of(const Record& r) noexcept {
  return take<16>(r.data() + 112);
}

Record opened_record(uint64_t time_ms, const ByteArray<32>& relay, uint64_t epoch) noexcept {
  Record r = make_record({.kind = Kind::kOpened, .time_ms = time_ms});
  put(r, kBody, relay);
  store_le(r.data() + 64, epoch);
  return r;
}

Record gap_record(Gap gap, uint64_t time_ms, uint64_t since_ms, uint64_t count) noexcept {
  Record r =
      make_record({.kind = Kind::kGap, .detail = static_cast<uint8_t>(gap), .time_ms = time_ms});
  store_le(r.data() + kBody, since_ms);
  store_le(r.data() + kBody + 8, count);
  return r;
}

Record record_of(const Pruning& p) noexcept {
  Record r = make_record(
      {.kind = Kind::kPruned, .detail = static_cast<uint8_t>(p.why), .time_ms = p.time_ms});
  const uint64_t numbers[] = {p.from, p.to, p.limit};
  for (size_t i = 0; i < 3; ++i) store_le(r.data() + kBody + 8 * i, numbers[i]);
  return r;
}

Pruning pruning_of(const Record& r) noexcept {
  const auto number = [&](size_t i) { return load_le<uint64_t>(r.data() + kBody + 8 * i); };
  return {static_cast<Prune>(r[2]), header_of(r).time_ms, number(0), number(1), number(2)};
}

Record record_of(const Session& s) noexcept {
  Record r = make_record({.kind = Kind::kSession,
                          .detail = static_cast<uint8_t>(s.renewed ? 1 : 0),
                          .detail2 = s.nic_port,
                          .time_ms = s.time_ms,
                          .subject = s.agent});
  put(r, kBody, s.identity);
  std::memcpy(r.data() + 64, s.remote_ip.data(), s.remote_ip.size());
  store_le(r.data() + 80, s.remote_port);
  return r;
}

Record handshakes_record(uint8_t outcome, uint64_t time_ms, uint64_t count,
                         uint64_t since_ms) noexcept {
  Record r = make_record({.kind = Kind::kHandshakes, .detail = outcome, .time_ms = time_ms});
  store_le(r.data() + kBody, since_ms);
  store_le(r.data() + kBody + 8, count);
  return r;
}

Record act_record(Act act, uint64_t time_ms, std::string_view actor) noexcept {
  const ActorNumber who = number_of(actor);
  Record r = make_record({.kind = Kind::kAct,
                          .detail = static_cast<uint8_t>(act),
                          .detail2 = static_cast<uint8_t>(who.actor),
                          .time_ms = time_ms});
  store_le(r.data() + kBody, who.value);
  return r;
}

Record approval_record(bool approved, uint64_t time_ms, std::string_view actor,
                       VirtualAddress caller, VirtualAddress callee, const ByteArray<16>& trace,
                       uint64_t counter) noexcept {
  const ActorNumber who = number_of(actor);
  Record r = make_record({.kind = Kind::kAct,
                          .detail = static_cast<uint8_t>(approved ? Act::kApprove : Act::kDeny),
                          .detail2 = static_cast<uint8_t>(who.actor),
                          .time_ms = time_ms,
                          .subject = caller,
                          .object = callee});
  store_le(r.data() + kBody, who.value);
  std::memcpy(r.data() + 40, trace.data(), trace.size());
  store_le(r.data() + 56, counter);
  return r;
}

Record record_of(const CallDecision& c) noexcept {
  Record r = make_record({.kind = Kind::kCall,
                          .detail = c.reason,
                          .detail2 = c.capability,
                          .source = c.source,
                          .time_ms = c.time_ms,
                          .subject = VirtualAddress::from_u64(c.caller),
                          .object = VirtualAddress::from_u64(c.callee)});
  std::memcpy(r.data() + kBody, c.trace.data(), 16);
  store_le(r.data() + 48, c.counter);
  store_le(r.data() + 56, c.issued_ms);
  r[64] = c.protocol;
  r[65] = c.scope_count;
  store_le(r.data() + 66, c.service);
  store_le(r.data() + 72, c.grant);
  std::memcpy(r.data() + 80, c.commitment.data(), 16);
  std::memcpy(r.data() + 96, c.scopes.data(), 32);
  return r;
}

Record record_of(const CallClosed& c) noexcept {
  Record r = make_record({.kind = Kind::kCallClosed,
                          .detail = c.why,
                          .source = c.source,
                          .time_ms = c.time_ms,
                          .subject = VirtualAddress::from_u64(c.caller),
                          .object = VirtualAddress::from_u64(c.callee)});
  std::memcpy(r.data() + kBody, c.trace.data(), 16);
  const uint64_t numbers[] = {c.counter, c.duration_ms,  c.packets,
                              c.bytes,   c.packets_back, c.bytes_back};
  for (size_t i = 0; i < 6; ++i) store_le(r.data() + 48 + 8 * i, numbers[i]);
  store_le(r.data() + 96, c.answered);
  store_le(r.data() + 100, c.status);
  store_le(r.data() + 102, c.status_back);
  return r;
}

Record record_of(const Proof& p) noexcept {
  const ActorNumber who = number_of(p.actor);
  Record r = make_record({.kind = Kind::kProof,
                          .detail = p.state,
                          .detail2 = static_cast<uint8_t>(who.actor),
                          .time_ms = p.time_ms,
                          .subject = p.agent});
  const uint64_t numbers[] = {who.value, p.agents, p.pairs, p.cut_us, p.sync_us, p.ack_us};
  for (size_t i = 0; i < 6; ++i) store_le(r.data() + kBody + 8 * i, numbers[i]);
  return r;
}

}  // namespace sluice::audit
