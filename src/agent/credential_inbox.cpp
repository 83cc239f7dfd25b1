#include "agent/credential_inbox.h"

#include <algorithm>

#include "agent/now.h"
#include "crypto/secret.h"

namespace sluice::agent {

static_assert(wire::kCredentialParts <= 8);

bool CredentialInbox::add(const crypto::PublicKey& peer, uint64_t call_id, Bytes extension,
                          uint64_t now_ms) {
  if (extension.size() <= sizeof(wire::CredentialHead)) return false;
  const auto head = load_le<wire::CredentialHead>(extension.data());
  const Bytes part = extension.subspan(sizeof head);
  const bool last = head.index + 1 == head.count;
  if (head.kind != uint8_t(wire::CredentialKind::kFields) || head.zero != 0 ||
      head.index >= head.count || head.count > wire::kCredentialParts ||
      (last ? part.size() > wire::kCredentialPart : part.size() != wire::kCredentialPart)) {
    return false;
  }
  const auto known = known_.find(head.version);
  const auto [it, fresh] = arriving_.try_emplace({peer, call_id});
  Arriving& a = it->second;
  if (!fresh && (a.head.version != head.version || a.head.count != head.count)) {
    // Set anew while its call was being repeated: the older parts are of no use.
    if (!a.known) --unknown_;
    a = Arriving();
  } else if (!fresh) {
    return put(a, head, part);
  }
  const bool room = arriving_.size() <= kMost && (known != known_.end() || unknown_ < kMostUnknown);
  if (!room) {
    arriving_.erase(it);
    return false;
  }
  if (known != known_.end()) {
    a.known = known->second.content;
  } else {
    try {
      a.bytes = crypto::SecretBuffer(head.count * wire::kCredentialPart);
    } catch (const std::bad_alloc&) {
      arriving_.erase(it);
      return false;
    }
    ++unknown_;
  }
  a.head = head;
  a.since_ms = now_ms;
  return put(a, head, part);
}

bool CredentialInbox::put(Arriving& a, const wire::CredentialHead& head, Bytes part) {
  const size_t at = head.index * wire::kCredentialPart;
  if (a.known) {
    const Bytes whole = a.known->view();
    const bool ends = head.index + 1 == head.count;
    if (at + part.size() > whole.size() || (ends && at + part.size() != whole.size()) ||
        !crypto::equal_secret(whole.subspan(at, part.size()), part)) {
      return false;
    }
  } else {
    std::memcpy(a.bytes.data() + at, part.data(), part.size());
  }
  if (head.index + 1 == head.count) a.size = at + part.size();
  a.parts |= static_cast<uint8_t>(1u << head.index);
  return true;
}

CredentialInbox::Content CredentialInbox::take(const crypto::PublicKey& peer, uint64_t call_id,
                                               uint64_t now_ms) {
  const auto it = arriving_.find({peer, call_id});
  if (it == arriving_.end()) return nullptr;
  Arriving& a = it->second;
  if (a.size == 0 || a.parts != (1u << a.head.count) - 1) return nullptr;
  Content content = a.known;
  if (!content) {
    --unknown_;
    a.bytes.shrink(a.size);
    content = std::make_shared<const crypto::SecretBuffer>(std::move(a.bytes));
  }
  known_[a.head.version] = {content, now_ms};
  arriving_.erase(it);
  return content;
}

uint64_t CredentialInbox::deadline() const {
  return arriving_.empty() && known_.empty() ? kNever : next_tick_ms_;
}

void CredentialInbox::tick(uint64_t now_ms) {
  if (now_ms < next_tick_ms_) return;
  next_tick_ms_ = now_ms + kTickMs;
  for (auto it = arriving_.begin(); it != arriving_.end();) {
    if (now_ms < it->second.since_ms + kKeepMs) {
      ++it;
      continue;
    }
    if (!it->second.known) --unknown_;
    it = arriving_.erase(it);
  }
  for (auto it = known_.begin(); it != known_.end();) {
    Known& k = it->second;
    if (k.content.use_count() > 1) k.used_ms = now_ms;
    it = now_ms >= k.used_ms + kKnownMs ? known_.erase(it) : std::next(it);
  }
}

void CredentialInbox::clear() {
  arriving_.clear();
  known_.clear();
  unknown_ = 0;
}

}  // namespace sluice::agent
