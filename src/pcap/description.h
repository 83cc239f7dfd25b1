// What a packet of the tunnel says, field by field, as src/wire reads it: what `sluice-pcap show`
// prints and the Wireshark dissector is held to. Names are the dissector's filters without
// `sluice.`; the same name again is another value of a list. Views into the packet.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/bytes.h"
#include "pcap/verdict.h"

namespace sluice::capture {

struct Field {
  const char* name;
  uint64_t number = 0;
  Bytes bytes;  // in place of the number, where `is_bytes`
  bool is_bytes = false;
};

struct Description {
  Verdict verdict = Verdict::kOk;
  std::vector<Field> fields;

  const Field* find(std::string_view name) const;
};

// Of a whole UDP payload.
Description describe(Bytes payload, bool to_relay);

// "DATA CALL_OPEN call 7 …", without the verdict.
std::string sentence(const Description& d);
// Adds every field to `out`: numbers as numbers, bytes as hex digits.
void add_to(nlohmann::ordered_json& out, const Description& d);

}  // namespace sluice::capture
