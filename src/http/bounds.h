// What the servers of this folder have in common, and what its clients have.
#pragma once

#include <chrono>
#include <cstdint>

namespace sluice::http {

// Out of descriptors the kernel would report the same peer again at once.
inline constexpr std::chrono::milliseconds kAcceptPause{100};
// Between two lines of the log about that.
inline constexpr std::chrono::minutes kWarningInterval{1};

// Of an answer, in bytes.
inline constexpr uint64_t kResponseLimit = 256u << 20;

}  // namespace sluice::http
