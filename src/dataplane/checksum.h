// UDP's checksum of what departs (wire.md §2). Over IPv6 it must be there: by the NIC, or here
// after the seal. Under the header seal the payload is not to be touched, so its part of the sum is
// taken over from the arriving checksum where the NIC has marked that good (RFC 1624's idea).
#pragma once

#include "dataplane/burst.h"
#include "dataplane/context.h"

namespace sluice::dataplane {

// Before the packet is opened: remembers the payload's part of the sum, if it is known.
void keep_payload_sum(Slot& s) noexcept;

// After the seal, on a frame whose headers are final and whose checksum field is 0.
void finish_checksum(Context& c, const PortView& port, Slot& s, uint8_t* eth, bool v6) noexcept;

}  // namespace sluice::dataplane
