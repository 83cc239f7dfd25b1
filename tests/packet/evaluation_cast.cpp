#include "packet/evaluation_cast.h"

namespace rig {
namespace {

constexpr uint64_t kLifeMs = 20'000;
constexpr uint64_t kSessionMs = 100'000;
// A CALL_OPEN takes five seconds of it, and what comes later within four passes.
constexpr control::RateConfig kSlow{.packets_per_s = 0, .bytes_per_s = 50, .burst_ms = 4'000};
constexpr uint8_t kEveryCapability = 0x1e;

void add_all(Rig& r) {
  const auto add = [&](uint8_t seed, const std::string& name, unsigned n) {
    r.add_agent(seed, name, n % 2).queue = n / 2 % 2;
  };
  for (uint8_t i = 0; i < 10; ++i) add(20 + i, "caller" + std::to_string(i), i);
  for (uint8_t i = 0; i < 5; ++i) add(40 + i, "server" + std::to_string(i), i + 1);
  add(50, "gone", 0);
  add(51, "slow", 1);
  add(52, "timed", 0);
  add(53, "metered", 1);
  add(54, "checked", 2);
  add(55, "failing", 3);
  for (unsigned i = 0; i < 10; ++i) {
    const std::string caller = "caller" + std::to_string(i);
    r.trust(caller, "server" + std::to_string(i / 2));
    r.trust(caller, "gone");
  }
  r.trust("gamma", "server0", control::EdgeRight::kReplyOnly);
  r.trust("slow", "server1");
  r.config.trust.pairs.back().forward_rate = kSlow;
  r.trust("timed", "server2");
  r.trust("failing", "server4");
  r.trust("metered", "server2");
  r.config.trust.pairs.back().forward_calls.quota = {2, 5};
  r.trust("checked", "server3");
  r.config.trust.pairs.back().forward_calls.approve_capabilities = kEveryCapability;
}

}  // namespace

EvaluationCast::EvaluationCast() : Ceremony(false, {.keys_per_agent = 16'384}, add_all) {}

void EvaluationCast::SetUp() {
  for (const auto& [name, agent] : r.agents) {
    if (agent->welcome.address != 0) continue;
    ASSERT_TRUE(r.connect(*agent)) << name;
  }
  connected_ms_ = r.clock.unix_ms();
  pb::Statement s = request(alpha, beta);
  s.mutable_trust_request()->mutable_asked()->add_capabilities("tool_call");
  s.mutable_trust_request()->mutable_asked()->add_protocols("mcp");
  const pb::Signed asked = Ceremony::sign(alpha, s);
  ASSERT_EQ(submit(alpha, asked), "ok");
  const pb::Signed granted = Ceremony::sign(beta, grant(asked, beta));
  ASSERT_EQ(submit(beta, granted), "ok");
  for (int i = 0; i < 10; ++i) {
    r.poll(4);
    (void)r.receive(alpha);
    (void)r.receive(beta);
  }
  for (const auto& [name, agent] : r.agents) {
    oracles_.emplace(agent.get(), CallOracle(agent->welcome.address, 7, kRoom));
    next_[agent.get()] = r.clock.unix_ms() << 20;
  }
  const auto add = [&](Agent& from, Agent& to) -> Line& {
    return lines_.emplace_back(
        Line{&from, &to, from.labels.at(to.name), to.labels.at(from.name), {}});
  };
  const auto of = [&](const std::string& name) -> Agent& { return *r.agents.at(name); };
  for (unsigned i = 0; i < kCallers; ++i) {
    Agent& caller = of("caller" + std::to_string(i));
    busy.push_back(&add(caller, of("server" + std::to_string(i / 2))));
    add(caller, of("gone")).agreed.callee_revoked = true;
  }
  Line& granted_line = add(alpha, beta);
  const auto digest = digest_bytes(granted);
  granted_line.agreed = {.grant = sluice::load_le<uint64_t>(digest.data()),
                         .any_scope = false,
                         .capabilities = {3},
                         .protocols = {2}};
  busy.push_back(&granted_line);
  Line& reply_only = add(gamma, of("server0"));
  reply_only.agreed.reply_only = true;
  busy.push_back(&reply_only);
  add(of("slow"), of("server1"));
  add(of("timed"), of("server2"));
  add(of("metered"), of("server2"));
  add(of("checked"), of("server3"));
  add(of("failing"), of("server4"));
  auto& trust = r.control->trust();
  trust.mark_revoked(*trust.by_identity(of("gone").peer.identity()), "", 1);
}

Line& EvaluationCast::line(const std::string& from, const std::string& to) {
  for (Line& l : lines_) {
    if (l.caller->name == from && l.callee->name == to) return l;
  }
  throw std::runtime_error("no line from " + from + " to " + to);
}

Attempt EvaluationCast::good(Line& on) {
  Attempt a;
  a.line = &on;
  a.label = on.label;
  Envelope& e = a.envelope;
  for (uint8_t& b : e.trace) b = static_cast<uint8_t>(random());
  e.trace[0] |= 1;
  e.epoch = on.caller->welcome.relay_epoch;
  e.counter = a.frame_id = next_[on.caller]++;
  e.key = Buf(16, 0x11);
  const uint64_t key = next_key_++;
  for (size_t i = 0; i < 8; ++i) e.key[i] = static_cast<uint8_t>(key >> (8 * i));
  e.issued = r.clock.unix_ms();
  e.expires = e.issued + kLifeMs;
  e.audience = on.callee->welcome.address;
  e.issuer = on.caller->welcome.address;
  e.service = static_cast<uint16_t>(random());
  e.grant = on.agreed.grant;
  const auto any_of = [&](const std::set<int>& set) {
    return static_cast<uint8_t>(*std::next(set.begin(), static_cast<long>(random() % set.size())));
  };
  e.capability = any_of(on.agreed.capabilities);
  e.protocol = any_of(on.agreed.protocols);
  if (on.agreed.any_scope && random() % 4 == 0) {
    e.scope_count = 2;
    e.scopes = {1 + random() % 1000, 2000 + random() % 1000, 0, 0};
  }
  return a;
}

void EvaluationCast::sign(Attempt& a) {
  a.bytes = a.envelope.signed_by(a.line->caller->peer);
}

void EvaluationCast::put(Agent& from, const Buf& udp_payload) {
  r.inject(from.port, oracle::udp_frame(from.flow, udp_payload), from.queue);
}

void EvaluationCast::settle() {
  for (unsigned idle = 0; idle < 2;) {
    unsigned n = 0;
    for (unsigned w = 0; w < 2; ++w) {
      n += r.poll_worker(w) + r.plane->worker(w).context().calls->waiting.size();
    }
    idle = n == 0 ? idle + 1 : 0;
  }
}

std::vector<std::pair<Agent*, oracle::Frame>> EvaluationCast::collect() {
  std::vector<std::pair<Agent*, oracle::Frame>> out;
  for (unsigned port = 0; port < 2; ++port) {
    for (const Buf& bytes : r.drain(port)) {
      const auto parsed = oracle::parse_udp_frame(bytes);
      if (!parsed) continue;
      for (const auto& [name, agent] : r.agents) {
        if (parsed->flow.dst_port != agent->flow.src_port) continue;
        if (auto frame = agent->peer.open(parsed->payload)) {
          out.emplace_back(agent.get(), std::move(*frame));
        }
      }
    }
  }
  return out;
}

void EvaluationCast::run(std::vector<Attempt>& calls, Moment moment) {
  moment.now_ms = r.clock.unix_ms();
  moment.epoch = alpha.welcome.relay_epoch;
  std::map<std::pair<const Agent*, uint64_t>, Attempt*> by_id;
  for (Attempt& a : calls) {
    const Line& l = *a.line;
    Moment m = moment;
    m.rate_left = a.rate_left;
    m.quota_left = a.quota_left;
    a.expected = oracle_of(*l.caller).decide(a.bytes, a.frame_id, a.own_label ? &l.agreed : nullptr,
                                             l.callee->welcome.address, a.signature_holds, m);
    by_id[{l.caller, a.frame_id}] = &a;
    put(*l.caller, l.caller->peer.seal(2, 0, a.label, a.frame_id, a.bytes, {}));
  }
  settle();
  std::map<Buf, Attempt*> by_bytes;
  for (Attempt& a : calls) by_bytes[a.bytes] = &a;
  for (const auto& [agent, frame] : collect()) {
    if (frame.frame == 2) {
      const auto it = by_bytes.find(frame.extension);
      // What was never sent so cannot have come from anybody: counted with any of them.
      Attempt& a = it == by_bytes.end() ? calls.front() : *it->second;
      const bool right = it != by_bytes.end() && agent == a.line->callee &&
                         frame.label == a.line->back && frame.call_id == a.frame_id;
      if (right) {
        a.got.push_back(0);
      } else {
        ++a.elsewhere;
      }
    } else if (frame.frame == 6) {
      const auto it = by_id.find({agent, frame.call_id});
      if (it == by_id.end()) {
        ++calls.front().elsewhere;
      } else {
        it->second->got.push_back(oracle::get_le<uint16_t>(frame.extension, 16));
      }
    }
  }
}

void EvaluationCast::live(const std::vector<Attempt*>& calls, const Buf& payload) {
  std::vector<std::pair<const Attempt*, Buf>> accepts;
  for (const Attempt* a : calls) {
    const Line& l = *a->line;
    accepts.emplace_back(a, accept_of(l.callee->peer, a->bytes, 0, r.clock.unix_ms()));
    if (random() % 16 != 0) continue;
    Buf forged = accepts.back().second;
    forged[random() % forged.size()] ^= static_cast<uint8_t>(1 + random() % 255);
    ++forged_accepts;
    put(*l.callee, l.callee->peer.seal(5, 1, l.back, a->frame_id, forged, {}));
  }
  settle();
  forged_accepts_passed += static_cast<unsigned>(collect().size());
  for (const auto& [a, accept] : accepts) {
    const Line& l = *a->line;
    put(*l.callee, l.callee->peer.seal(5, 1, l.back, a->frame_id, accept, {}));
  }
  settle();
  size_t arrived = 0;
  for (const auto& [agent, frame] : collect()) {
    for (const auto& [a, accept] : accepts) {
      arrived += frame.frame == 5 && agent == a->line->caller && frame.extension == accept ? 1 : 0;
    }
  }
  lost_frames += static_cast<unsigned>(calls.size() - std::min(arrived, calls.size()));

  std::vector<std::pair<Agent*, Buf>> again;
  for (const Attempt* a : calls) {
    const Line& l = *a->line;
    const Buf there = l.caller->peer.seal(3, 0, l.label, a->frame_id, {}, payload);
    put(*l.caller, there);
    put(*l.callee, l.callee->peer.seal(3, 1, l.back, a->frame_id, {}, payload));
    if (random() % 16 == 0) again.emplace_back(l.caller, there);
    put(*l.caller,
        l.caller->peer.seal(4, 0, l.label, a->frame_id, close_of(0, payload.size()), {}));
    put(*l.callee, l.callee->peer.seal(4, 1, l.back, a->frame_id, close_of(0, payload.size()), {}));
  }
  settle();
  arrived = 0;
  for (const auto& [agent, frame] : collect()) {
    arrived += frame.frame == 4 || (frame.frame == 3 && frame.rest == payload) ? 1 : 0;
  }
  const size_t sent = 4 * calls.size();
  lost_frames += static_cast<unsigned>(sent - std::min(arrived, sent));
  for (const auto& [from, packet] : again) put(*from, packet);
  settle();
  repeated_packets += static_cast<unsigned>(again.size());
  repeated_packets_passed += static_cast<unsigned>(collect().size());
  ended += calls.size();
  for (const Attempt* a : calls) oracle_of(*a->line->caller).ended(1);
}

uint64_t EvaluationCast::counter(
    sluice::fabric::Counter sluice::fabric::WorkerCounters::*member) const {
  return (r.arena->counters(0).*member).get() + (r.arena->counters(1).*member).get();
}

bool EvaluationCast::wait_for_ends(uint64_t calls) {
  for (int i = 0; i < 100'000; ++i) {
    r.poll_workers();
    if (counter(&sluice::fabric::WorkerCounters::calls_closed) < calls) continue;
    // Their places may be taken once every worker has passed.
    settle();
    return true;
  }
  return false;
}

void EvaluationCast::renew_sessions() {
  if (r.clock.unix_ms() - connected_ms_ < kSessionMs) return;
  for (const auto& [name, agent] : r.agents) {
    if (name == "gone") continue;
    ASSERT_TRUE(r.connect(*agent)) << name;
  }
  connected_ms_ = r.clock.unix_ms();
}

}  // namespace rig
