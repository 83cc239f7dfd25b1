// Requests of the local API that take longer than a call: messages that wait for a handshake or for
// room, readers that wait for messages, runs of pings. The owner pumps them after everything that
// may let them go on. One thread.
#pragma once

#include <functional>
#include <list>
#include <optional>
#include <vector>

#include "agent/agent.h"
#include "agent/inbox.h"
#include "agent/ping_run.h"
#include "http/message.h"

namespace sluice::agent {

// The same instant, for timers and for round trips.
struct Instant {
  Now now;
  uint64_t us = 0;  // steady
};

// A connection's end is not told to those who answer on it, and what is handed to a reader that is
// gone would be lost. Process 0 is one that is not known.
bool is_gone(pid_t reader);

// Messages to one peer, in order. Answered when all have left, or with the reason why not.
class SendJobs {
 public:
  SendJobs(Agent& agent, std::function<bool()> room) : agent_(agent), room_(std::move(room)) {}
  void add(const crypto::PublicKey& peer, std::vector<Buffer> messages, http::Respond respond,
           Instant at);
  void pump(Instant at);
  uint64_t wake_us() const;

 private:
  struct Job {
    crypto::PublicKey peer;
    std::vector<Buffer> messages;
    size_t next;
    uint64_t failures_before;
    uint64_t until_us;
    http::Respond respond;
  };
  bool advance(Job& job, Instant at);

  Agent& agent_;
  std::function<bool()> room_;  // for another datagram before the kernel
  std::list<Job> jobs_;
};

// Readers in the order they came.
class ReceiveWaits {
 public:
  explicit ReceiveWaits(Inbox& inbox) : inbox_(inbox) {}
  void add(size_t most, std::optional<crypto::PublicKey> from, uint64_t until_us, pid_t reader,
           http::Respond respond);
  void pump(Instant at);
  uint64_t wake_us() const;

 private:
  struct Wait {
    size_t most;
    std::optional<crypto::PublicKey> from;
    uint64_t until_us;
    pid_t reader;  // 0: not known
    http::Respond respond;
  };
  Inbox& inbox_;
  std::list<Wait> waits_;
};

class PingJobs {
 public:
  PingJobs(Agent& agent, std::function<bool()> room);
  void add(const crypto::PublicKey& peer, const PingOptions& options, http::Respond respond,
           Instant at);
  void on_pong(const crypto::PublicKey& peer, uint64_t id, uint64_t now_us);
  void pump(Instant at);
  uint64_t wake_us() const;

 private:
  struct Job {
    crypto::PublicKey peer;
    PingOptions options;
    uint64_t failures_before;
    uint64_t until_us;           // for the handshake
    std::optional<PingRun> run;  // once the session is there
    http::Respond respond;
  };
  bool advance(Job& job, Instant at);

  Agent& agent_;
  std::function<bool()> room_;
  uint64_t next_id_;
  std::list<Job> jobs_;
};

}  // namespace sluice::agent
