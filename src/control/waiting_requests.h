// Requests that wait for their receiver (wire.md §5), by statement, requester, receiver and expiry,
// bounded for each of them. Memory only: what is here is in the store already. Control thread.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "control.pb.h"
#include "control/store_rows.h"
#include "crypto/identity.h"

namespace sluice::control {

struct WaitingRequest {
  RequestRow row;
  uint32_t requester = 0;  // agent index
  uint16_t tenant = 0;     // the requester's
  pb::TrustRequest body;
  uint64_t issued_ms = 0;
  std::set<uint16_t> consents;  // tenants whose operators agree, where it goes across tenants
};

class WaitingRequests {
 public:
  void add(WaitingRequest request);
  // Nothing where there is none.
  void end(const Digest& digest);
  const WaitingRequest* find(const Digest& digest) const;
  void consent(const Digest& digest, uint16_t tenant);
  bool contains(const Digest& digest) const { return waiting_.contains(digest); }
  // Whether one more fits. Does not depend on whether the receiver exists.
  bool has_room(uint32_t requester, uint16_t tenant, const crypto::PublicKey& receiver) const;

  std::vector<const WaitingRequest*> from(uint32_t requester) const;
  // To this identity, enrolled or not.
  std::vector<const WaitingRequest*> to(const crypto::PublicKey& receiver) const;
  // Null when none has ended.
  const WaitingRequest* expired(uint64_t unix_ms) const;
  const std::map<Digest, WaitingRequest>& all() const { return waiting_; }

 private:
  using Digests = std::set<Digest>;
  std::vector<const WaitingRequest*> at(const Digests* digests) const;

  std::map<Digest, WaitingRequest> waiting_;
  std::map<uint32_t, Digests> outgoing_;  // by requester
  // By receiver and the requester's tenant.
  std::map<std::pair<crypto::PublicKey, uint16_t>, Digests> incoming_;
  std::set<std::pair<uint64_t, Digest>> expiries_;
};

}  // namespace sluice::control
