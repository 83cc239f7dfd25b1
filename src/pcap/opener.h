// Opens what a key log has keys for, in place: DATA, and the end-to-end messages in it. One thread.
#pragma once

#include "pcap/key_store.h"

namespace sluice::capture {

enum class Opening : uint8_t {
  kNone,        // nothing sealed is there
  kDone,        // it is in clear now
  kUnknown,     // of no session in the key log
  kRefusedTag,  // the session is there, but the tag does not hold
};

struct OpeningResult {
  Opening tunnel = Opening::kNone;
  Opening message = Opening::kNone;
  bool credential = false;  // there was one, which is blanked
};

class Opener {
 public:
  explicit Opener(const KeyStore& keys) : keys_(keys) {}
  // Of a whole UDP payload, which may be opened already.
  OpeningResult open(MutBytes payload);

 private:
  Opening open_data(MutBytes payload);
  Opening open_message(MutBytes payload);

  const KeyStore& keys_;
  Buffer scratch_;
};

}  // namespace sluice::capture
