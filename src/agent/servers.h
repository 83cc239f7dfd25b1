// Who serves calls on this host: programs that ask the daemon for them over the local API, each
// with places for so many at a time. A server stays for as long as it asks and its process lives;
// what it had is answered for it when it goes. One thread, that of the event loop.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/jobs.h"
#include "http/message.h"

namespace sluice::agent {

class Servers {
 public:
  static constexpr size_t kMost = 64;
  static constexpr uint64_t kMostSlots = 256;
  // Of all places, what one peer may take while there is more than one: the rest is for others.
  static constexpr uint64_t most_of_one(uint64_t places) { return places - places / 4; }
  static constexpr uint64_t kLeaseUs = 15'000'000;  // without being asked

  explicit Servers(Agent& agent) : agent_(agent) {}

  // CallHooks' part of the callee.
  AcceptStatus admit(const PeerEdge& from, const wire::Envelope& envelope);
  void on_request(Call& call);
  void on_cancelled(const Call& call);

  // Registers the server, or says that it is still there, and waits for work. No slots: it takes
  // no more, and may answer what it has.
  void ask(const std::string& server, uint64_t slots, uint64_t until_us, pid_t pid,
           http::Respond respond, Instant at);
  // It serves no more. kNotFound: it does not.
  Result<void> leave(const std::string& server, Instant at);
  // kNotFound: the call is not, or no longer, that server's.
  Result<void> answer(const std::string& server, const std::string& token, uint16_t status,
                      Buffer response);
  void pump(Instant at);
  uint64_t wake_us() const;

 private:
  struct Work {  // a request that is whole and was not handed over
    std::string token;
    crypto::PublicKey peer;
    wire::Envelope envelope;
    Buffer data;
  };
  struct Wait {
    uint64_t until_us;
    http::Respond respond;
  };
  struct Server {
    std::string id;
    pid_t pid;
    uint64_t slots;
    uint64_t busy = 0;
    std::deque<Work> ready;
    std::vector<std::string> cancelled;
    uint64_t seen_us = 0;
    std::optional<Wait> wait;
  };
  struct Place {  // a call that was given to a server
    std::string server, token;
  };
  using CallKey = std::pair<crypto::PublicKey, uint64_t>;

  Server* find(const std::string& id);
  static http::Response nothing_for(const Server& s);
  void hand_over(Server& server, Instant at);
  void drop(const std::string& id);

  Agent& agent_;
  std::list<Server> servers_;
  std::map<CallKey, Place> places_;
  uint64_t next_token_ = crypto::random_u64();
  uint64_t looked_us_ = 0;  // whether they live
};

}  // namespace sluice::agent
