// The agent's side of trust (docs/protocol.md §5): makes and signs statements, repeats them until
// the relay answers, keeps the list of requests that wait, and holds every agreed edge against the
// statements that both agents signed. No I/O, no clock; one thread; answers must not call back in.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/edges.h"
#include "agent/now.h"
#include "agent/pins.h"
#include "agent/report.h"
#include "base/address.h"
#include "control.pb.h"
#include "crypto/x25519.h"

namespace sluice::agent {

struct TrustParty {
  const crypto::Identity* identity = nullptr;  // outlive the desk
  const crypto::X25519KeyPair* e2e_key = nullptr;
  ByteArray<32> relay_id{};
  std::string name;  // what peers may call this agent
};

// What is asked of a peer, and offered to it.
struct TrustWish {
  crypto::PublicKey to{};
  std::string justification;
  pb::Terms asked;
  pb::Terms offered;
  uint64_t life_ms = 0;  // 0: no end
};

// How often the requester may call in a period that begins with a call; 0 calls: any number.
struct TrustQuota {
  uint32_t calls = 0;
  uint32_t period_s = 0;
};

// A request that waits, as its requester signed it.
struct WaitingTrust {
  ByteArray<32> digest{};
  bool incoming = false;
  crypto::PublicKey peer{};
  std::string peer_name;  // of incoming ones, as the relay has it
  VirtualAddress peer_address;
  pb::TrustRequest request;
  uint64_t received_ms = 0;
  uint64_t expires_ms = 0;
};

struct FoundPeer {
  crypto::PublicKey identity{};
  VirtualAddress address;
  std::string name;
};

struct TrustHooks {
  // A CONTROL frame's extension; false: there is no session now.
  std::function<bool(uint64_t request, Bytes message)> send;
  Report report;
};

// A statement that the relay has taken.
struct Submitted {
  ByteArray<32> digest{};
  bool agreed = false;  // it made a pair
};

class TrustDesk {
 public:
  using Done = std::function<void(Result<Submitted>)>;

  TrustDesk(TrustParty party, Pins& pins, TrustHooks hooks, std::function<uint64_t()> random);

  // At every new session: who we are there, and the time it keeps.
  void connected(VirtualAddress self, Now relay_now);
  // A new relay epoch: what waits comes again.
  void forget();

  void ask(const TrustWish& wish, Now now, Done done);
  // `waiting` is one of incoming(); with `life_ms` 0 the request's own end holds.
  void approve(const WaitingTrust& waiting, uint64_t life_ms, const TrustQuota& quota, Now now,
               Done done);
  void reject(const WaitingTrust& waiting, const std::string& reason, Now now, Done done);
  void take_back(const WaitingTrust& waiting, Now now, Done done);
  void untrust(const PeerEdge& edge, const std::string& reason, Now now, Done done);
  void set_visibility(bool visible, Now now, Done done);
  // This agent goes on as `successor`, whose secret it holds.
  void rotate_identity(const crypto::Identity& successor, Now now, Done done);
  // It does: what it says of itself is said anew, and what waits is the former one's.
  void identity_changed(Now now);
  // By name within the tenant, or by address; kNotFound says no more than that.
  void look_up(const std::string& text, Now now, std::function<void(Result<FoundPeer>)> done);

  const std::vector<WaitingTrust>& waiting() const { return waiting_; }

  // Of the relay's messages those that are the desk's. True: it wants an Ack.
  bool receive(uint64_t request, const pb::Control& message, Now now);
  // Asks for the statements of agreed edges that are not verified yet.
  void check(const std::vector<PeerEdge>& edges, Now now);
  // Whether both agents' statements have been seen for this edge.
  bool is_verified(const PeerEdge& edge) const;

  void tick(Now now);
  uint64_t deadline() const;

 private:
  static constexpr uint64_t kPatienceMs = 10'000;  // with a question
  struct Question {
    Buffer message;
    uint64_t next_ms;
    uint64_t until_ms;
    unsigned tries = 0;
    std::function<void(Result<pb::Control>)> done;
  };
  pb::Statement statement(Now now) const;
  void submit(const pb::Statement& statement, Now now, Done done);
  void put(const pb::Control& message, Now now, uint64_t patience_ms,
           std::function<void(Result<pb::Control>)> done);
  void submit_enrol(Now now, Done done);
  void tell_enrol(Now now);
  void on_pending(const pb::PendingSync& sync);
  void on_told(const pb::Signed& signed_statement);
  void fetch_more(Now now);
  void fetch(const ByteArray<32>& digest, Now now);
  bool is_self(const std::string& identity) const;
  bool is_peer(const PeerEdge& edge, const std::string& identity) const;
  bool keep_rotation(const pb::Statement& statement, const pb::Signed& signed_statement);
  bool keep(const ByteArray<32>& digest, const pb::Signed& signed_statement, bool fetched = false);
  void verify(const PeerEdge& edge);

  TrustParty party_;
  Pins& pins_;
  TrustHooks hooks_;
  std::function<uint64_t()> random_;
  VirtualAddress self_;
  std::map<uint64_t, Question> questions_;
  std::vector<WaitingTrust> waiting_;
  uint64_t collecting_ = 0;
  std::map<uint32_t, pb::PendingSync> parts_;
  uint64_t applied_ = 0;
  std::map<ByteArray<32>, pb::Statement> statements_;  // whose signatures hold, by digest
  std::set<ByteArray<32>> fetching_;
  std::set<ByteArray<32>> absent_;    // asked for in this session, in vain
  uint64_t enrol_again_ms_ = kNever;  // mono_ms
  Now now_;                           // of the event that is being served
  std::vector<PeerEdge> edges_;
};

}  // namespace sluice::agent
