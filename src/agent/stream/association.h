// One SCTP association between two agents (RFC 9260), whose packets travel end to end sealed in the
// CALL_DATA of their open calls (docs/protocol.md §7): reliable messages on many streams, under one
// congestion control. The wrapper around usrsctp, which nothing else includes. No I/O, no threads:
// packets go in and out through receive() and the hooks, time through tick(). One thread of the
// process owns all associations; hooks must not destroy one.
//
// An association that may not send (no call is open) is left alone: whatever it says then is lost,
// it never gives up by itself, and it goes on when its packets pass again.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "agent/now.h"
#include "base/bytes.h"

struct socket;

namespace sluice::agent {

// Which side greets: the one with the lower identity.
enum class AssociationPart : uint8_t { kConnects, kListens };

struct AssociationHooks {
  // One packet for the peer; `stream`: that of its first DATA chunk.
  std::function<void(Bytes packet, std::optional<uint16_t> stream)> send;
  std::function<void(uint16_t stream, Bytes message)> message;
};

class Association {
 public:
  static constexpr size_t kMostMessage = 16'384;
  static constexpr size_t kSendBuffer = 1u << 20;
  static constexpr uint32_t kReceiveWindow = 8u << 20;
  static constexpr unsigned kFirstStreams = 1'024;
  static constexpr unsigned kMostStreams = 65'535;

  // `packet_size`: the largest packet that the hook takes.
  Association(AssociationPart part, size_t packet_size, AssociationHooks hooks);
  ~Association();
  Association(const Association&) = delete;
  Association& operator=(const Association&) = delete;

  void receive(Bytes packet);
  void set_packet_size(size_t bytes);

  // Greeted and answered.
  bool up() const { return up_; }
  // The peer has lost it, or begun a new one: what was under way on its streams is gone. An
  // association that failed is of no more use.
  bool failed() const { return failed_; }
  unsigned restarts() const { return restarts_; }

  // Streams 0 to streams() - 1 may be sent on; more are there some time after they were asked for.
  unsigned streams() const { return streams_; }
  void ask_for_streams();
  // False: there is no room, or it is not up. `at_once`: it is to be acknowledged without delay.
  bool send(uint16_t stream, Bytes message, bool at_once);

  // The timers of all of them. Due every kTick while any has sent or heard something lately.
  static constexpr uint64_t kTickMs = 10;
  static void tick(uint64_t mono_ms);
  static uint64_t deadline();

 private:
  friend struct SctpStack;
  void open();
  void configure(struct socket* s, bool before);
  void close(struct socket*& s);
  void adopt();
  void on_notification(Bytes bytes);
  void output(Bytes packet);

  AssociationPart part_;
  AssociationHooks hooks_;
  uint64_t id_;
  struct socket* socket_ = nullptr;    // of the association
  struct socket* listener_ = nullptr;  // of kListens
  size_t packet_size_;
  bool up_ = false;
  bool failed_ = false;
  bool asked_ = false;  // for streams; not answered
  unsigned restarts_ = 0;
  unsigned streams_ = 0;
};

}  // namespace sluice::agent
