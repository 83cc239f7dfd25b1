// The tables that both planes share, as records of fixed size without pointers (architecture.md,
// State). Each field names its one writer. Readers elsewhere use the atomics as they are typed;
// everything that is not atomic is written before a record is published and after it is reclaimed.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "crypto/aead.h"
#include "fabric/counters.h"
#include "fabric/rate.h"
#include "fabric/replay_window.h"
#include "wire/ip.h"

namespace sluice::fabric {

inline constexpr uint32_t kNone = 0xffffffff;

// Where a session's packets go: prebuilt headers behind a sequence lock, written by the agent's
// owner worker (by control before the session is published), read by every sealing worker. One
// line; its sequence stands in the session's line 0, which a sealing worker has loaded anyway.
class alignas(64) Endpoint {
 public:
  void write(const wire::PathHeader& path, std::atomic<uint32_t>& sequence) noexcept {
    uint64_t words[8];
    std::memcpy(words, &path, sizeof words);
    const uint32_t s = sequence.load(std::memory_order_relaxed);
    sequence.store(s + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    for (int i = 0; i < 8; ++i) words_[i].store(words[i], std::memory_order_relaxed);
    sequence.store(s + 2, std::memory_order_release);
  }

  // Bounded: a writer is never preempted inside on a worker, and readers give up after some tries.
  bool read(wire::PathHeader& out, const std::atomic<uint32_t>& sequence) const noexcept {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      uint64_t words[8];
      const uint32_t before = sequence.load(std::memory_order_acquire);
      for (int i = 0; i < 8; ++i) words[i] = words_[i].load(std::memory_order_relaxed);
      if (unchanged(before, sequence)) {
        std::memcpy(static_cast<void*>(&out), words, sizeof words);
        return true;
      }
    }
    return false;
  }

  // Headers for `payload_size` bytes of UDP payload, straight into the room before `end`; what a
  // writer spoils is simply written again. Returns the path's last word (size and port in its top
  // bytes), 0 if no attempt succeeded.
  uint64_t write_headers_before(uint8_t* end, uint16_t payload_size, uint8_t tos,
                                const std::atomic<uint32_t>& sequence) const noexcept {
    const uint32_t before = sequence.load(std::memory_order_acquire);
    const uint64_t last = write_once(end, payload_size, tos);
    if (unchanged(before, sequence)) [[likely]] {
      return last;
    }
    return write_again(end, payload_size, tos, sequence);
  }

 private:
  [[gnu::always_inline]] uint64_t write_once(uint8_t* end, uint16_t payload_size,
                                             uint8_t tos) const noexcept {
    const auto word = [this](int i) { return words_[i].load(std::memory_order_relaxed); };
    return wire::write_headers_before(end, word, payload_size, tos);
  }
  [[gnu::noinline, gnu::cold]] uint64_t write_again(
      uint8_t* end, uint16_t payload_size, uint8_t tos,
      const std::atomic<uint32_t>& sequence) const noexcept {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const uint32_t before = sequence.load(std::memory_order_acquire);
      const uint64_t last = write_once(end, payload_size, tos);
      if (unchanged(before, sequence)) return last;
    }
    return 0;
  }

  static constexpr int kAttempts = 64;
  static bool unchanged(uint32_t before, const std::atomic<uint32_t>& sequence) noexcept {
    std::atomic_thread_fence(std::memory_order_acquire);
    return (before & 1) == 0 && sequence.load(std::memory_order_relaxed) == before;
  }

  std::atomic<uint64_t> words_[8] = {};
};
static_assert(sizeof(Endpoint) == 64);

enum class SessionState : uint32_t { kFree = 0, kUnconfirmed = 1, kConfirmed = 2 };

struct Session {
  // Line 0. Control writes; published by the store of `state`. The last three fields belong to the
  // endpoint and so to the agent's owner worker; they stand here because every packet needs them.
  std::atomic<uint32_t> state{0};  // SessionState
  uint32_t agent = kNone;          // index into agents
  uint32_t peer_index = 0;         // receiver index at the agent, goes into departing headers
  uint8_t salt_in[4] = {};         // agent to relay
  uint8_t salt_out[4] = {};
  uint32_t generation = 0;  // counts the slot's tenants
  uint64_t expires = 0;     // ticks: neither side sends or is heard from then on
  uint8_t lanes_in = 0;     // lanes that the agent may send in
  uint8_t reserved0[3] = {};
  std::atomic<uint32_t> endpoint_sequence{0};
  std::atomic<uint64_t> source_addresses{0};  // wire::SourceTag of the endpoint
  std::atomic<uint64_t> source_mac_port{0};
  std::atomic<uint64_t> source_nic{0};

  // Line 1. The agent's owner worker.
  uint64_t last_ping = 0;  // ticks of the last ping answered
  uint64_t last_challenge = 0;
  uint32_t reported_generation = 0;  // confirmation reported to control
  uint32_t control_frames = 0;       // in the current window of control_since
  uint64_t control_since = 0;        // ticks
  uint64_t last_rekey = 0;           // ticks of the last HELLO given to the rekey ring
  uint8_t reserved1[24] = {};

  Endpoint endpoint;  // line 2
  uint8_t reserved2[64] = {};

  crypto::GcmKey key_in;  // 16 lines each; control
  crypto::GcmKey key_out;

  bool read_endpoint(wire::PathHeader& out) const noexcept {
    return endpoint.read(out, endpoint_sequence);
  }
  void set_endpoint(const wire::PathHeader& path) noexcept {
    endpoint.write(path, endpoint_sequence);
    const wire::SourceTag tag = wire::source_of(path);
    source_addresses.store(tag.addresses, std::memory_order_relaxed);
    source_mac_port.store(tag.mac_port, std::memory_order_relaxed);
    source_nic.store(tag.nic, std::memory_order_relaxed);
  }
};
static_assert(sizeof(Session) == 64 + 64 + 128 + 2048);
static_assert(alignof(Session) == 64 && offsetof(Session, last_ping) == 64 &&
              offsetof(Session, endpoint) == 128);

// Bytes that control may replace while workers read them; what is read half old and half new fits
// nothing.
template <size_t kWords>
class SharedWords {
 public:
  void set(const ByteArray<8 * kWords>& bytes) noexcept {
    for (size_t i = 0; i < kWords; ++i) {
      words_[i].store(load_le<uint64_t>(bytes.data() + 8 * i), std::memory_order_relaxed);
    }
  }
  void get(ByteArray<8 * kWords>& out) const noexcept {
    for (size_t i = 0; i < kWords; ++i) {
      store_le(out.data() + 8 * i, words_[i].load(std::memory_order_relaxed));
    }
  }

 private:
  std::atomic<uint64_t> words_[kWords] = {};
};

enum class AgentState : uint32_t { kFree = 0, kActive = 1, kRevoked = 2 };

struct alignas(64) Agent {
  // Line 0. Control.
  std::atomic<uint32_t> state{0};        // AgentState
  std::atomic<uint32_t> session{kNone};  // the confirmed session to send to
  std::atomic<uint32_t> owner{0};        // worker; changed by the old owner alone
  uint16_t tenant = 0;
  // Its tenant's place among each worker's Arena::latency; 0: the tenant has none.
  std::atomic<uint16_t> latency_place{0};
  uint64_t address = 0;
  // Its tenant's share on each worker; kNone: not limited.
  std::atomic<uint32_t> tenant_slot{kNone};
  // Its identity's prepared key (Arena::prepared_keys); kNone: none.
  std::atomic<uint32_t> prepared{kNone};
  SharedWords<4> identity;  // Ed25519: what the agent's calls are verified with
  // Line 1. Owner: packets and bytes that the agent sent, and through which worker they arrive.
  Counter packets;
  Counter bytes;
  Bucket bucket;              // its limit: control
  uint32_t stray_worker = 0;  // where packets arrive that the owner did not receive itself
  uint32_t stray_run = 0;     // how many of them since the last from the owner's own queues
  // Lines 2 to 6. Owner: the window over the agent's call counter.
  ReplayWindow calls;
  // Line 7. Owner.
  std::atomic<uint32_t> call_page{kNone};  // fabric/call.h; kNone: it has opened none lately
  uint32_t open_calls = 0;
  uint16_t waiting_opens = 0;  // frames that wait for a signature
  uint16_t waiting_data = 0;   // and those behind them
  uint32_t denials = 0;        // CALL_DENY sent in the window of denials_since
  uint64_t denials_since = 0;  // ticks
  uint64_t last_call = 0;      // ticks of the last one that was let through
  CallBucket call_bucket;      // its limit: control
  uint8_t reserved2[16] = {};
};
static_assert(sizeof(Agent) == 512 && offsetof(Agent, packets) == 64 &&
              offsetof(Agent, calls) == 128 && offsetof(Agent, call_page) == 448);

enum class EdgeState : uint32_t { kFree = 0, kOpen = 1, kRevoked = 2 };

// Whether calls over an edge are let through: none for a time once too many of them failed, then
// one to try. Written by the source agent's owner.
enum class CircuitState : uint8_t { kClosed = 0, kOpen = 1, kHalfOpen = 2 };
// Half a millisecond or so: 32 bits of it last for weeks.
inline constexpr unsigned kCircuitShift = 20;
struct Circuit {
  uint8_t outcomes = 0;           // of calls, since `at`
  uint8_t failed = 0;             // of those
  std::atomic<uint8_t> state{0};  // CircuitState; control reads it
  uint8_t trying = 0;             // half open: a call is under way that will tell
  uint32_t at = 0;                // when it was opened, or counting began: ticks >> kCircuitShift
};
static_assert(sizeof(Circuit) == 8);

enum class SealPolicy : uint8_t { kFull = 0, kHeader = 1, kAny = 2 };

constexpr uint8_t seals_of(SealPolicy policy) noexcept {
  return policy == SealPolicy::kFull ? 1 : policy == SealPolicy::kHeader ? 2 : 3;
}

// Of an edge, instead of a set of scopes.
inline constexpr uint32_t kNoScope = 0xffffffff;
inline constexpr uint32_t kAnyScope = 0xfffffffe;

// An edge's state, its slot's generation and the agent that sends over it, in one word: what a
// packet claims opens the edge if it equals that word, and a revocation is one store.
constexpr uint64_t edge_gate(EdgeState state, uint8_t generation, uint32_t source) noexcept {
  return uint64_t(state) | uint64_t{generation} << 8 | uint64_t{source} << 32;
}

// An edge's slot rests at least this long after its edge ends (wire.md §1), and so does what edges
// refer to: whoever read the edge has long gone on.
inline constexpr uint64_t kEdgeRestMs = 180'000;

struct alignas(64) Edge {
  // Line 0. Control.
  std::atomic<uint64_t> gate{edge_gate(EdgeState::kFree, 0, kNone)};
  uint32_t target = kNone;
  uint32_t opposite_label = 0;  // what the target calls the way back
  uint8_t right = 0;            // 1 may_send, 2 may_open, 3 reply_only
  uint8_t seals = 1;            // taken: bit 0 the full seal, bit 1 the header seal
  uint8_t capabilities = 0;     // that calls may use: bits of wire/call.h
  uint8_t protocols = 0;
  uint32_t tenant = 0;
  uint32_t reserved1 = 0;
  uint32_t scopes = kNoScope;  // a set of Arena::scopes(), kNoScope or kAnyScope
  // Ticks: the edge is closed from then on, since its time is over or its window closes; control
  // moves it on while it runs, at each opening and when the clock was set.
  std::atomic<uint64_t> window_until{~uint64_t{0}};
  uint64_t grant = 0;      // what the digest of the pair's grant begins with; 0: the relay's policy
  uint32_t calls = kNone;  // limits of its calls (Arena::edge_calls); kNone: it has none
  uint32_t reserved0 = 0;
  // Ticks: the end of the trust. What is closed before it is closed by a window.
  std::atomic<uint64_t> expires{~uint64_t{0}};
  // Line 1. The source agent's owner worker.
  Counter packets;
  Counter bytes;
  Bucket bucket;    // its limit: control
  Circuit circuit;  // over its calls

  EdgeState state() const noexcept {
    return EdgeState(gate.load(std::memory_order_acquire) & 0xff);
  }
  uint8_t generation() const noexcept { return uint8_t(gate.load(std::memory_order_relaxed) >> 8); }
  uint32_t source() const noexcept { return uint32_t(gate.load(std::memory_order_relaxed) >> 32); }
};
static_assert(sizeof(Edge) == 128 && offsetof(Edge, packets) == 64);

// A key that control may replace while workers read it. One that is read half old and half new
// fits no HELLO, and the sender repeats it.
class SharedKey {
 public:
  void set(const ByteArray<32>& key) noexcept {
    words_.set(key);
    present_.store(true, std::memory_order_release);
  }
  void clear() noexcept {
    present_.store(false, std::memory_order_relaxed);
    words_.set({});
  }
  // False: there is none.
  bool get(ByteArray<32>& out) const noexcept {
    if (!present_.load(std::memory_order_acquire)) return false;
    words_.get(out);
    return true;
  }

 private:
  SharedWords<4> words_;
  std::atomic<bool> present_{false};
};

// New calls: none passes, since the audit log cannot be written; those pass for whose record there
// is room; all pass, and the log counts what it misses.
inline constexpr uint32_t kCallsDenied = 0, kCallsRecorded = 1, kCallsCounted = 2;

// Written by control, read by workers: the secrets and numbers of the running relay.
struct alignas(64) RelayRecord {
  uint64_t epoch = 0;
  uint8_t challenge_key[16] = {};
  // Ticks: from then on nothing goes over an edge, since control may have revoked it and could not
  // say so. Control moves it on while it runs.
  std::atomic<uint64_t> stale_at{~uint64_t{0}};
  // Unix time of tick 0, in ms: what envelopes' times are compared with. Control sets it anew while
  // it runs, so that a step of the clock is known within max_staleness.
  std::atomic<int64_t> unix_at_tick0_ms{0};
  // The same for new calls, which control is always needed for.
  std::atomic<uint64_t> calls_stale_at{0};
  std::atomic<uint32_t> audited{kCallsDenied};
  std::atomic<uint32_t> tenants{0};  // that have agents, or had some since the start
  uint8_t idempotency_key[16] = {};  // of the hash by which workers remember keys
  // Of the relay's tunnel key, and for a time of the one before it. HELLOs alone need them.
  alignas(64) std::array<SharedKey, 2> mac1;
};
static_assert(sizeof(RelayRecord) == 256 && offsetof(RelayRecord, mac1) == 128);

}  // namespace sluice::fabric
