// Calls as the protocol text describes them, built without src/: envelopes, acceptances, and what
// comes of them at the relay.
#pragma once

#include <algorithm>

#include "packet/expect.h"

namespace rig {

struct Envelope {
  Buf trace = Buf(16, 0x71);
  uint64_t epoch = 0, counter = 0;
  Buf key = Buf(16, 0x1d);
  uint64_t issued = 0, expires = 0;
  uint64_t audience = 0, issuer = 0;
  uint16_t tenant = 7, service = 0;
  uint8_t capability = 3, protocol = 0, scope_count = 0, zero = 0;
  std::vector<uint64_t> scopes = std::vector<uint64_t>(4);
  uint64_t grant = 0;
  Buf commitment = Buf(16);

  Buf unsigned_bytes() const {
    Buf out = trace;
    oracle::put_le(out, epoch);
    oracle::put_le(out, counter);
    out.insert(out.end(), key.begin(), key.end());
    oracle::put_le(out, issued);
    oracle::put_le(out, expires);
    oracle::put_le(out, audience);
    oracle::put_le(out, issuer);
    oracle::put_le(out, tenant);
    oracle::put_le(out, service);
    for (const uint8_t b : {capability, protocol, scope_count, zero}) out.push_back(b);
    for (const uint64_t s : scopes) oracle::put_le(out, s);
    oracle::put_le(out, grant);
    out.insert(out.end(), commitment.begin(), commitment.end());
    return out;
  }
  Buf signed_by(const oracle::Peer& peer) const {
    Buf out = unsigned_bytes();
    const Buf signature = peer.sign("sluice-call/1", out);
    out.insert(out.end(), signature.begin(), signature.end());
    return out;
  }
};

inline Buf accept_of(const oracle::Peer& peer, const Buf& envelope, uint16_t status,
                     uint64_t time_ms) {
  Buf text = envelope;
  oracle::put_le(text, status);
  oracle::put_le(text, time_ms);
  Buf out(envelope.begin() + 16, envelope.begin() + 32);
  oracle::put_le(out, status);
  out.resize(out.size() + 6);
  oracle::put_le(out, time_ms);
  const Buf signature = peer.sign("sluice-accept/1", text);
  out.insert(out.end(), signature.begin(), signature.end());
  return out;
}

inline Buf close_of(uint16_t status, uint64_t bytes) {
  Buf out;
  oracle::put_le(out, status);
  out.resize(8);
  oracle::put_le(out, bytes);
  return out;
}

inline Buf framed(const Agent& a, const Buf& payload) {
  return oracle::udp_frame(a.flow, payload);
}

class Calls : public testing::Test {
 protected:
  explicit Calls(const rig::Setup& setup = {})
      : r(setup),
        alpha(&r.add_agent(11, "alpha", 0)),
        beta(&r.add_agent(12, "beta", 1)),
        gamma(&r.add_agent(13, "gamma", 1)) {
    r.trust("alpha", "beta");
  }
  void SetUp() override {
    r.start();
    for (Agent* a : {alpha, beta, gamma}) ASSERT_TRUE(r.connect(*a));
    r.poll_control();  // says what time it is, and that the log is written
    next_ = r.clock.unix_ms() << 20;
    r.drain_all();
    in_use_ = r.buffers_in_use();
  }
  void TearDown() override {
    settle();
    r.check_balance();
    r.drain_all();
    EXPECT_EQ(r.buffers_in_use(), in_use_);
  }

  // One that nothing is wrong with, of alpha for beta.
  Envelope envelope() {
    Envelope e;
    e.epoch = alpha->welcome.relay_epoch;
    e.counter = next_++;
    const uint64_t n = e.counter;
    for (size_t i = 0; i < 8; ++i) e.key[i] = static_cast<uint8_t>(n >> (8 * i));
    e.issued = r.clock.unix_ms();
    e.expires = e.issued + 10'000;
    e.audience = beta->welcome.address;
    e.issuer = alpha->welcome.address;
    return e;
  }
  void send(Agent& from, uint8_t frame, uint8_t flags, uint32_t label, uint64_t call,
            const Buf& extension, const Buf& rest = {}, oracle::SealOptions o = {}) {
    r.send(from, from.peer.seal(frame, flags, label, call, extension, rest, o));
  }
  uint32_t to_beta() { return alpha->labels["beta"]; }
  uint32_t to_alpha() { return beta->labels["alpha"]; }
  void open(const Buf& envelope, uint64_t call) { send(*alpha, 2, 0, to_beta(), call, envelope); }
  Buf open_good() {
    const Envelope e = envelope();
    last_ = e.counter;
    Buf bytes = e.signed_by(alpha->peer);
    open(bytes, e.counter);
    return bytes;
  }
  void dies(Agent& from, const Buf& payload, const std::string& reason) {
    expect_drop(r, from.port, framed(from, payload), reason, from.queue);
  }
  void arrive_at_once(Agent& from, const std::vector<Buf>& payloads) {
    for (const Buf& p : payloads) r.inject(from.port, framed(from, p), from.queue);
  }
  // A round with packets, and one without: signatures take turns with the rest.
  void settle() {
    r.poll_workers();
    r.poll_workers();
  }
  // What arrived for an agent meanwhile.
  std::vector<oracle::Frame> arrived(Agent& at) {
    settle();
    return r.receive(at);
  }

  Rig r;
  Agent* alpha;
  Agent* beta;
  Agent* gamma;
  uint64_t next_ = 0;
  size_t in_use_ = 0;
  uint64_t last_ = 0;  // the call id of the last good one
};

}  // namespace rig
