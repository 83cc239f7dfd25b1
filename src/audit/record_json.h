// A record for people and programs that read JSON (docs/audit.md names every field). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "audit/record.h"

namespace sluice::audit {

nlohmann::json to_json(uint64_t index, const Record& record);

}  // namespace sluice::audit
