// CONTROL frames to agents and their acknowledgements (wire.md §5): each message is repeated until
// the agent acknowledges it or its session ends. Owned and run by the control thread.
#pragma once

#include <deque>
#include <map>

#include "control/relay_keys.h"
#include "control/session_table.h"
#include "control/trust_table.h"
#include "fabric/mailbox.h"

namespace sluice::pb {
class Control;
}

namespace sluice::control {

struct ChannelCounts {
  uint64_t sent = 0;
  uint64_t repeated = 0;
  uint64_t acknowledged = 0;
  uint64_t given_up = 0;
  uint64_t malformed = 0;
  uint64_t received = 0;
};

class Channel {
 public:
  Channel(const RelayKeys& keys, const Clock& clock, TrustTable& trust, SessionTable& sessions,
          fabric::Arena& arena, fabric::Mailboxes& mailboxes);

  // The agent's whole set of edges, replacing what waits of an earlier one.
  void sync_edges(uint32_t agent);
  // For an agent that may know nothing yet: the operator key, then its edges.
  void introduce(uint32_t agent);
  // A signed notice that `revoked` is no longer to be talked to.
  void notify_revoked(uint32_t agent, const AgentEntry& revoked);

  // Takes CONTROL frames from the rings and sends what is due. True if it did something.
  bool poll();

  const ChannelCounts& counts() const { return counts_; }

 private:
  enum class Topic : uint8_t { kKey, kEdges, kNotice };
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

  const RelayKeys& keys_;
  const Clock& clock_;
  TrustTable& trust_;
  SessionTable& sessions_;
  fabric::Arena& arena_;
  fabric::Mailboxes& mailboxes_;
  std::map<uint32_t, std::deque<Message>> queues_;  // by agent
  uint64_t next_request_;
  uint64_t next_sync_ = 1;
  uint64_t next_round_ = 0;
  ChannelCounts counts_;
};

}  // namespace sluice::control
