#include "bench/storm_agents.h"

#include <algorithm>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "bench/feeder.h"
#include "control.pb.h"
#include "crypto/hash.h"
#include "wire/frame.h"

namespace sluice::bench {
namespace {

constexpr unsigned kAtOnce = 64;  // packets a round
constexpr unsigned kHellosAtOnce = 32;
constexpr size_t kPortion = 8;
constexpr uint64_t kConfirmEveryMs = 400;
constexpr size_t kTalkBytes = 64;

}  // namespace

StormAgents::StormAgents(InMemoryRelay& relay, std::vector<Initiator>& initiators)
    : relay_(relay),
      initiators_(initiators),
      welcome_reader_(relay.control().keys().tunnel.public_key),
      mac1_key_(crypto::mac1_key(welcome_reader_.relay_key())),
      talkers_(relay.house().sessions - relay.house().offline),
      agents_(initiators.size()) {
  Initiator stranger;
  Initiator* const one = &stranger;
  welcome_reader_.greet({&one, 1}, UINT32_MAX, 1);
  spoofed_hello_ = stranger.hello;
}

void StormAgents::begin(const StormCase& c) {
  case_ = c;
  began_ = relay_.clock().ticks();
  talked_ = spoofed_ = 0;
  counts_ = {};
  waits_.clear();
  timers_ = {};
  up_ = 0;
  if (!c.greet) return;
  const auto spread = static_cast<uint64_t>(c.spread_s * double(relay_.clock().hz()));
  for (uint32_t i = 0; i < agents_.size(); ++i) {
    agents_[i] = {};
    agents_[i].state = State::kGreeting;
    wake(i, began_ + random_() % (spread + 1));
  }
}

void StormAgents::wake(uint32_t i, uint64_t at) {
  agents_[i].due = at;
  timers_.push({at, i});
}

uint64_t StormAgents::owed(double per_s, uint64_t& paid, uint64_t now) const {
  const auto due =
      static_cast<uint64_t>(per_s * double(now - began_) / double(relay_.clock().hz()));
  const uint64_t n = std::min<uint64_t>(due - paid, kAtOnce);
  paid = due;
  return n;
}

void StormAgents::put(uint32_t source, Bytes payload) {
  rte_mbuf* m = rte_pktmbuf_alloc(relay_.plane().pool());
  if (m == nullptr) {
    ++counts_.no_room;
    return;
  }
  auto* eth = reinterpret_cast<uint8_t*>(
      rte_pktmbuf_append(m, static_cast<uint16_t>(kOuterHeaders + payload.size())));
  relay_.write_headers(source, eth, payload.size());
  std::memcpy(eth + kOuterHeaders, payload.data(), payload.size());
  ready_.push_back(m);
}

bool StormAgents::release() {
  const size_t n = std::min<size_t>(kPortion, ready_.size() - released_);
  const unsigned taken =
      rte_ring_sp_enqueue_burst(relay_.rx(0), reinterpret_cast<void**>(ready_.data() + released_),
                                static_cast<unsigned>(n), nullptr);
  for (size_t i = taken; i < n; ++i) rte_pktmbuf_free(ready_[released_ + i]);
  counts_.no_room += n - taken;
  released_ += n;
  if (released_ < ready_.size()) return true;
  ready_.clear();
  released_ = 0;
  return n != 0;
}

void StormAgents::send_frame(uint32_t agent, const wire::FrameHeader& frame, Bytes body) {
  AgentSide& a = relay_.agent(agent);
  ByteArray<wire::kDataMin + 256> packet{};
  const size_t size = wire::kDataMin + body.size();
  wire::write_outer(packet.data(), {uint8_t(wire::Type::kData), wire::kProtocolVersion,
                                    static_cast<uint16_t>(size - wire::kDataRegion), a.session,
                                    a.next.fetch_add(1, std::memory_order_relaxed)});
  wire::write_frame(packet.data() + wire::kDataRegion, frame);
  std::copy(body.begin(), body.end(), packet.begin() + wire::kDataMin);
  SealShape s;
  shape(wire::Seal::kFull, a.send, a.send_salt, packet.data(), size, s);
  crypto::aead().seal({&s.op, 1});
  put(agent, Bytes(packet).first(size));
}

void StormAgents::send_hello(uint32_t i, uint64_t now) {
  Agent& a = agents_[i];
  if (a.first == 0) a.first = now;
  put(talkers_ + i, initiators_[i].hello);
  ++counts_.hellos;
  wake(i, now + relay_.clock().ticks_from_ms(a.backoff.next(random_())));
}

void StormAgents::act(uint32_t i, uint64_t now) {
  if (agents_[i].state == State::kGreeting) return send_hello(i, now);
  // Confirming: the relay says nothing until it has this.
  send_frame(talkers_ + i, {uint8_t(wire::FrameType::kKeepalive), 0, 0, 0, 0}, {});
  wake(i, now + relay_.clock().ticks_from_ms(kConfirmEveryMs));
}

void StormAgents::talk(uint64_t now) {
  for (uint64_t n = owed(case_.talk_per_s, talked_, now); n != 0; --n) {
    talker_ = (talker_ + 1) % talkers_;
    ByteArray<kTalkBytes> body{};
    store_le(body.data(), uint64_t{relay_.clock().ticks()});
    send_frame(talker_, {uint8_t(wire::FrameType::kDatagram), 0, 0, relay_.agent(talker_).label, 0},
               body);
    if (talk_ != nullptr) ++talk_->sent;
  }
}

// Every one is another HELLO with a good mac1, from another address: what it costs the sender.
void StormAgents::spoof(uint64_t now) {
  for (uint64_t n = owed(case_.spoofed_per_s, spoofed_, now); n != 0; --n) {
    store_le(spoofed_hello_.data() + wire::kNoiseOffset, random_());
    const Bytes before = Bytes(spoofed_hello_).first(spoofed_hello_.size() - 2 * wire::kMacSize);
    const auto mac = crypto::blake2b_128(mac1_key_, {before});
    std::memcpy(spoofed_hello_.data() + before.size(), mac.data(), mac.size());
    put(relay_.house().sessions + static_cast<uint32_t>(random_() % 10'000'000), spoofed_hello_);
    ++counts_.spoofed;
  }
}

void StormAgents::prepare() {
  const uint64_t now = relay_.clock().ticks();
  judge_collected(now);
  open_welcomes(now);
  talk(relay_.clock().ticks());  // first, so that its packets wait for none of the others
  unsigned sent = 0;
  while (!timers_.empty() && timers_.top().due <= now && sent < kHellosAtOnce) {
    const Timer t = timers_.top();
    timers_.pop();
    if (agents_[t.agent].state == State::kUp || agents_[t.agent].due != t.due) continue;
    act(t.agent, now);
    ++sent;
  }
  spoof(now);
}

// Talk is judged at once; the rest waits for `prepare`, so that talk waits for none of it.
void StormAgents::collect() {
  const uint64_t now = relay_.clock().ticks();
  void* items[kAtOnce];
  while (const unsigned n = rte_ring_sc_dequeue_burst(relay_.tx(0), items, kAtOnce, nullptr)) {
    for (unsigned i = 0; i < n; ++i) {
      auto* m = static_cast<rte_mbuf*>(items[i]);
      uint8_t* udp = rte_pktmbuf_mtod_offset(m, uint8_t*, kOuterHeaders);
      if (wire::read_outer(udp).receiver - 1 >= talkers_) {
        collected_.push_back(m);
        continue;
      }
      on_data(wire::read_outer(udp).receiver - 1, udp, rte_pktmbuf_data_len(m) - kOuterHeaders,
              now);
      rte_pktmbuf_free(m);
    }
  }
}

void StormAgents::judge_collected(uint64_t now) {
  for (rte_mbuf* m : collected_) {
    judge(rte_pktmbuf_mtod_offset(m, uint8_t*, kOuterHeaders),
          rte_pktmbuf_data_len(m) - kOuterHeaders, now);
    rte_pktmbuf_free(m);
  }
  collected_.clear();
}

void StormAgents::judge(uint8_t* udp, size_t size, uint64_t now) {
  const wire::OuterHeader outer = wire::read_outer(udp);
  const uint32_t agent = outer.receiver - 1;  // every index is its agent's number and one
  if (agent < talkers_ || agent >= relay_.house().sessions) return;
  if (outer.type == uint8_t(wire::Type::kData)) return on_data(agent, udp, size, now);
  const uint32_t i = agent - talkers_;
  if (outer.type == uint8_t(wire::Type::kRetry)) return on_retry(i, {udp, size}, now);
  if (outer.type != uint8_t(wire::Type::kWelcome) || size != wire::kWelcomeSize) return;
  // A repeated one of a HELLO that is answered already.
  if (agents_[i].state != State::kGreeting || !initiators_[i].noise) return;
  Arrived& w = arrived_.emplace_back();
  w.agent = i;
  std::memcpy(w.packet.data(), udp, size);
}

void StormAgents::on_retry(uint32_t i, Bytes packet, uint64_t now) {
  Agent& a = agents_[i];
  if (a.state != State::kGreeting || !initiators_[i].noise) return;
  const auto cookie = initiators_[i].read_retry(welcome_reader_.relay_key(), packet);
  if (!cookie || (a.has_cookie && a.cookie == *cookie)) return;
  a.cookie = *cookie;
  a.has_cookie = true;
  ++counts_.cookies;
  initiators_[i].use_cookie(*cookie);
  send_hello(i, now);
}

void StormAgents::open_welcomes(uint64_t now) {
  // A few at a time, so that the worker on this core waits for no long stretch.
  constexpr size_t kWelcomesAtOnce = 16;
  for (size_t from = 0; from < arrived_.size(); from += kWelcomesAtOnce) {
    std::array<WelcomeJob, kWelcomesAtOnce> jobs;
    const size_t n = std::min(kWelcomesAtOnce, arrived_.size() - from);
    for (size_t k = 0; k < n; ++k) {
      jobs[k].of = &initiators_[arrived_[from + k].agent];
      jobs[k].packet = arrived_[from + k].packet;
    }
    welcome_reader_.read_welcomes({jobs.data(), n});
    for (size_t k = 0; k < n; ++k) {
      const uint32_t i = arrived_[from + k].agent;
      if (!jobs[k].keys) {
        // Its session ended unconfirmed, and the relay has seen this HELLO's time.
        ++counts_.refused;
        Initiator* const one = &initiators_[i];
        welcome_reader_.greet({&one, 1}, talkers_ + i + 1, relay_.clock().unix_ms());
        agents_[i].has_cookie = false;
        continue;
      }
      ++counts_.welcomes;
      AgentSide& side = relay_.agent(talkers_ + i);
      crypto::aead().expand(jobs[k].keys->initiator_to_responder.data(), side.send);
      crypto::aead().expand(jobs[k].keys->responder_to_initiator.data(), side.receive);
      uint8_t salts[8];
      crypto::hkdf_sha256(jobs[k].keys->hash, "sluice/1 salts", salts);
      std::memcpy(side.send_salt, salts, 4);
      std::memcpy(side.receive_salt, salts + 4, 4);
      side.session = jobs[k].payload.sender;
      side.next = 0;
      agents_[i].state = State::kConfirming;
      act(i, now);
    }
  }
  arrived_.clear();
}

void StormAgents::on_data(uint32_t agent, uint8_t* outer, size_t size, uint64_t now) {
  const AgentSide& a = relay_.agent(agent);
  SealShape s;
  shape(wire::Seal::kFull, a.receive, a.receive_salt, outer, size, s);
  if (crypto::aead().open({&s.op, 1}) == 0) {
    ++counts_.not_authentic;
    return;
  }
  const wire::FrameHeader frame = wire::read_frame(outer + wire::kDataRegion);
  const uint8_t* body = outer + wire::kDataMin;
  if (frame.type == uint8_t(wire::FrameType::kControl) && agent >= talkers_) {
    return on_control(agent - talkers_, frame, body, now);
  }
  if (frame.type != uint8_t(wire::FrameType::kDatagram) || talk_ == nullptr) return;
  ++talk_->received;
  talk_->us.push_back(relay_.clock().us_from_ticks(now - load_le<uint64_t>(body)));
}

void StormAgents::on_control(uint32_t i, const wire::FrameHeader& frame, const uint8_t* body,
                             uint64_t now) {
  pb::Control message;
  if (!message.ParseFromArray(body, frame.extension_length)) return;
  pb::Control ack;
  ack.mutable_ack();
  const std::string text = ack.SerializeAsString();
  send_frame(
      talkers_ + i,
      {uint8_t(wire::FrameType::kControl), 0, static_cast<uint16_t>(text.size()), 0, frame.call_id},
      as_bytes(text));
  Agent& a = agents_[i];
  if (!message.has_edge_sync() || a.state != State::kConfirming) return;
  a.state = State::kUp;
  ++up_;
  waits_.push_back(relay_.clock().us_from_ticks(now - a.first) / 1000);
}

}  // namespace sluice::bench
