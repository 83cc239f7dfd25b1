// What a change is called in the feed, and whom it names there. Pure functions, any thread.
#pragma once

#include <string_view>

#include "control/store_rows.h"

namespace sluice::control {

struct FeedName {
  // Empty: the feed does not hold it.
  std::string_view kind;
  Buffer subject;
  Buffer object = {};
};

FeedName feed_name(const Change& change);

}  // namespace sluice::control
