// Own calls that programs of this host have asked for: who waits for which, and what they are told.
// A call that nobody waits for any more is given up. One thread, that of the event loop.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "agent/agent.h"
#include "agent/jobs.h"
#include "http/message.h"

namespace sluice::agent {

class CallJobs {
 public:
  static constexpr uint64_t kUnheededUs = 10'000'000;

  explicit CallJobs(Agent& agent) : agent_(agent) {}

  Result<uint64_t> open(const crypto::PublicKey& peer, CallRequest request, Instant at);
  // Answers when the call's state is another than `known`, when it has ended, or at the time.
  // kNotFound: no such call, or its end was told.
  void wait(uint64_t id, std::string known, uint64_t until_us, pid_t reader, http::Respond respond,
            Instant at);
  // Ends it as cancelled; who waits for it is told. kNotFound: as for wait().
  Result<void> cancel(uint64_t id, Instant at);
  void pump(Instant at);
  uint64_t wake_us() const;

 private:
  struct Wait {
    std::string known;
    uint64_t until_us;
    pid_t reader;
    http::Respond respond;
  };
  struct Job {
    std::optional<Wait> wait;
    uint64_t seen_us;  // when last asked for, or ended
    std::shared_ptr<const nlohmann::json>
        end{};  // not told yet; the call itself is forgotten sooner
  };
  nlohmann::json end_of(Call& call, Instant at) const;
  bool advance(uint64_t id, Job& job, bool look, Instant at);

  Agent& agent_;
  std::map<uint64_t, Job> jobs_;
  uint64_t looked_us_ = 0;  // whether readers live
};

// One row of GET /v1/calls; without an end what is known so far.
nlohmann::json call_json(const CallRow& row, const Agent& agent, Now now);

}  // namespace sluice::agent
