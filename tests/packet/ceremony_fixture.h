// Three agents that nobody has paired, and the statements that they submit, made by the tests' own
// hand.
#pragma once

#include <gtest/gtest.h>

#include "control.pb.h"
#include "crypto/hash.h"
#include "packet/rig.h"

namespace rig {

namespace control = sluice::control;
namespace pb = sluice::pb;

inline std::string raw(const Buf& b) {
  return {b.begin(), b.end()};
}
template <size_t N>
std::string raw(const std::array<uint8_t, N>& b) {
  return {b.begin(), b.end()};
}
inline Buf buf(const std::string& s) {
  return {s.begin(), s.end()};
}
inline std::string digest_of(const pb::Signed& s) {
  return raw(sluice::crypto::sha256({sluice::as_bytes(s.statement())}));
}

inline sluice::control::Digest digest_bytes(const pb::Signed& s) {
  return sluice::crypto::sha256({sluice::as_bytes(s.statement())});
}

class Ceremony : public testing::Test {
 protected:
  // `across`: with delta, of another tenant. `more`: further agents and pairs of the configuration.
  explicit Ceremony(
      bool across = false, const rig::Setup& setup = {},
      const std::function<void(Rig&)>& more = [](Rig&) {})
      : r(setup),
        alpha(r.add_agent(11, "alpha", 0)),
        beta(r.add_agent(12, "beta", 1)),
        gamma(r.add_agent(13, "gamma", 0)) {
    if (across) delta = &r.add_agent(14, "delta", 1, false, 8);
    more(r);
    r.start();
    EXPECT_TRUE(r.connect(alpha));
    EXPECT_TRUE(r.connect(beta));
    EXPECT_TRUE(r.connect(gamma));
    if (across) {
      EXPECT_TRUE(r.connect(*delta));
    }
  }

  pb::Statement blank() const {
    pb::Statement s;
    s.set_version(1);
    s.set_relay_key(raw(r.relay_key));
    s.set_tenant(7);
    s.set_issued_ms(r.clock.unix_ms());
    return s;
  }
  pb::Statement request(const Agent& from, const std::string& to, const char* why = "work") {
    pb::Statement s = blank();
    auto& body = *s.mutable_trust_request();
    body.set_from(raw(from.peer.identity()));
    body.set_to(to);
    body.set_justification(why);
    body.mutable_asked()->set_right(pb::MAY_SEND);
    body.mutable_offered()->set_right(pb::MAY_SEND);
    body.set_e2e_key(raw(from.peer.e2e_public()));
    body.set_nonce("nonce-" + std::to_string(1'000'000'000 + nonce_++).substr(0, 10));
    return s;
  }
  pb::Statement request(const Agent& from, const Agent& to) {
    return request(from, raw(to.peer.identity()));
  }
  pb::Statement grant(const pb::Signed& asked, const Agent& by) {
    pb::Statement was;
    EXPECT_TRUE(was.ParseFromString(asked.statement()));
    pb::Statement s = blank();
    auto& body = *s.mutable_trust_grant();
    body.set_from(was.trust_request().from());
    body.set_to(was.trust_request().to());
    body.set_request(digest_of(asked));
    *body.mutable_asked() = was.trust_request().asked();
    *body.mutable_offered() = was.trust_request().offered();
    body.set_e2e_key(raw(by.peer.e2e_public()));
    return s;
  }
  pb::Statement revoke(const std::string& asked, const std::string& granted) {
    pb::Statement s = blank();
    s.mutable_trust_revoke()->set_request_digest(asked);
    s.mutable_trust_revoke()->set_grant_digest(granted);
    s.mutable_trust_revoke()->set_reason("over");
    return s;
  }
  static pb::Signed sign(const Agent& by, const pb::Statement& s,
                         const char* label = "sluice-statement/1") {
    pb::Signed out;
    out.set_statement(s.SerializeAsString());
    out.set_signer(raw(by.peer.identity()));
    out.set_signature(raw(by.peer.sign(label, buf(out.statement()))));
    return out;
  }

  // Over the agent's own session, as a CONTROL frame; the relay's code, or "silence".
  std::string submit(Agent& by, const pb::Signed& s) {
    pb::Control message;
    *message.mutable_submit() = s;
    const auto answer = ask(by, message);
    return answer.has_outcome() ? answer.outcome().code() : "silence";
  }
  pb::Control ask(Agent& by, const pb::Control& message) {
    r.clock.advance_ms(200);  // an agent's pace
    const uint64_t id = ++request_id_;
    const std::string bytes = message.SerializeAsString();
    r.send(by, by.peer.seal(7, 0, 0, id, buf(bytes), {}));
    pb::Control answer;
    const auto arrived = [&] {
      for (const auto& [number, body] : r.answers_of(by)) {
        if (number == id) answer = body;
      }
      return answer.body_case() != pb::Control::BODY_NOT_SET;
    };
    r.poll_until(arrived, std::chrono::seconds(5));
    return answer;
  }
  std::string lookup_answer(Agent& by, const std::string& name, uint64_t address = 0) {
    pb::Control message;
    message.mutable_lookup()->set_name(name);
    message.mutable_lookup()->set_address(address);
    const pb::Control answer = ask(by, message);
    EXPECT_TRUE(answer.has_found());
    return answer.SerializeAsString();
  }

  size_t pairs() { return r.control->trust().agreement_count(); }
  size_t waiting() { return r.control->ceremony().waiting().all().size(); }
  bool reaches(Agent& from, Agent& to) {
    r.poll(4);
    for (int i = 0; i < 10; ++i) {
      r.clock.advance_ms(5);
      r.poll(2);
      (void)r.receive(from);
      (void)r.receive(to);
    }
    if (!from.labels.contains(to.name)) return false;
    r.send(from, r.datagram(from, to.name, Buf(30, 1)));
    r.poll_workers();
    r.poll(2);
    return r.receive(to).size() == 1;
  }
  // alpha asks, beta grants.
  std::pair<pb::Signed, pb::Signed> agree() {
    const pb::Signed asked = sign(alpha, request(alpha, beta));
    EXPECT_EQ(submit(alpha, asked), "ok");
    const pb::Signed granted = sign(beta, grant(asked, beta));
    EXPECT_EQ(submit(beta, granted), "ok");
    return {asked, granted};
  }

  Rig r;
  Agent& alpha;
  Agent& beta;
  Agent& gamma;
  Agent* delta = nullptr;
  uint64_t request_id_ = 1000;
  uint64_t nonce_ = 0;
};

}  // namespace rig
