// What a call's target is given before the call, and nobody else: docs/protocol.md §7, read again
// without src/. The vault's place is taken by a table of what it would say.
#include <rte_mbuf.h>

#include "packet/call_fixture.h"

namespace rig {
namespace {

using sluice::control::CredentialPlace;
using sluice::control::CredentialState;
using sluice::control::CredentialStatus;
using sluice::crypto::SecretBuffer;

struct Given {
  CredentialStatus status;
  Buf content;
};

class Known final : public sluice::control::Credentials {
 public:
  std::vector<CredentialPlace> places() const override {
    std::vector<CredentialPlace> out;
    for (const auto& [at, given] : of) out.push_back(at);
    return out;
  }
  bool is_bound(const CredentialPlace& at) const override { return of.contains(at); }
  CredentialStatus status(const CredentialPlace& at, int64_t unix_ms) const override {
    CredentialStatus s = of.at(at).status;
    if (s.state == CredentialState::kUsable && unix_ms >= s.until_ms) {
      s.state = CredentialState::kOutsideWindow;
      s.until_ms = INT64_MAX;
    }
    return s;
  }
  sluice::Result<SecretBuffer> open(const CredentialPlace& at) override {
    ++opened;
    return SecretBuffer(sluice::Bytes(of.at(at).content));
  }
  std::map<CredentialPlace, Given> of;
  unsigned opened = 0;
};

const CredentialStatus kUsable = [] {
  CredentialStatus s;
  s.state = CredentialState::kUsable;
  s.until_ms = INT64_MAX;
  return s;
}();
constexpr uint8_t kMcp = 2;
constexpr size_t kPart = 1'176;

Buf secret(size_t size, uint8_t seed) {
  Buf out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(seed + i * 7 + (i >> 8));
  return out;
}

class Credential : public Calls {
 protected:
  explicit Credential(const rig::Setup& setup = {}) : Calls(setup) {}
  void SetUp() override {
    Calls::SetUp();
    r.control->credential_slots().serve(known);
  }

  CredentialPlace at_beta(uint8_t protocol = kMcp) {
    return {sluice::VirtualAddress::from_u64(beta->welcome.address), protocol};
  }
  void give(const Buf& content, CredentialStatus status = kUsable) {
    known.of[at_beta()] = {std::move(status), content};
    bool done = false;
    r.control->credential_slots().changed(at_beta(), [&] { done = true; });
    ASSERT_TRUE(r.poll_until([&] { return done; }));
  }
  Buf call(Envelope e) {
    last_ = e.counter;
    Buf bytes = e.signed_by(alpha->peer);
    open(bytes, e.counter);
    return bytes;
  }
  Envelope by(uint8_t protocol) {
    Envelope e = envelope();
    e.protocol = protocol;
    return e;
  }
  // The parts before `open`, as one; what is wrong with them fails the test.
  Buf joined(const std::vector<oracle::Frame>& frames, size_t open, size_t size) {
    Buf out;
    const size_t count = (size + kPart - 1) / kPart;
    EXPECT_GE(open, count);
    if (open < count) return out;
    for (size_t i = 0; i < count; ++i) {
      const oracle::Frame& f = frames[open - count + i];
      EXPECT_EQ(f.frame, 8);
      EXPECT_EQ(f.flags, 0);
      EXPECT_FALSE(f.header_seal);
      EXPECT_EQ(f.label, to_alpha());
      EXPECT_EQ(f.call_id, frames[open].call_id);
      EXPECT_TRUE(f.rest.empty());
      if (f.extension.size() < 8) return out;
      EXPECT_EQ(f.extension[4], i);
      EXPECT_EQ(f.extension[5], count);
      EXPECT_EQ(f.extension[6], 1);
      EXPECT_EQ(f.extension[7], 0);
      EXPECT_EQ(oracle::get_le<uint32_t>(f.extension, 0),
                oracle::get_le<uint32_t>(frames[open - count].extension, 0));
      out.insert(out.end(), f.extension.begin() + 8, f.extension.end());
    }
    return out;
  }
  void gets(size_t size, uint8_t seed) {
    SCOPED_TRACE(size);
    const Buf content = secret(size, seed);
    give(content);
    const Buf envelope = call(by(kMcp));
    const auto got = arrived(*beta);
    const size_t parts = (size + kPart - 1) / kPart;
    ASSERT_EQ(got.size(), parts + 1);
    EXPECT_EQ(got[parts].frame, 2);
    EXPECT_EQ(got[parts].flags, 2);
    EXPECT_EQ(got[parts].extension, envelope);
    EXPECT_EQ(joined(got, parts, size), content);
    EXPECT_TRUE(r.receive(*alpha).empty());
  }
  uint16_t denied(const Buf& envelope, uint32_t* retry_ms = nullptr) {
    EXPECT_TRUE(arrived(*beta).empty());
    const auto at_alpha = r.receive(*alpha);
    EXPECT_EQ(at_alpha.size(), 1u);
    if (at_alpha.size() != 1 || at_alpha[0].frame != 6) return 0xffff;
    EXPECT_TRUE(
        std::equal(envelope.begin() + 16, envelope.begin() + 32, at_alpha[0].extension.begin()));
    if (retry_ms != nullptr) *retry_ms = oracle::get_le<uint32_t>(at_alpha[0].extension, 20);
    return oracle::get_le<uint16_t>(at_alpha[0].extension, 16);
  }

  Known known;
};

TEST_F(Credential, GoesToTheTargetBeforeTheCall) {
  const auto before = r.counters();
  uint8_t seed = 1;
  unsigned parts = 0;
  for (const size_t size : {size_t{1}, size_t{200}, kPart, kPart + 1, size_t{8192}}) {
    gets(size, seed++);
    parts += static_cast<unsigned>((size + kPart - 1) / kPart);
  }
  const auto after = moved(before, r.counters());
  EXPECT_EQ(after.at("credentials"), parts);
  EXPECT_EQ(after.at("call.authorized"), 5u);
  EXPECT_EQ(after.at("forwarded"), 5u) << "the parts are not the caller's";
}

TEST_F(Credential, IsForItsProtocolAlone) {
  give(secret(200, 1));
  call(by(1));
  const auto got = arrived(*beta);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].flags, 0);
}

TEST_F(Credential, IsRepeatedWithTheCallUntilItIsAccepted) {
  const Buf content = secret(3000, 3);
  give(content);
  const Buf envelope = call(by(kMcp));
  ASSERT_EQ(arrived(*beta).size(), 4u);
  for (int i = 0; i < 3; ++i) {
    open(envelope, last_);
    const auto again = arrived(*beta);
    ASSERT_EQ(again.size(), 4u) << i;
    EXPECT_EQ(again[3].flags, 2);
    EXPECT_EQ(again[3].extension, envelope);
    EXPECT_EQ(joined(again, 3, content.size()), content);
  }
  send(*beta, 5, 1, to_alpha(), last_, accept_of(beta->peer, envelope, 0, r.clock.unix_ms()));
  ASSERT_EQ(arrived(*alpha).size(), 1u);
  open(envelope, last_);
  const auto late = arrived(*beta);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].flags, 2) << "a target that forgot the call does not take it up without";
  EXPECT_EQ(r.counters().at("call.authorized"), 1u);
  EXPECT_EQ(r.counters().at("verified"), 2u);
}

TEST_F(Credential, WhatCannotBeHadDeniesTheCall) {
  CredentialStatus locked;
  locked.until_ms = INT64_MAX;
  locked.why = "the vault is locked";
  give({}, locked);
  EXPECT_EQ(denied(call(by(kMcp))), 20);
  EXPECT_EQ(r.counters().at("verified"), 0u) << "no signature is verified for it";
  EXPECT_EQ(r.control->credential_slots().problem(at_beta()), "the vault is locked");
  call(by(3));
  EXPECT_EQ(arrived(*beta).size(), 1u) << "everything else goes on";
  give(secret(20, 1));
  call(by(kMcp));
  EXPECT_EQ(arrived(*beta).size(), 2u);
  // A call that is open and not accepted is not begun again without it, nor denied: its target may
  // have it.
  const Buf envelope = call(by(kMcp));
  EXPECT_EQ(arrived(*beta).size(), 2u);
  give({}, locked);
  dies(*alpha, alpha->peer.seal(2, 0, to_beta(), last_, envelope, {}), "credential_room");
}

TEST_F(Credential, OutsideOfItsWindowNothingIsToBeHad) {
  CredentialStatus status = kUsable;
  status.until_ms = static_cast<int64_t>(r.clock.unix_ms()) + 60'000;
  give(secret(300, 5), status);
  r.clock.advance_ms(59'500);
  r.poll_control();
  call(by(kMcp));
  ASSERT_EQ(arrived(*beta).size(), 2u);
  // Workers close it by themselves.
  r.clock.advance_ms(600);
  EXPECT_EQ(denied(call(by(kMcp))), 14);
  // Control wipes it.
  const auto target = r.control->trust().resolve("beta")->index;
  const uint32_t slot = r.arena->agent_credentials()[target].of[kMcp].load();
  ASSERT_FALSE(sluice::all_zero(sluice::Bytes(r.arena->credentials()[slot].bytes)));
  r.poll(4);
  EXPECT_TRUE(sluice::all_zero(sluice::Bytes(r.arena->credentials()[slot].bytes)));
  EXPECT_EQ(denied(call(by(kMcp))), 14);
  uint32_t retry_ms = 0;
  give({}, {CredentialState::kOutsideWindow, INT64_MAX,
            static_cast<int64_t>(r.clock.unix_ms()) + 5'000, "", 1, false});
  EXPECT_EQ(denied(call(by(kMcp)), &retry_ms), 14);
  EXPECT_NEAR(retry_ms, 5'000, 200);
}

TEST_F(Credential, WhatWasReplacedIsGoneWhenThatIsSaid) {
  const Buf first = secret(500, 1), second = secret(500, 99);
  give(first);
  call(by(kMcp));
  EXPECT_EQ(joined(arrived(*beta), 1, 500), first);
  known.of[at_beta()].content = second;
  bool done = false;
  r.control->credential_slots().changed(at_beta(), [&] { done = true; });
  r.poll_control();
  EXPECT_FALSE(done) << "a worker may be reading it";
  call(by(kMcp));
  EXPECT_EQ(joined(arrived(*beta), 1, 500), second);
  ASSERT_TRUE(r.poll_until([&] { return done; }));
  unsigned found = 0;
  for (const auto& slot : r.arena->credentials()) {
    found += std::equal(first.begin(), first.end(), slot.bytes) ? 1 : 0;
  }
  EXPECT_EQ(found, 0u);
  known.of.clear();
  r.control->credential_slots().changed(at_beta(), nullptr);
  r.poll(4);
  call(by(kMcp));
  ASSERT_EQ(arrived(*beta).size(), 1u);
  for (const auto& slot : r.arena->credentials()) {
    EXPECT_TRUE(sluice::all_zero(sluice::Bytes(slot.bytes)));
  }
}

TEST_F(Credential, ManyCallsAtOnceEachHaveTheirs) {
  const Buf content = secret(8192, 7);
  give(content);
  std::vector<Buf> packets;
  for (int i = 0; i < 14; ++i) {
    const Envelope e = by(kMcp);
    packets.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {}));
    packets.push_back(alpha->peer.seal(3, 0, to_beta(), e.counter, {}, Buf(40, uint8_t(i))));
  }
  arrive_at_once(*alpha, packets);
  // On a machine that stands still meanwhile, data waits for longer than it may.
  const auto late = [&] { return r.counters().at("drop.call_wait"); };
  std::vector<oracle::Frame> got;
  ASSERT_TRUE(r.poll_until([&] {
    settle();
    for (auto& f : r.receive(*beta)) got.push_back(std::move(f));
    return got.size() + late() >= 14 * 9;
  }));
  ASSERT_EQ(got.size() + late(), 14u * 9);
  uint64_t without_data = 0;
  for (size_t i = 0; i < 14; ++i) {
    // Calls and their data keep their order: seven parts, the call, later its data.
    const auto is_call = [&, n = i](const oracle::Frame& f) mutable {
      return f.frame == 2 && n-- == 0;
    };
    const auto at =
        static_cast<size_t>(std::find_if(got.begin(), got.end(), is_call) - got.begin());
    ASSERT_LT(at, got.size());
    EXPECT_EQ(joined(got, at, content.size()), content);
    const auto data = std::find_if(
        got.begin() + static_cast<ptrdiff_t>(at), got.end(),
        [&](const oracle::Frame& f) { return f.frame == 3 && f.call_id == got[at].call_id; });
    if (data == got.end()) {
      ++without_data;
    } else {
      EXPECT_EQ(data->rest, Buf(40, uint8_t(i)));
    }
  }
  EXPECT_EQ(without_data, late());
}

TEST_F(Credential, NothingIsLeftOfItWhereTheCallIsNotLetThrough) {
  const Buf content = secret(2000, 9);
  give(content);
  Envelope e = by(kMcp);
  Buf bytes = e.signed_by(alpha->peer);
  bytes[150] ^= 1;
  open(bytes, e.counter);
  EXPECT_EQ(denied(bytes), 22);
  EXPECT_EQ(r.counters().at("credentials"), 0u);
}

TEST_F(Credential, WithoutBuffersTheCallIsSaidAgain) {
  give(secret(2000, 9));
  const Envelope e = by(kMcp);
  const Buf bytes = e.signed_by(alpha->peer);
  // As many buffers as the packet itself needs are left.
  const Buf packet = alpha->peer.seal(2, 0, to_beta(), e.counter, bytes, {});
  arrive_at_once(*alpha, {packet});
  std::vector<rte_mbuf*> taken;
  for (rte_mbuf* m = rte_pktmbuf_alloc(r.plane->pool()); m != nullptr;
       m = rte_pktmbuf_alloc(r.plane->pool())) {
    taken.push_back(m);
  }
  settle();
  for (rte_mbuf* m : taken) rte_pktmbuf_free(m);
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(r.counters().at("drop.credential_room"), 1u);
  EXPECT_EQ(r.counters().at("call.authorized"), 0u);
  produced_reasons().insert("credential_room");
  open(bytes, e.counter);
  EXPECT_EQ(arrived(*beta).size(), 3u);
}

TEST_F(Credential, NoAgentMaySendOne) {
  give(secret(20, 1));
  call(by(kMcp));
  ASSERT_EQ(arrived(*beta).size(), 2u);
  Buf head(8);
  head[5] = 1, head[6] = 1;
  for (Agent* a : {alpha, beta}) {
    dies(*a, a->peer.seal(8, 0, a == alpha ? to_beta() : to_alpha(), last_, head, {}),
         "frame_not_allowed");
  }
  Envelope e = by(kMcp);
  dies(*alpha, alpha->peer.seal(2, 2, to_beta(), e.counter, e.signed_by(alpha->peer), {}),
       "frame_malformed");
}

struct ApprovedCredential : Credential {
  ApprovedCredential() {
    r.config.trust.pairs[0].forward_calls.approve_capabilities =
        sluice::wire::capability_bit("tool_call");
  }
};

TEST_F(ApprovedCredential, ComesWithTheApproval) {
  const Buf content = secret(2500, 4);
  give(content);
  const Buf envelope = call(by(kMcp));
  EXPECT_EQ(denied(envelope), 23);
  r.poll();
  ASSERT_EQ(r.control->approvals().waiting().size(), 1u);
  ASSERT_TRUE(r.control->approvals().decide(r.control->approvals().waiting().begin()->first,
                                            sluice::control::CallVerdict::kApproved));
  std::vector<oracle::Frame> got;
  ASSERT_TRUE(r.poll_until([&] {
    for (auto& f : r.receive(*beta)) got.push_back(std::move(f));
    return got.size() >= 4;
  }));
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(got[3].extension, envelope);
  EXPECT_EQ(got[3].flags, 2);
  EXPECT_EQ(joined(got, 3, content.size()), content);
}

// What goes before a call is its caller's traffic.
struct RatedCredential : Credential {
  RatedCredential() {
    r.config.trust.pairs[0].forward_rate = {.bytes_per_s = 1000, .burst_ms = 4000};
  }
};

TEST_F(RatedCredential, CountsAgainstTheCallersBytes) {
  give(secret(2000, 4));
  // The one that reaches into the end of the burst still passes; calls alone would be fifteen.
  for (int i = 0; i < 2; ++i) {
    call(by(kMcp));
    EXPECT_EQ(arrived(*beta).size(), 3u);
  }
  EXPECT_EQ(denied(call(by(kMcp))), 17);
}

}  // namespace
}  // namespace rig
