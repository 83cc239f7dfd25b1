#include "pktgen/connector.h"

#include <fmt/format.h>

#include "control.pb.h"

namespace sluice::pktgen {
namespace {

constexpr uint64_t kFirstPauseMs = 500;
constexpr uint64_t kLongestPauseMs = 4000;
constexpr uint64_t kHelloLifeMs = 4500;  // then a fresh one, as an agent does
constexpr uint8_t kConfirmations = 4;
constexpr uint8_t kCookiesTaken = 4;
// At one time: each new one takes a third of a millisecond while answers wait, and a relay looks at
// 16 of a burst, so repetitions in step would lose each other again and again.
constexpr int kHellosPerPoll = 4;

wire::FrameHeader frame_of(wire::FrameType type, uint16_t extension, uint64_t call) {
  return {uint8_t(type), 0, extension, 0, call};
}

uint64_t pause(uint8_t tries) {
  return std::min(kLongestPauseMs, kFirstPauseMs << std::min<uint8_t>(tries, 4));
}

}  // namespace

Connector::Connector(const FleetOptions& options, const KeySource& keys, const Clock& clock,
                     std::vector<Mailbox*> mailboxes, std::vector<FlowTable*> tables)
    : options_(options),
      keys_(keys),
      clock_(clock),
      mailboxes_(std::move(mailboxes)),
      tables_(std::move(tables)),
      sessions_(options.population.agents),
      began_ms_(clock.unix_ms()),
      renewal_at_ms_(began_ms_) {
  for (uint32_t i = 0; i < sessions_.size(); ++i) to_greet_.push_back(i);
}

Connector::~Connector() = default;

bool Connector::poll() {
  const uint64_t now_ms = clock_.unix_ms();
  bool any = false;
  for (size_t d = 0; d < mailboxes_.size(); ++d) {
    any |= mailboxes_[d]->receive([&](const Note& note, Bytes data) {
      const uint64_t agent = uint64_t{note.local} * mailboxes_.size() + d;
      if (agent >= sessions_.size()) return;
      if (note.kind == NoteKind::kControl) {
        read_control(static_cast<uint32_t>(agent), note.request, data, now_ms);
      } else {
        read_greeting(static_cast<uint32_t>(agent), data, now_ms);
      }
    });
  }
  check_timers(now_ms);
  start_greetings(now_ms);
  start_renewals(now_ms);
  return any;
}

void Connector::start_greetings(uint64_t now_ms) {
  for (int i = 0; i < kHellosPerPoll && !to_greet_.empty() && waiting_.size() < options_.window;
       ++i) {
    const uint32_t agent = to_greet_.front();
    to_greet_.pop_front();
    greet(agent, now_ms);
  }
}

void Connector::start_renewals(uint64_t now_ms) {
  renewal_tokens_ =
      std::min(4.0, renewal_tokens_ + double(now_ms - renewal_at_ms_) / 1000 * options_.rekey_rate);
  renewal_at_ms_ = now_ms;
  while (renewal_tokens_ >= 1 && !by_age_.empty() && waiting_.size() < options_.window) {
    const uint32_t agent = by_age_.front();
    const AgentSession& s = sessions_[agent];
    if (now_ms < s.born_ms + uint64_t(options_.rekey_age_s * 1000)) return;
    by_age_.pop_front();
    if (s.standing != Standing::kUp || s.greeting) continue;
    renewal_tokens_ -= 1;
    greet(agent, now_ms);
  }
}

uint64_t Connector::hello_time(AgentSession& s) {
  const auto relay_ms = static_cast<uint64_t>(int64_t(clock_.unix_ms()) + time_offset_ms_);
  return s.last_time_ms = std::max(relay_ms, s.last_time_ms + 1);
}

void Connector::greet(uint32_t agent, uint64_t now_ms) {
  AgentSession& s = sessions_[agent];
  const bool renewal = s.standing == Standing::kUp;
  s.greeting = std::make_unique<Greeting>(keys_.agent(agent), options_.relay_key,
                                          make_index(local_of(agent), s.next_generation()),
                                          renewal ? s.relay_index : 0, hello_time(s));
  s.greeting->made_ms = now_ms;
  if (!renewal) s.standing = Standing::kGreeting;
  waiting_.insert(agent);
  send_hello(agent, now_ms);
}

void Connector::send_hello(uint32_t agent, uint64_t now_ms) {
  AgentSession& s = sessions_[agent];
  const Flow& f = tables_[device_of(agent)]->flows[local_of(agent)];
  const Bytes hello = s.greeting->handshake.hello();
  Buffer frame(f.header_size + hello.size() + 64);
  write_headers(f, frame.data(), static_cast<uint16_t>(hello.size()));
  std::copy(hello.begin(), hello.end(), frame.begin() + f.header_size);
  frame.resize(f.header_size + hello.size());
  if (f.header_size == 62) {
    wire::finish_udp_checksum(frame.data(), true, static_cast<uint16_t>(hello.size()));
  }
  mailboxes_[device_of(agent)]->send_raw(local_of(agent), frame);
  s.due_ms = now_ms + pause(s.tries);
}

void Connector::read_greeting(uint32_t agent, Bytes packet, uint64_t now_ms) {
  AgentSession& s = sessions_[agent];
  if (!s.greeting) return;
  ++answers_;
  if (const auto cookie = s.greeting->handshake.read_retry(packet)) {
    if (s.greeting->cookies++ >= kCookiesTaken) return;
    ++stats_.cookies;
    s.greeting->handshake.use_cookie(*cookie);
    return send_hello(agent, now_ms);
  }
  const auto answer = s.greeting->handshake.read_welcome(packet);
  if (!answer) return;
  if (answer->keys) return welcome(agent, *answer, now_ms);
  // The relay refused our time and tells its own.
  time_offset_ms_ = int64_t(answer->payload.relay_time_ms) - int64_t(clock_.unix_ms());
  s.greeting.reset();
  s.due_ms = now_ms + pause(s.tries++);
}

void Connector::welcome(uint32_t agent, const agent::Welcome& answer, uint64_t now_ms) {
  AgentSession& s = sessions_[agent];
  KeyMessage keys;
  keys.relay_index = answer.payload.sender;
  keys.generation = s.next_generation();
  keys.send = take<32>(answer.keys->send.data());
  keys.receive = take<32>(answer.keys->receive.data());
  keys.send_salt = answer.keys->send_salt;
  keys.receive_salt = answer.keys->receive_salt;
  const bool posted = mailboxes_[device_of(agent)]->send_keys(local_of(agent), keys);
  crypto::wipe(&keys, sizeof keys);
  // As if the WELCOME had been lost: the same HELLO brings it again.
  if (!posted) return;
  const bool renewal = s.standing == Standing::kUp;
  s.greeting.reset();
  s.generation = s.next_generation();
  s.relay_index = answer.payload.sender;
  s.born_ms = now_ms;
  s.tries = 0;
  ++stats_.sessions;
  stats_.rekeys += renewal;
  if (!renewal) s.standing = Standing::kConfirming;
  by_age_.push_back(agent);
  confirm(agent, now_ms);
  if (!renewal) return;
  waiting_.erase(agent);
  repeats_.push_back({now_ms + kFirstPauseMs, agent, kConfirmations});
}

void Connector::confirm(uint32_t agent, uint64_t now_ms) {
  AgentSession& s = sessions_[agent];
  mailboxes_[device_of(agent)]->send_frame(local_of(agent),
                                           frame_of(wire::FrameType::kKeepalive, 0, 0), {});
  s.due_ms = now_ms + kFirstPauseMs;
}

void Connector::check_timers(uint64_t now_ms) {
  int sent = 0;
  for (auto it = waiting_.begin(); it != waiting_.end() && sent < kHellosPerPoll;) {
    const uint32_t agent = *it;
    AgentSession& s = sessions_[agent];
    ++it;
    if (now_ms < s.due_ms) continue;
    ++sent;
    ++s.tries;
    if (s.greeting && now_ms < s.greeting->made_ms + kHelloLifeMs) {
      ++stats_.retries;
      send_hello(agent, now_ms);
    } else if (s.greeting || s.standing == Standing::kGreeting) {
      stats_.retries += s.greeting != nullptr;
      greet(agent, now_ms);
    } else if (s.tries >= 2 * kConfirmations) {
      s.tries = 0;
      greet(agent, now_ms);
    } else {
      confirm(agent, now_ms);
    }
  }
  while (!repeats_.empty() && repeats_.front().due_ms <= now_ms) {
    Repeat r = repeats_.front();
    repeats_.pop_front();
    confirm(r.agent, now_ms);
    r.due_ms = now_ms + kFirstPauseMs;
    if (--r.left != 0) repeats_.push_back(r);
  }
}

void Connector::read_control(uint32_t agent, uint64_t request, Bytes message, uint64_t now_ms) {
  pb::Control control;
  if (!control.ParseFromArray(message.data(), static_cast<int>(message.size()))) return;
  AgentSession& s = sessions_[agent];
  const std::string peer = agent_name(options_.population.peer_of(agent));
  Mailbox& box = *mailboxes_[device_of(agent)];
  for (const auto& edge : control.edge_sync().edges()) {
    if (edge.name() != peer || !box.send_label(local_of(agent), edge.label())) continue;
    if (s.standing != Standing::kConfirming) continue;
    s.standing = Standing::kUp;
    s.tries = 0;
    waiting_.erase(agent);
    if (++up_ == sessions_.size()) stats_.seconds = double(now_ms - began_ms_) / 1000;
  }
  if (control.has_ack()) return;
  pb::Control ack;
  ack.mutable_ack();
  const std::string text = ack.SerializeAsString();
  box.send_frame(local_of(agent),
                 frame_of(wire::FrameType::kControl, static_cast<uint16_t>(text.size()), request),
                 as_bytes(text));
}

std::string Connector::complaint() const {
  if (answers_ == 0) {
    return "the relay answered no HELLO: compare --relay-key with its key and its trust section "
           "with what `sluice-pktgen trust` prints for this seed file, and see its counters";
  }
  if (stats_.sessions > up_) {
    return fmt::format(
        "{} agents have a session but no edge to their peer: compare --pairs and --tenants with "
        "those given to `trust`, and see the relay's limits",
        stats_.sessions - up_);
  }
  return "the relay answers too slowly, or does not know the rest: compare --agents with what "
         "`trust` got, see its counters, or raise --connect-timeout";
}

}  // namespace sluice::pktgen
