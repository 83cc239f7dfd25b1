// One packet from the device, which may be many that the kernel left to be cut (TSO), as packets
// that fit the path: lengths, sequence numbers, flags and checksums as the kernel would have set
// them. No I/O.
#pragma once

#include <functional>

#include "agent/tun/packet.h"

namespace sluice::agent {

class Segmenter {
 public:
  enum class Verdict : uint8_t { kOk, kMalformed, kTooBig };

  // `packet` as it was read behind `header`; it is changed. What `take` gets is valid during it.
  // kTooBig: a packet is larger than `most`, and none was handed over.
  Verdict cut(const VnetHeader& header, MutBytes packet, size_t most,
              const std::function<void(Bytes)>& take);

 private:
  Buffer scratch_;
};

}  // namespace sluice::agent
