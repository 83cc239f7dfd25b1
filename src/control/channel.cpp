#include "control/channel.h"

#include <algorithm>

#include "base/log.h"
#include "control.pb.h"
#include "control/statement_check.h"
#include "wire/frame.h"
#include "wire/tunnel.h"

namespace sluice::control {
namespace {

constexpr size_t kWindow = 16;            // messages in flight per agent
constexpr uint64_t kFirstRepeatMs = 100;  // doubles up to the longest
constexpr uint64_t kLongestRepeatMs = 2000;
constexpr uint64_t kNoRoomMs = 5;  // the ring to the worker was full
constexpr unsigned kQueuesPerPoll = 256;
constexpr size_t kMostMessages = 256;
constexpr unsigned kFramesPerPoll = 128;
constexpr size_t kMostRotations = 8;  // told of a peer: with these an edge still fits a part
constexpr size_t kPartBytes = 1000;   // leaves room for the message around the edges

}  // namespace

Channel::Channel(const RelayKeys& keys, const Clock& clock, TrustTable& trust,
                 SessionTable& sessions, fabric::Arena& arena, fabric::Mailboxes& mailboxes)
    : keys_(keys),
      clock_(clock),
      trust_(trust),
      sessions_(sessions),
      arena_(arena),
      mailboxes_(mailboxes),
      next_request_(crypto::random_u64()) {}

std::optional<Channel::Message> Channel::message(Topic topic, uint64_t request,
                                                 const pb::Control& body) {
  const std::string bytes = body.SerializeAsString();
  if (bytes.size() > wire::kControlMax) {
    spdlog::error("a control message of {} bytes does not fit in a frame", bytes.size());
    return std::nullopt;
  }
  Message m{request, topic, Buffer(sizeof(wire::FrameHeader) + bytes.size())};
  wire::write_frame(m.frame.data(), {uint8_t(wire::FrameType::kControl), 0,
                                     static_cast<uint16_t>(bytes.size()), 0, request});
  std::memcpy(m.frame.data() + sizeof(wire::FrameHeader), bytes.data(), bytes.size());
  return m;
}

void Channel::enqueue(uint32_t agent, Topic topic, const pb::Control& body) {
  if (!sessions_.has_session(agent)) return;  // it learns everything when it connects
  if (trust_.agent(agent).revoked) return;    // but for its farewell it learns nothing
  auto m = message(topic, next_request_++, body);
  if (!m) return;
  Queue& queue = queues_[agent];
  queue.messages.push_back(std::move(*m));
  plan(agent, queue, clock_.ticks());
}

void Channel::plan(uint32_t agent, Queue& queue, uint64_t due) {
  plan_.erase({queue.due, agent});
  queue.due = due;
  plan_.insert({due, agent});
}

void Channel::remove(uint32_t agent) {
  const auto it = queues_.find(agent);
  if (it == queues_.end()) return;
  plan_.erase({it->second.due, agent});
  queues_.erase(it);
}

void Channel::answer(uint32_t agent, uint64_t request, const pb::Control& body) {
  if (const auto m = message(Topic::kNotice, request, body)) (void)send(agent, *m);
}

void Channel::drop_topic(uint32_t agent, Topic topic) {
  const auto it = queues_.find(agent);
  if (it == queues_.end()) return;
  std::erase_if(it->second.messages, [&](const Message& m) { return m.topic == topic; });
  if (it->second.messages.empty()) remove(agent);
}

pb::Edge Channel::edge_of(const EdgeEntry& e) const {
  const AgentEntry& peer = trust_.agent(e.to);
  pb::Edge edge;
  edge.set_label(e.label);
  edge.set_peer(peer.identity.data(), peer.identity.size());
  edge.set_address(peer.address.to_u64());
  edge.set_name(peer.name);
  edge.set_right(static_cast<pb::Right>(e.terms.right));
  edge.set_seal(static_cast<pb::SealPolicy>(e.terms.seal));
  // Without it the agent shows the peer as refused until it has told its own.
  if (!peer.enrol.empty() && peer.enrolled_as_itself()) {
    edge.mutable_peer_enrol()->ParseFromArray(peer.enrol.data(),
                                              static_cast<int>(peer.enrol.size()));
  }
  if (e.agreement == 0) return edge;
  const Agreement& g = *trust_.agreement(pair_key(e.from, e.to));
  edge.set_request(g.request.data(), g.request.size());
  edge.set_grant(g.grant.data(), g.grant.size());
  edge.set_expires_ms(g.ends_ms);
  // What leads from the identity that those statements name to the present one. No clock says which
  // of them came later than the pair, so it may be more than is needed.
  const size_t n = peer.formers.size();
  for (size_t i = n - std::min(n, kMostRotations); i < n; ++i) {
    const Digest& digest = peer.formers[i].statement;
    edge.add_rotations(digest.data(), digest.size());
  }
  return edge;
}

void Channel::sync_edges(uint32_t agent) {
  drop_topic(agent, Topic::kEdges);
  std::vector<pb::EdgeSync> parts(1);
  size_t bytes = 0;
  for (const EdgeEntry& e : trust_.edges_of(agent)) {
    pb::Edge edge = edge_of(e);
    const size_t size = edge.ByteSizeLong() + 4;
    if (bytes != 0 && bytes + size > kPartBytes) {
      parts.emplace_back();
      bytes = 0;
    }
    *parts.back().add_edges() = std::move(edge);
    bytes += size;
  }
  const uint64_t sync_id = next_sync_++;
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].set_sync_id(sync_id);
    parts[i].set_part(static_cast<uint32_t>(i));
    parts[i].set_parts(static_cast<uint32_t>(parts.size()));
    pb::Control body;
    *body.mutable_edge_sync() = std::move(parts[i]);
    enqueue(agent, Topic::kEdges, body);
  }
}

// One request a part: each may be nearly as long as a frame.
void Channel::sync_pending(uint32_t agent, std::vector<pb::Pending> pending) {
  drop_topic(agent, Topic::kPending);
  const uint64_t sync_id = next_sync_++;
  const auto parts = static_cast<uint32_t>(std::max<size_t>(pending.size(), 1));
  for (uint32_t i = 0; i < parts; ++i) {
    pb::Control body;
    pb::PendingSync& part = *body.mutable_pending();
    part.set_sync_id(sync_id);
    part.set_part(i);
    part.set_parts(parts);
    if (i < pending.size()) *part.add_pending() = std::move(pending[i]);
    enqueue(agent, Topic::kPending, body);
  }
}

void Channel::tell(uint32_t agent, Bytes signed_statement) {
  // Of an agent that acknowledges nothing the oldest go.
  if (const auto it = queues_.find(agent);
      it != queues_.end() && it->second.messages.size() >= kMostMessages) {
    const auto old = std::find_if(it->second.messages.begin(), it->second.messages.end(),
                                  [](const Message& m) { return m.topic == Topic::kNotice; });
    if (old != it->second.messages.end()) it->second.messages.erase(old);
  }
  pb::Control body;
  body.mutable_told()->ParseFromArray(signed_statement.data(),
                                      static_cast<int>(signed_statement.size()));
  enqueue(agent, Topic::kNotice, body);
}

void Channel::introduce(uint32_t agent) {
  drop_topic(agent, Topic::kKey);
  pb::Control body;
  const auto& key = keys_.operator_key.public_key();
  body.mutable_operator_key()->set_key(key.data(), key.size());
  enqueue(agent, Topic::kKey, body);
  tell_relay_key(agent);
  sync_edges(agent);
}

void Channel::tell_relay_key(uint32_t agent) {
  drop_topic(agent, Topic::kRelayKey);
  if (!keys_.change) return;
  const RelayKeyRow& row = *keys_.change;
  if (relay_key_told_ms_ != row.told_ms) {
    const pb::Signed s = operator_statement(keys_, 0, row.told_ms, [&](pb::Statement& statement) {
      pb::RelayKey& key = *statement.mutable_relay_key_change();
      key.set_key(row.key.data(), row.key.size());
      key.set_replaced(row.replaced.data(), row.replaced.size());
      key.set_replaced_until_ms(row.replaced_until_ms);
    });
    relay_key_ = s.SerializeAsString();
    relay_key_told_ms_ = row.told_ms;
  }
  pb::Control body;
  body.mutable_relay_key()->ParseFromString(relay_key_);
  enqueue(agent, Topic::kRelayKey, body);
}

pb::Control Channel::notice_of(const AgentEntry& revoked) const {
  pb::Control body;
  *body.mutable_revoked() = operator_statement(
      keys_, revoked.address.tenant, clock_.unix_ms(), [&](pb::Statement& statement) {
        pb::TrustRevoke& revoke = *statement.mutable_trust_revoke();
        revoke.set_identity(revoked.identity.data(), revoked.identity.size());
        revoke.set_reason(revoked.revoked_reason);
      });
  return body;
}

void Channel::notify_revoked(uint32_t agent, const AgentEntry& revoked) {
  enqueue(agent, Topic::kNotice, notice_of(revoked));
}

bool Channel::bid_farewell(const AgentEntry& revoked) {
  const auto m = message(Topic::kNotice, next_request_++, notice_of(revoked));
  return m && send(revoked.index, *m);
}

bool Channel::send(uint32_t agent, const Message& m) {
  const fabric::Agent& record = arena_.agents()[agent];
  const uint32_t session = record.session.load(std::memory_order_relaxed);
  if (session == fabric::kNone) return false;
  return mailboxes_.send_frame(record.owner.load(std::memory_order_relaxed), session,
                               arena_.sessions()[session].generation, m.frame);
}

bool Channel::poll() {
  bool busy = false;
  for (unsigned i = 0; i < kFramesPerPoll; ++i) {
    fabric::Parcel parcel = mailboxes_.take_frame();
    if (!parcel) break;
    busy = true;
    receive(std::move(parcel));
  }
  const uint64_t now = clock_.ticks();
  for (unsigned i = 0; i < kQueuesPerPoll && !plan_.empty() && plan_.begin()->first <= now; ++i) {
    const uint32_t agent = plan_.begin()->second;
    Queue& queue = queues_.at(agent);
    if (!sessions_.has_session(agent)) {
      counts_.given_up += queue.messages.size();
      remove(agent);
      continue;
    }
    busy = serve(agent, queue, now) || busy;
  }
  return busy;
}

// Sends what is due of the first messages, and plans the next time.
bool Channel::serve(uint32_t agent, Queue& queue, uint64_t now) {
  bool busy = false;
  uint64_t next = UINT64_MAX;
  for (size_t i = 0; i < std::min(queue.messages.size(), kWindow); ++i) {
    Message& m = queue.messages[i];
    if (m.next_send <= now) {
      if (send(agent, m)) {
        busy = true;
        ++(m.tries == 0 ? counts_.sent : counts_.repeated);
        const uint64_t pause = std::min(kLongestRepeatMs, kFirstRepeatMs << std::min(m.tries, 10u));
        m.next_send = now + clock_.ticks_from_ms(pause);
        ++m.tries;
      } else {
        m.next_send = now + clock_.ticks_from_ms(kNoRoomMs);
      }
    }
    next = std::min(next, m.next_send);
  }
  plan(agent, queue, next);
  return busy;
}

void Channel::receive(fabric::Parcel parcel) {
  ++counts_.received;
  const fabric::PacketMeta& meta = parcel.meta();
  const auto entry = sessions_.entries().find(meta.session);
  if (entry == sessions_.entries().end() || entry->second.generation != meta.generation) return;
  // meta.payload is the whole opened packet: outer header, tag, then the frame.
  const MutBytes packet = parcel.payload();
  const uint8_t* frame = packet.data() + wire::kDataRegion;
  const wire::FrameHeader header = wire::read_frame(frame);
  pb::Control body;
  if (!body.ParseFromArray(frame + sizeof header, header.extension_length)) {
    ++counts_.malformed;
    return;
  }
  const uint32_t agent = entry->second.agent;
  if (trust_.agent(agent).revoked) return;  // its session lives a moment longer than its rights
  if (body.has_submit() && requests_.submit) {
    return requests_.submit(agent, header.call_id, body.submit());
  }
  if (body.has_lookup() && requests_.lookup) {
    return requests_.lookup(agent, header.call_id, body.lookup());
  }
  if (body.has_fetch() && requests_.fetch) {
    return requests_.fetch(agent, header.call_id, body.fetch());
  }
  if (!body.has_ack()) {
    ++counts_.malformed;
    return;
  }
  const auto queue = queues_.find(agent);
  if (queue == queues_.end()) return;
  counts_.acknowledged += std::erase_if(
      queue->second.messages, [&](const Message& m) { return m.request_id == header.call_id; });
  if (queue->second.messages.empty()) remove(agent);
}

}  // namespace sluice::control
