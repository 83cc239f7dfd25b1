// Two agents that call each other, with a test in the relay's place: it sees every frame, and
// loses, repeats, keeps or forges what it likes. Time is passed in and moves in steps of 10 ms.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "agent/calls.h"
#include "agent/peer_session.h"

namespace sluice::agent {

// What gettimeofday() says in this program while it is set (agent_streams_test.cpp): usrsctp asks
// how long ago it sent a chunk before it repeats it.
inline uint64_t path_clock_ms = 0;

struct CarriedFrame {
  wire::FrameHeader header;
  Buffer bytes;  // extension or rest

  bool is(wire::FrameType type) const { return header.type == uint8_t(type); }
};

class CallPair : public testing::Test {
 protected:
  struct Party {
    crypto::Identity identity = crypto::Identity::generate();
    crypto::X25519KeyPair key = crypto::X25519KeyPair::generate();
    VirtualAddress address;
    std::optional<PeerSession> session;
    std::optional<Calls> calls;
    PeerEdge edge;  // to the other
    std::vector<CarriedFrame> outbox;
    // Of the callee.
    AcceptStatus admits = AcceptStatus::kAccepted;
    std::vector<uint64_t> admitted, requested, cancelled;
    std::vector<Buffer> requests;
    bool echo = true;
    uint16_t echo_status = 0;
    std::function<CallUser*(Call&)> user;  // in place of whole requests
  };

  CallPair() {
    a.address = {7, 0x1a3f0};
    b.address = {7, 0x2b400};
    reset(a, b);
    reset(b, a);
    path_clock_ms = now.unix_ms;
  }
  ~CallPair() override { path_clock_ms = 0; }

  // As a daemon that has just started.
  void reset(Party& own, const Party& peer) {
    own.edge.identity = peer.identity.public_key();
    own.edge.address = peer.address;
    own.edge.name = "peer";
    own.edge.right = Right::kMayOpen;
    own.edge.grant = ByteArray<32>{1, 2, 3};
    own.calls.reset();
    own.session.emplace(
        PeerSessionConfig{.own_key = &own.key,
                          .own_identity = own.identity.public_key(),
                          .peer_identity = peer.identity.public_key(),
                          .peer_key = peer.key.public_key,
                          .peer_name = "peer"},
        PeerSessionHooks{
            [&own](const Carrier& c, Bytes m) {
              own.outbox.push_back({{c.frame, c.flags, 0, 0, c.call_id}, to_buffer(m)});
            },
            [](Bytes) {}, [](uint64_t) {},
            [&own](const Carrier* came_by) {
              return own.calls->carrier_to(own.edge.identity, came_by).value_or(Carrier{});
            },
            [&own, this](const Carrier& c, MessageKind kind, Bytes body) {
              own.calls->on_message(own.edge.identity, c, kind, body, now);
            },
            [](Level, std::string) {}});
    own.calls.emplace(
        &own.identity,
        CallHooks{[&own](const crypto::PublicKey&, const wire::FrameHeader& h, Bytes extension) {
                    own.outbox.push_back({h, to_buffer(extension)});
                  },
                  [&own, this](const crypto::PublicKey&, bool ask) {
                    if (ask) own.session->want_keys(now);
                    return own.session->ready(now);
                  },
                  [&own, this](const crypto::PublicKey&, const Carrier& c, MessageKind kind,
                               Bytes body) { own.session->send_call(c, kind, body, now); },
                  [&own](const crypto::PublicKey&) { return own.session->counters().failures; },
                  [] { return true; }, [] { return size_t{1'300}; }, [this] { return now; },
                  [&own](const crypto::PublicKey&, const wire::Envelope& e) {
                    own.admitted.push_back(e.counter);
                    return own.admits;
                  },
                  [&own](Call& call) { return own.user ? own.user(call) : nullptr; },
                  [&own](Call& call) {
                    own.requested.push_back(call.id());
                    own.requests.push_back(call.take_result());
                  },
                  [&own](const Call& call) { own.cancelled.push_back(call.id()); }},
        crypto::random_u64);
    own.calls->connected(epoch, own.address);
  }

  void give(Party& to, const CarriedFrame& f) {
    if (f.is(wire::FrameType::kDatagram)) {
      ++datagrams;
      if (calls_only) return;
    }
    Buffer copy = f.bytes;
    if (f.is(wire::FrameType::kCallData)) {
      if (!to.calls->expects(to.edge.identity, f.header, now)) return;
      return to.session->receive(Carrier::call(f.header.call_id, f.header.flags), copy, now);
    }
    if (f.is(wire::FrameType::kDatagram)) return to.session->receive({}, copy, now);
    to.calls->receive(to.edge, f.header, copy, now);
    to.calls->verify(now);
  }
  void deliver(Party& from, Party& to) {
    std::vector<CarriedFrame> frames = std::exchange(from.outbox, {});
    if (shuffled) std::shuffle(frames.begin(), frames.end(), rng);
    for (const CarriedFrame& f : frames) {
      seen.emplace_back(&from, f);
      if (lose && lose(from, f)) continue;
      give(to, f);
      if (twice > 0 && std::uniform_real_distribution<>(0, 1)(rng) < twice) give(to, f);
    }
  }
  void pump() {
    for (Party* p : {&a, &b}) {
      p->calls->pump(now);
      if (!p->echo) continue;
      for (size_t i = 0; i < p->requested.size(); ++i) {
        Call* call = p->calls->from(p->edge.identity, p->requested[i]);
        if (call != nullptr) call->answer(p->echo_status, p->requests[i]);
      }
      p->calls->pump(now);
    }
  }
  void settle() {
    for (pump(); !a.outbox.empty() || !b.outbox.empty(); pump()) {
      deliver(a, b);
      pump();
      deliver(b, a);
    }
  }
  void run(uint64_t ms) {
    for (uint64_t t = 0; t < ms; t += 10) {
      now.mono_ms += 10;
      now.unix_ms += 10;
      path_clock_ms += 10;
      for (Party* p : {&a, &b}) {
        if (p->session->deadline() <= now.mono_ms) p->session->tick(now);
        if (p->calls->deadline() <= now.mono_ms) p->calls->tick(now);
      }
      settle();
    }
  }
  bool run_until(uint64_t most_ms, const std::function<bool()>& done) {
    for (uint64_t t = 0; t < most_ms && !done(); t += 10) run(10);
    return done();
  }

  uint64_t open(Party& from, Buffer data, uint64_t timeout_ms = 30'000) {
    const auto id =
        from.calls->open(from.edge, {.timeout_ms = timeout_ms, .data = std::move(data)}, now);
    EXPECT_TRUE(id) << (id ? "" : id.error().message);
    return id.value_or(0);
  }
  bool ended(Party& p, uint64_t id) { return !p.calls->mine(id)->live(); }
  CallEnd end_of(Party& p, uint64_t id) { return p.calls->mine(id)->ended_as(); }
  size_t count(const Party& from, wire::FrameType type) const {
    return size_t(std::count_if(seen.begin(), seen.end(), [&](const auto& s) {
      return s.first == &from && s.second.is(type);
    }));
  }
  const CarriedFrame& first(const Party& from, wire::FrameType type) const {
    return std::find_if(seen.begin(), seen.end(),
                        [&](const auto& s) { return s.first == &from && s.second.is(type); })
        ->second;
  }
  void deny(Party& to, uint64_t id, wire::CallReason reason, uint32_t retry_after_ms = 0) {
    const wire::CallDeny d{epoch, id, uint16_t(reason), 0, retry_after_ms};
    give(to, {{uint8_t(wire::FrameType::kCallDeny), 0, wire::kCallDenySize, 0, id},
              to_buffer({reinterpret_cast<const uint8_t*>(&d), sizeof d})});
  }

  const bool ready = crypto::init();
  const uint64_t epoch = 0x1122334455667788;
  Now now{1'000, 1'700'000'000'000};
  Party a, b;
  bool calls_only = true;  // DATAGRAMs die, as on edges with may_open and reply_only
  std::function<bool(const Party&, const CarriedFrame&)> lose;
  double twice = 0;
  bool shuffled = false;
  std::mt19937 rng{11};
  size_t datagrams = 0;
  std::vector<std::pair<const Party*, CarriedFrame>> seen;
};

inline Buffer random_bytes_of(size_t n) {
  Buffer out(n);
  if (n > 0) crypto::random_bytes(out);
  return out;
}

}  // namespace sluice::agent
