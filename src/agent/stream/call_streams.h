// The calls of one pair of agents on its association (docs/protocol.md §7): which stream is which
// call, whose turn it is, what carries a packet. A stream serves one call after another: `end` and
// `begin` stand in it in order, so that none has to be reset. No I/O and no clock. One thread,
// owned by a Calls.
//
// In front of each packet stands which run of the two daemons it is of, so that neither takes the
// other's successor for the one it had an association with.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "agent/carrier.h"
#include "agent/stream/association.h"
#include "wire/stream.h"

namespace sluice::agent {

class Call;

struct CallName {  // of one pair
  uint64_t id = 0;
  bool own = false;  // opened by this agent
  friend bool operator==(const CallName&, const CallName&) = default;
};
struct CallNameHash {
  size_t operator()(const CallName& n) const {
    return std::hash<uint64_t>()(n.id * 2 + (n.own ? 1 : 0));
  }
};

struct StreamHooks {
  std::function<Call*(const CallName&)> find;  // live ones
  // Sealed end to end, in that call's CALL_DATA.
  std::function<void(const Carrier&, Bytes packet)> packet;
  std::function<bool()> room;
  // The peer's new association knows nothing of the streams that this call had.
  std::function<void(Call&)> lost;
};

class CallStreams {
 public:
  // Of calls whose CALL_OPEN has not come, and what is kept of all of them.
  static constexpr size_t kMostOrphans = 1'024;
  static constexpr size_t kMostOrphaned = 16u << 20;

  // An association that was silent for longer may be one that its peer has lost: a call's first
  // message alone is risked on it, until something comes back.
  static constexpr uint64_t kFreshMs = 1'000;

  // `run`: of this daemon, drawn at its start, not 0.
  CallStreams(AssociationPart part, uint32_t run, StreamHooks hooks)
      : part_(part), run_(run), hooks_(std::move(hooks)) {}

  // A call of the pair may carry packets from now on, or may not.
  void carries(const CallName& name);
  void carries_no_more(const CallName& name);
  // The call has something to say; again and again until it was said.
  void ready(Call& call);
  // It is over; what is left of its stream is ended in its place.
  void forget(const CallName& name, struct PipeOut& out);
  // What came on streams before the call's CALL_OPEN.
  void take_orphans(Call& call, Now now);

  // `body` of a MessageKind::kPacket, of at most `body_size`.
  void on_packet(Bytes body, size_t body_size, Now now);
  // Hands over what there is room for; makes the association where one is missing.
  void pump(size_t body_size, Now now);
  bool wants() const {
    return !ready_.empty() || !abandoned_.empty() || wants_association() || !sack_.empty();
  }
  std::optional<Carrier> carrier(std::optional<CallName> wanted) const;
  size_t carriers() const { return open_.size(); }
  const Association* association() const { return association_.get(); }

 private:
  struct Orphan {
    uint64_t call_id;
    std::vector<Buffer> messages;
    size_t bytes;
    uint64_t since_ms;
  };
  // The side that connects does so for calls of either.
  bool wants_association() const {
    return part_ == AssociationPart::kConnects && !association_ && !open_.empty();
  }
  void make(size_t body_size);
  void reset();
  void drop();
  bool fresh() const { return heard_ms_ && now_.mono_ms < *heard_ms_ + kFreshMs; }
  void send(const Carrier& carrier, Bytes packet);
  void output(Bytes packet, std::optional<uint16_t> stream);
  void say_sack();
  void say_run();
  void on_message(uint16_t stream, Bytes message);
  void keep_orphan(uint16_t stream, const wire::StreamMessage& m, Bytes message);
  enum class Turn : uint8_t { kDone, kMore, kNoRoom, kNotYet };
  Turn say(Call& call);
  std::optional<uint16_t> take_stream();

  AssociationPart part_;
  uint32_t run_;
  uint32_t peer_run_ = 0;  // 0: not known
  StreamHooks hooks_;
  std::unique_ptr<Association> association_;
  unsigned restarts_ = 0;
  Now now_;
  bool receiving_ = false;
  std::optional<uint64_t> heard_ms_;     // of the association
  std::optional<uint64_t> said_run_ms_;  // to somebody who may take this daemon for an earlier one
  std::vector<CallName> open_;           // what carries; the newest last
  std::unordered_map<CallName, size_t, CallNameHash> open_at_;
  std::deque<CallName> ready_;
  std::vector<std::optional<CallName>> out_;  // by outgoing stream
  std::vector<uint16_t> free_;
  std::deque<uint16_t> abandoned_;  // begun, to be ended for calls that are gone
  std::unordered_map<uint16_t, CallName> in_;
  std::unordered_map<uint16_t, Orphan> orphans_;
  size_t orphaned_ = 0;
  Buffer scratch_, body_;
  Buffer sack_;  // the latest of a packet that says nothing else; each says all of those before
};

}  // namespace sluice::agent
