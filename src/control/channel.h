// CONTROL frames to agents and their acknowledgements (wire.md §5): each message is repeated until
// the agent acknowledges it or its session ends. Owned and run by the control thread.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <unordered_map>

#include "control/relay_keys.h"
#include "control/session_table.h"
#include "control/trust_table.h"
#include "fabric/mailbox.h"

namespace sluice::pb {
class Control;
class Edge;
class Fetch;
class Lookup;
class Pending;
class Signed;
}  // namespace sluice::pb

namespace sluice::control {

struct ChannelCounts {
  uint64_t sent = 0;
  uint64_t repeated = 0;
  uint64_t acknowledged = 0;
  uint64_t given_up = 0;
  uint64_t malformed = 0;
  uint64_t received = 0;
};

// What agents ask of the relay; each asks again until it is answered, so nothing is kept for it.
struct ChannelRequests {
  std::function<void(uint32_t agent, uint64_t request, const pb::Signed&)> submit;
  std::function<void(uint32_t agent, uint64_t request, const pb::Lookup&)> lookup;
  std::function<void(uint32_t agent, uint64_t request, const pb::Fetch&)> fetch;
};

class Channel {
 public:
  Channel(const RelayKeys& keys, const Clock& clock, TrustTable& trust, SessionTable& sessions,
          fabric::Arena& arena, fabric::Mailboxes& mailboxes);

  // The agent's whole set of edges, replacing what waits of an earlier one.
  void sync_edges(uint32_t agent);
  // For an agent that may know nothing yet: the operator key, the relay's own, then its edges.
  void introduce(uint32_t agent);
  // Which tunnel key to greet from now on, replacing what waits of that; nothing while the relay
  // has its first one.
  void tell_relay_key(uint32_t agent);
  // A signed notice that `revoked` is no longer to be talked to.
  void notify_revoked(uint32_t agent, const AgentEntry& revoked);
  // The same to the revoked one itself, once and unacknowledged: its sessions are about to end.
  // False: it has no session that carries it, or the worker's ring is full.
  bool bid_farewell(const AgentEntry& revoked);
  // What waits for this agent is not sent any more.
  void silence(uint32_t agent) { remove(agent); }

  // A statement of somebody else that concerns the agent, as it was signed.
  void tell(uint32_t agent, Bytes signed_statement);
  // The agent's whole list of requests that wait, replacing what waits of an earlier one.
  void sync_pending(uint32_t agent, std::vector<pb::Pending> pending);

  void serve(ChannelRequests requests) { requests_ = std::move(requests); }
  // Sent once; the agent asks again if it is lost.
  void answer(uint32_t agent, uint64_t request, const pb::Control& body);

  // Takes CONTROL frames from the rings and sends what is due. True if it did something.
  bool poll();

  const ChannelCounts& counts() const { return counts_; }

 private:
  enum class Topic : uint8_t { kKey, kRelayKey, kEdges, kNotice, kPending };
  struct Message {
    uint64_t request_id;
    Topic topic;
    Buffer frame;
    uint64_t next_send = 0;
    unsigned tries = 0;
  };
  void enqueue(uint32_t agent, Topic topic, const pb::Control& body);
  void drop_topic(uint32_t agent, Topic topic);
  bool send(uint32_t agent, const Message& m);
  void receive(fabric::Parcel parcel);
  static std::optional<Message> message(Topic topic, uint64_t request, const pb::Control& body);
  pb::Edge edge_of(const EdgeEntry& e) const;
  pb::Control notice_of(const AgentEntry& revoked) const;

  const RelayKeys& keys_;
  const Clock& clock_;
  TrustTable& trust_;
  SessionTable& sessions_;
  fabric::Arena& arena_;
  fabric::Mailboxes& mailboxes_;
  struct Queue {
    std::deque<Message> messages;  // never empty
    uint64_t due = 0;              // ticks: when something of it is to be sent
  };
  void plan(uint32_t agent, Queue& queue, uint64_t due);
  void remove(uint32_t agent);
  bool serve(uint32_t agent, Queue& queue, uint64_t now);
  std::unordered_map<uint32_t, Queue> queues_;    // by agent
  std::set<std::pair<uint64_t, uint32_t>> plan_;  // the queues' due times and agents
  uint64_t next_request_;
  uint64_t next_sync_ = 1;
  std::string relay_key_;  // the Signed of `relay_key_told_ms_`
  uint64_t relay_key_told_ms_ = 0;
  ChannelRequests requests_;
  ChannelCounts counts_;
};

}  // namespace sluice::control
