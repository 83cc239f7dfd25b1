#include "control/waiting_requests.h"

#include <algorithm>

namespace sluice::control {
namespace {

constexpr size_t kMostOutgoing = 32;
constexpr size_t kMostIncoming = 64;  // from agents of one tenant
constexpr size_t kMostToOne = 4;      // of one agent to one other

template <typename Index, typename Key>
const std::set<Digest>* find_in(const Index& index, const Key& key) {
  const auto it = index.find(key);
  return it == index.end() ? nullptr : &it->second;
}

template <typename Index, typename Key>
void drop(Index& index, const Key& key, const Digest& digest) {
  const auto it = index.find(key);
  it->second.erase(digest);
  if (it->second.empty()) index.erase(it);
}

}  // namespace

void WaitingRequests::add(WaitingRequest request) {
  const Digest digest = request.row.digest;
  outgoing_[request.requester].insert(digest);
  incoming_[{request.row.receiver, request.tenant}].insert(digest);
  expiries_.insert({request.row.expires_ms, digest});
  waiting_[digest] = std::move(request);
}

void WaitingRequests::end(const Digest& digest) {
  const auto it = waiting_.find(digest);
  if (it == waiting_.end()) return;
  const WaitingRequest& w = it->second;
  drop(outgoing_, w.requester, digest);
  drop(incoming_, std::pair{w.row.receiver, w.tenant}, digest);
  expiries_.erase({w.row.expires_ms, digest});
  waiting_.erase(it);
}

const WaitingRequest* WaitingRequests::find(const Digest& digest) const {
  const auto it = waiting_.find(digest);
  return it == waiting_.end() ? nullptr : &it->second;
}

bool WaitingRequests::has_room(uint32_t requester, uint16_t tenant,
                               const crypto::PublicKey& receiver) const {
  const Digests* in = find_in(incoming_, std::pair{receiver, tenant});
  if (in != nullptr && in->size() >= kMostIncoming) return false;
  const Digests* out = find_in(outgoing_, requester);
  if (out == nullptr) return true;
  const auto same = std::count_if(out->begin(), out->end(), [&](const Digest& d) {
    return waiting_.at(d).row.receiver == receiver;
  });
  return out->size() < kMostOutgoing && static_cast<size_t>(same) < kMostToOne;
}

std::vector<const WaitingRequest*> WaitingRequests::at(const Digests* digests) const {
  std::vector<const WaitingRequest*> out;
  if (digests == nullptr) return out;
  for (const Digest& d : *digests) out.push_back(&waiting_.at(d));
  return out;
}

std::vector<const WaitingRequest*> WaitingRequests::from(uint32_t requester) const {
  return at(find_in(outgoing_, requester));
}

std::vector<const WaitingRequest*> WaitingRequests::to(const crypto::PublicKey& receiver) const {
  std::vector<const WaitingRequest*> out;
  for (auto it = incoming_.lower_bound({receiver, 0});
       it != incoming_.end() && it->first.first == receiver; ++it) {
    for (const Digest& d : it->second) out.push_back(&waiting_.at(d));
  }
  return out;
}

void WaitingRequests::consent(const Digest& digest, uint16_t tenant) {
  const auto it = waiting_.find(digest);
  if (it != waiting_.end()) it->second.consents.insert(tenant);
}

const WaitingRequest* WaitingRequests::expired(uint64_t unix_ms) const {
  if (expiries_.empty() || expiries_.begin()->first > unix_ms) return nullptr;
  return &waiting_.at(expiries_.begin()->second);
}

}  // namespace sluice::control
