#include "control/handshake.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "crypto/hash.h"

namespace sluice::control {
namespace {

using O = HandshakeOutcome;

constexpr unsigned kRekeysPerPoll = 16;
constexpr unsigned kHellosPerPoll = 256;
// Public-key work of one poll: with lanes about 35 µs for each, without about 200 µs.
constexpr size_t kBatchOfLanes = HandshakeBatch::kMax;
constexpr size_t kBatchOfSodium = 8;
constexpr size_t kMaxWithCookie = 1024;
constexpr uint64_t kHoldUs = 2000;
constexpr uint64_t kLoadMs = 2000;
constexpr uint64_t kMaxAheadMs = 60'000;

// Whose turn a HELLO takes: an IPv4 address, or the /64 that one IPv6 host may roam in.
wire::IpBytes turn_of(const wire::PathHeader& path) {
  wire::IpBytes ip = path.remote_ip();
  if (path.v6()) std::fill(ip.begin() + 8, ip.end(), uint8_t{0});
  return ip;
}

// WELCOME's field: whole seconds that the agent is admitted for; 0: without end.
uint32_t trust_life_s(uint64_t ends_ms, uint64_t now_ms) {
  if (ends_ms == 0) return 0;
  const uint64_t left_s = ends_ms > now_ms ? (ends_ms - now_ms) / 1000 : 0;
  return static_cast<uint32_t>(std::clamp<uint64_t>(left_s, 1, 0xffffffff));
}

}  // namespace

Handshakes::Handshakes(Setting setting, const Clock& clock, TrustTable& trust,
                       SessionTable& sessions, Enrolment& enrolment, PreparedKeys& prepared,
                       fabric::Arena& arena, fabric::Mailboxes& mailboxes)
    : s_(std::move(setting)),
      clock_(clock),
      trust_(trust),
      sessions_(sessions),
      enrolment_(enrolment),
      prepared_(prepared),
      arena_(arena),
      mailboxes_(mailboxes),
      cookies_(clock),
      with_cookie_(kMaxWithCookie),
      tokens_(s_.config.under_load_per_s),
      tokens_at_(clock.ticks()) {}

bool Handshakes::poll() {
  const OutcomeCounts before = counts_;
  const size_t most = crypto::batch_engine() != nullptr ? kBatchOfLanes : kBatchOfSodium;
  for (unsigned i = 0; i < kRekeysPerPoll && queued_.size() < most / 2; ++i) {
    fabric::Parcel parcel = mailboxes_.take_rekey();
    if (!parcel) break;
    queued_.push_back(std::move(parcel));
  }
  take_hellos();
  decide_held();
  // At least half of a round is theirs, whatever else waits.
  for (size_t taken = 0; taken < most / 2 || queued_.size() < most; ++taken) {
    auto parcel = with_cookie_.pop();
    if (!parcel) break;
    queued_.push_back(std::move(*parcel));
  }
  serve_queued();
  return counts_ != before;
}

void Handshakes::take_hellos() {
  for (unsigned i = 0; i < kHellosPerPoll; ++i) {
    fabric::Parcel parcel = mailboxes_.take_hello();
    if (!parcel) return;
    const auto hello = wire::parse_hello(parcel.payload());
    if (!hello) {
      count(O::kMalformed);
      continue;
    }
    if (all_zero(hello->mac2())) {
      if (under_load()) {
        extend_load();
        count(send_retry(std::move(parcel)));
      } else {
        held_.push_back({std::move(parcel), clock_.ticks()});
      }
    } else if (!has_valid_cookie(parcel)) {
      // An old cookie of an honest agent: it gets a new one.
      count(O::kBadCookie);
      (void)send_retry(std::move(parcel));
    } else {
      const auto source = turn_of(parcel.meta().path);
      if (with_cookie_.push(source, std::move(parcel))) count(O::kQueueFull);
    }
  }
}

void Handshakes::refill() {
  const uint64_t now = clock_.ticks();
  tokens_ = std::min<double>(
      s_.config.under_load_per_s,
      tokens_ + double(now - tokens_at_) * s_.config.under_load_per_s / double(clock_.hz()));
  tokens_at_ = now;
}

// The load lasts as long as HELLOs come faster than they would be served without it.
void Handshakes::extend_load() {
  refill();
  if (tokens_ >= 1) {
    tokens_ -= 1;
  } else {
    loaded_until_ = clock_.ticks() + clock_.ticks_from_ms(kLoadMs);
  }
}

void Handshakes::decide_held() {
  if (held_.empty()) return;
  const uint64_t now = clock_.ticks();
  const bool burst = held_.size() > s_.config.under_load_burst;
  if (!burst && now - held_.front().since < clock_.ticks_from_us(kHoldUs)) return;

  refill();
  if (burst || tokens_ < double(held_.size())) {
    loaded_until_ = now + clock_.ticks_from_ms(kLoadMs);
    tokens_ = 0;
  }
  const bool loaded = under_load();
  while (!held_.empty()) {
    fabric::Parcel parcel = std::move(held_.front().parcel);
    held_.pop_front();
    if (loaded) {
      count(send_retry(std::move(parcel)));
    } else {
      tokens_ -= 1;
      queued_.push_back(std::move(parcel));
    }
  }
}

bool Handshakes::has_valid_cookie(fabric::Parcel& parcel) {
  const auto hello = wire::parse_hello(parcel.payload());
  for (const auto& cookie : cookies_.accepted(parcel.meta().path)) {
    if (crypto::equal_secret(crypto::blake2b_128(cookie, {hello->before_mac2()}), hello->mac2())) {
      return true;
    }
  }
  return false;
}

O Handshakes::send_retry(fabric::Parcel parcel) {
  const auto hello = wire::parse_hello(parcel.payload());
  const crypto::X25519KeyPair* const key = s_.keyring.addressed(*hello);
  if (key == nullptr) return O::kNoiseFailed;
  ByteArray<wire::kRetrySize> out;
  wire::write_outer(out.data(), {uint8_t(wire::Type::kRetry), wire::kProtocolVersion,
                                 wire::kCookieSize + wire::kTagSize, hello->sender, 0});
  ByteArray<wire::kRetryNonce> nonce;
  crypto::random_bytes(nonce);
  std::memcpy(out.data() + sizeof(wire::OuterHeader), nonce.data(), nonce.size());
  const auto sealed =
      crypto::seal_cookie(key->public_key, nonce, hello->mac1(), cookies_.make(parcel.meta().path));
  std::memcpy(out.data() + sizeof(wire::OuterHeader) + nonce.size(), sealed.data(), sealed.size());
  parcel.set_payload(out);
  parcel.meta().session = 0;
  return mailboxes_.reply(std::move(parcel)) ? O::kRetrySent : O::kNoAnswerPath;
}

O Handshakes::send_welcome(fabric::Parcel& parcel, uint32_t slot, Buffer welcome) {
  parcel.set_payload(welcome);
  parcel.meta().session = slot;
  parcel.meta().generation = arena_.sessions()[slot].generation;
  return mailboxes_.reply(std::move(parcel)) ? O::kWelcomed : O::kNoAnswerPath;
}

// `slot` 0: no session, only the relay's time.
Buffer Handshakes::build_welcome(Greeting& g, const AgentEntry& agent, uint32_t slot,
                                 uint16_t mtu) {
  const uint32_t receiver = slot == 0 ? 0 : g.hello.sender;
  const wire::WelcomePayload payload{
      .receiver = receiver,
      .sender = slot,
      .address = agent.address.to_u64(),
      .relay_time_ms = clock_.unix_ms(),
      .relay_epoch = s_.epoch,
      .trust_life_s = trust_life_s(agent.ends_ms(), clock_.unix_ms()),
      .features = 0,
      .mtu = mtu,
      .send_lanes = s_.config.agent_lanes,
      .receive_lanes = s_.workers,
      .zeros = 0,
  };
  Buffer out(wire::kWelcomeSize, 0);
  wire::write_outer(out.data(), {uint8_t(wire::Type::kWelcome), wire::kProtocolVersion,
                                 wire::kWelcomeNoise, receiver, 0});
  store_le(out.data() + sizeof(wire::OuterHeader), slot);
  uint8_t* message = out.data() + wire::kNoiseOffset;
  std::memcpy(message, g.tokens.data(), g.tokens.size());
  g.noise->write_payload({reinterpret_cast<const uint8_t*>(&payload), sizeof payload},
                         {message + wire::kWelcomeTokens, sizeof payload + wire::kTagSize});
  const auto mac = crypto::blake2b_128(crypto::mac1_key(g.noise->remote_static()),
                                       {Bytes(out).first(out.size() - 2 * wire::kMacSize)});
  std::memcpy(out.data() + out.size() - 2 * wire::kMacSize, mac.data(), mac.size());
  return out;
}

// The same HELLO again gets the same WELCOME again.
std::optional<O> Handshakes::repeat(const HelloDigest& digest, fabric::Parcel& parcel) {
  const SessionEntry* known = sessions_.by_hello(digest);
  if (known == nullptr) return std::nullopt;
  const O o = send_welcome(parcel, sessions_.slot_of(digest), known->welcome);
  return o == O::kWelcomed ? O::kRepeated : o;
}

void Handshakes::serve_queued() {
  for (size_t from = 0; from < queued_.size(); from += HandshakeBatch::kMax) {
    const size_t n = std::min(queued_.size() - from, HandshakeBatch::kMax);
    serve_batch({&queued_[from], n});
  }
  queued_.clear();
}

void Handshakes::serve_batch(std::span<fabric::Parcel> parcels) {
  // A HELLO that came twice, and which one is the first: it shares its outcome, at no work.
  std::vector<std::pair<fabric::Parcel*, size_t>> copies;
  std::array<Greeting*, HandshakeBatch::kMax> asked{};
  std::array<HelloDigest, HandshakeBatch::kMax> digests;
  std::array<fabric::Parcel*, HandshakeBatch::kMax> of{};
  size_t n = 0;
  for (fabric::Parcel& parcel : parcels) {
    const auto hello = wire::parse_hello(parcel.payload());
    if (!hello) {
      count(O::kMalformed);
      continue;
    }
    const crypto::X25519KeyPair* const key = s_.keyring.addressed(*hello);
    if (key == nullptr) {
      count(O::kNoiseFailed);  // its key's time ended while it waited
      continue;
    }
    const HelloDigest digest = crypto::blake2b_256({hello->before_mac2()});
    if (const auto o = repeat(digest, parcel)) {
      count(*o);
      continue;
    }
    const auto end = digests.begin() + static_cast<ptrdiff_t>(n);
    if (const auto first = std::find(digests.begin(), end, digest); first != end) {
      copies.emplace_back(&parcel, static_cast<size_t>(first - digests.begin()));
      continue;
    }
    digests[n] = digest;
    of[n] = &parcel;
    asked[n] = &greetings_[n].emplace();
    asked[n]->hello = *hello;
    asked[n]->relay_key = key;
    ++n;
  }
  batch_.open({asked.data(), n});
  std::array<O, HandshakeBatch::kMax> outcome{};
  for (size_t i = 0; i < n; ++i) outcome[i] = admit(*asked[i]);
  batch_.answer({asked.data(), n});
  for (size_t i = 0; i < n; ++i) {
    if (outcome[i] == O::kWelcomed) outcome[i] = conclude(*asked[i], digests[i], *of[i]);
    count(outcome[i]);
    greetings_[i].reset();
  }
  for (const auto& [parcel, first] : copies) {
    count(repeat(digests[first], *parcel).value_or(outcome[first]));
  }
}

// Above the identity's last time, and not too far ahead (wire.md §4).
bool Handshakes::timely(const Greeting& g, const AgentEntry& agent) const {
  return g.payload.time_ms > agent.last_hello_ms &&
         g.payload.time_ms <= clock_.unix_ms() + kMaxAheadMs;
}

AgentEntry* Handshakes::active_agent(const Greeting& g, O& why) const {
  AgentEntry* agent = trust_.by_identity(g.payload.identity);
  if (agent == nullptr || !agent->standing() ||
      (agent->ends_ms() != 0 && agent->ends_ms() <= clock_.unix_ms())) {
    why = O::kUnknownIdentity;
  } else if (agent->revoked) {
    why = O::kRevokedIdentity;
  } else if (arena_.agents()[agent->index].state.load(std::memory_order_relaxed) !=
             uint32_t(fabric::AgentState::kActive)) {
    why = O::kUnknownIdentity;  // its enrolment is not durable yet
  } else {
    return agent;
  }
  return nullptr;
}

// Who is worth a signature check and an answer. kWelcomed: goes on.
O Handshakes::admit(Greeting& g) {
  if (g.state == Greeting::State::kNoiseFailed) return O::kNoiseFailed;
  if (g.state == Greeting::State::kMalformed) return O::kMalformed;
  O why = O::kWelcomed;
  const AgentEntry* agent = active_agent(g, why);
  if (agent == nullptr) {
    if (why != O::kUnknownIdentity || !enrolment_.would_admit(g.payload.token)) return why;
    g.state = Greeting::State::kAnswering;  // its signature shows that the identity is its own
    return O::kWelcomed;
  }
  // What needs no signature to be refused; the one who asks hears nothing of it.
  if (timely(g, *agent) && !sessions_.next_free()) return O::kNoSlot;
  // Only looked at: who claims an identity has not shown it yet.
  g.prepared = prepared_.find(agent->index);
  g.state = Greeting::State::kAnswering;
  return why;
}

O Handshakes::conclude(Greeting& g, const HelloDigest& digest, fabric::Parcel& parcel) {
  if (g.state == Greeting::State::kBadSignature) return O::kBadSignature;
  if (g.state != Greeting::State::kAnswered) return O::kNoiseFailed;
  // Once more: it waited for its batch.
  O why = O::kWelcomed;
  AgentEntry* agent = active_agent(g, why);
  if (agent == nullptr) {
    if (why != O::kUnknownIdentity || !enrolment_.would_admit(g.payload.token)) return why;
    enrolment_.enrol_by_token(g.payload.identity, g.payload.token);
    return O::kEnrolling;
  }

  const fabric::PacketMeta meta = parcel.meta();
  // Only its own session's index makes a HELLO a rekey.
  const auto running = sessions_.entries().find(g.hello.outer.receiver);
  const bool is_rekey = running != sessions_.entries().end() &&
                        running->second.agent == agent->index && running->second.confirmed;
  const uint16_t mtu = s_.port_mtu.at(meta.path.port);
  prepared_.met(agent->index, g.payload.identity);
  if (!timely(g, *agent)) {
    const O o = send_welcome(parcel, 0, build_welcome(g, *agent, 0, mtu));
    return o == O::kWelcomed ? O::kBadTime : o;
  }
  const auto slot = sessions_.next_free();
  if (!slot) return O::kNoSlot;
  Buffer welcome = build_welcome(g, *agent, *slot, mtu);
  agent->last_hello_ms = g.payload.time_ms;
  // A worker that owns the agent gives it away itself, for it may still look after its calls.
  auto& owner = arena_.agents()[agent->index].owner;
  if (!agent->placed) {
    agent->placed = true;
    owner.store(meta.worker, std::memory_order_release);
  } else if (const uint32_t old = owner.load(std::memory_order_acquire);
             old != meta.worker && !sessions_.has_session(agent->index)) {
    (void)mailboxes_.ask_to_move(old, {agent->index, meta.worker});
  }
  const crypto::NoiseKeys keys = g.noise->split();
  sessions_.publish(*slot, {.agent = agent->index,
                            .peer_index = g.hello.sender,
                            .keys = &keys,
                            .path = meta.path,
                            .hello = digest,
                            .is_rekey = is_rekey,
                            .trust_ends_ms = agent->ends_ms()});
  sessions_.keep_welcome(*slot, welcome);
  spdlog::debug("{} greets from a new path; session {}", agent->name, *slot);
  return send_welcome(parcel, *slot, std::move(welcome));
}

}  // namespace sluice::control
