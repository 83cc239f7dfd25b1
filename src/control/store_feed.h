// What a change is called in the feed, whom it names there, and how the audit log holds it. Pure
// functions, any thread.
#pragma once

#include <optional>
#include <string_view>

#include "audit/record.h"
#include "control/store_rows.h"

namespace sluice::control {

struct FeedName {
  // Empty: the feed does not hold it.
  std::string_view kind;
  Buffer subject;
  Buffer object = {};
};

FeedName feed_name(const Change& change);

// As the audit log records it, without the addresses.
audit::Change audit_change(const FeedEntry& entry);

// What an entry says that a restore wrote: changes after `kept`, up to `forgotten`, are not in this
// store, knowingly. None: it is another entry.
struct Forgotten {
  uint64_t kept = 0;
  uint64_t forgotten = 0;
};
std::optional<Forgotten> forgotten_by(const FeedEntry& entry);

}  // namespace sluice::control
