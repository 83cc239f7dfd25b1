// The compiler's 128-bit integer, under a name that -Wpedantic lets pass.
#pragma once

namespace sluice::crypto {

__extension__ using Uint128 = unsigned __int128;

}  // namespace sluice::crypto
