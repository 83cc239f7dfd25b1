#include "control/directory.h"

namespace sluice::control {
namespace {

// Answers to lookups wait this long, so that their time tells nothing of the search.
constexpr uint64_t kLookupMs = 2;

}  // namespace

void Directory::lookup(uint32_t index, const pb::Lookup& lookup,
                       std::function<void(const pb::Found&)> done) {
  if (!pace_.allow(index)) return;
  // Set before the search: what that takes must not be in it.
  const uint64_t due = clock_.ticks() + clock_.ticks_from_ms(kLookupMs);
  const AgentEntry& asker = trust_.agent(index);
  const AgentEntry* found = lookup.address() != 0 && lookup.address() >> 48 == 0
                                ? trust_.by_address(VirtualAddress::from_u64(lookup.address()))
                                : trust_.by_name(asker.address.tenant, lookup.name());
  pb::Found answer;
  if (found != nullptr && found->standing() && !found->revoked &&
      found->address.tenant == asker.address.tenant &&
      (found->visibility == Visibility::kPublic || found->index == index)) {
    answer.set_identity(found->identity.data(), found->identity.size());
    answer.set_address(found->address.to_u64());
    answer.set_name(found->name);
  }
  answers_.push_back({due, [answer = std::move(answer), done = std::move(done)] { done(answer); }});
}

void Directory::fetch(uint32_t index, const pb::Fetch& fetch,
                      std::function<void(const pb::Signed&)> done) {
  if (fetch.digest().size() != 32 || !pace_.allow(index)) return;
  const Digest digest = take<32>(as_bytes(fetch.digest()).data());
  if (trust_.agreement_of(index, digest) == nullptr && !is_peers_rotation(index, digest)) {
    return done({});
  }
  store_.read_statement(digest, [done = std::move(done)](const Result<Buffer>& r) {
    if (!r) return;
    pb::Signed out;
    out.ParseFromArray(r->data(), static_cast<int>(r->size()));
    done(out);
  });
}

bool Directory::is_peers_rotation(uint32_t index, const Digest& digest) const {
  for (const EdgeEntry& e : trust_.edges_of(index)) {
    for (const FormerIdentity& f : trust_.agent(e.to).formers) {
      if (f.statement == digest) return true;
    }
  }
  return false;
}

bool Directory::poll() {
  const uint64_t now = clock_.ticks();
  while (!answers_.empty() && answers_.front().due <= now) {
    const auto give = std::move(answers_.front().give);
    answers_.pop_front();
    give();
    if (answers_.empty()) return true;
  }
  return !answers_.empty();
}

}  // namespace sluice::control
