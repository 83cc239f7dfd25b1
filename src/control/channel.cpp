#include "control/channel.h"

#include <algorithm>

#include "base/log.h"
#include "control.pb.h"
#include "wire/frame.h"
#include "wire/statement.h"
#include "wire/tunnel.h"

namespace sluice::control {
namespace {

constexpr size_t kWindow = 16;            // messages in flight per agent
constexpr uint64_t kFirstRepeatMs = 100;  // doubles up to the longest
constexpr uint64_t kLongestRepeatMs = 2000;
constexpr uint64_t kRoundMs = 5;
constexpr unsigned kFramesPerPoll = 128;
constexpr size_t kPartBytes = 1000;  // leaves room for the message around the edges

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

void Channel::enqueue(uint32_t agent, Topic topic, const pb::Control& body) {
  if (!sessions_.has_session(agent)) return;  // it learns everything when it connects
  const std::string bytes = body.SerializeAsString();
  if (bytes.size() > wire::kControlMax) {
    spdlog::error("a control message of {} bytes does not fit in a frame", bytes.size());
    return;
  }
  Message m{next_request_++, topic, Buffer(sizeof(wire::FrameHeader) + bytes.size())};
  wire::write_frame(m.frame.data(), {uint8_t(wire::FrameType::kControl), 0,
                                     static_cast<uint16_t>(bytes.size()), 0, m.request_id});
  std::memcpy(m.frame.data() + sizeof(wire::FrameHeader), bytes.data(), bytes.size());
  queues_[agent].push_back(std::move(m));
  next_round_ = 0;
}

void Channel::drop_topic(uint32_t agent, Topic topic) {
  const auto it = queues_.find(agent);
  if (it == queues_.end()) return;
  std::erase_if(it->second, [&](const Message& m) { return m.topic == topic; });
}

void Channel::sync_edges(uint32_t agent) {
  drop_topic(agent, Topic::kEdges);
  std::vector<pb::EdgeSync> parts(1);
  size_t bytes = 0;
  for (const EdgeEntry& e : trust_.edges_of(agent)) {
    const AgentEntry& peer = trust_.agent(e.to);
    pb::Edge edge;
    edge.set_label(e.label);
    edge.set_peer(peer.identity.data(), peer.identity.size());
    edge.set_address(peer.address.to_u64());
    edge.set_name(peer.name);
    edge.set_right(static_cast<pb::Right>(e.terms.right));
    edge.set_seal(static_cast<pb::SealPolicy>(e.terms.seal));
    edge.mutable_peer_enrol()->ParseFromArray(peer.enrol.data(),
                                              static_cast<int>(peer.enrol.size()));
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

void Channel::introduce(uint32_t agent) {
  drop_topic(agent, Topic::kKey);
  pb::Control body;
  const auto& key = keys_.operator_key.public_key();
  body.mutable_operator_key()->set_key(key.data(), key.size());
  enqueue(agent, Topic::kKey, body);
  sync_edges(agent);
}

void Channel::notify_revoked(uint32_t agent, const AgentEntry& revoked) {
  pb::Statement statement;
  statement.set_version(1);
  statement.set_relay_key(keys_.tunnel.public_key.data(), keys_.tunnel.public_key.size());
  statement.set_tenant(revoked.address.tenant);
  statement.set_issued_ms(clock_.unix_ms());
  statement.mutable_trust_revoke()->set_identity(revoked.identity.data(), revoked.identity.size());
  statement.mutable_trust_revoke()->set_reason(revoked.revoked_reason);
  const std::string bytes = wire::encode_statement(statement);
  const auto signature = keys_.operator_key.sign(crypto::kLabelStatement, {as_bytes(bytes)});
  pb::Control body;
  pb::Signed& s = *body.mutable_revoked();
  s.set_statement(bytes);
  s.set_signer(keys_.operator_key.public_key().data(), 32);
  s.set_signature(signature.data(), signature.size());
  enqueue(agent, Topic::kNotice, body);
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
  if (now < next_round_) return busy;
  next_round_ = now + clock_.ticks_from_ms(kRoundMs);
  for (auto it = queues_.begin(); it != queues_.end();) {
    auto& [agent, queue] = *it;
    if (queue.empty() || !sessions_.has_session(agent)) {
      counts_.given_up += queue.size();
      it = queues_.erase(it);
      continue;
    }
    for (size_t i = 0; i < std::min(queue.size(), kWindow); ++i) {
      Message& m = queue[i];
      if (m.next_send > now || !send(agent, m)) continue;
      busy = true;
      ++(m.tries == 0 ? counts_.sent : counts_.repeated);
      const uint64_t pause = std::min(kLongestRepeatMs, kFirstRepeatMs << std::min(m.tries, 10u));
      m.next_send = now + clock_.ticks_from_ms(pause);
      ++m.tries;
    }
    ++it;
  }
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
  if (!body.ParseFromArray(frame + sizeof header, header.extension_length) || !body.has_ack()) {
    ++counts_.malformed;
    return;
  }
  const auto queue = queues_.find(entry->second.agent);
  if (queue == queues_.end()) return;
  counts_.acknowledged += std::erase_if(
      queue->second, [&](const Message& m) { return m.request_id == header.call_id; });
}

}  // namespace sluice::control
