// Address resolution, both ways: asking for the relay's MAC address, and answering for the agents'
// addresses (ARP, RFC 826; neighbour discovery, RFC 4861). Pure functions over frames.
#pragma once

#include <optional>

#include "wire/ip.h"

namespace sluice::pktgen {

// A run of addresses that answer with one MAC.
struct AddressRange {
  bool v6 = false;
  wire::IpBytes first{};
  uint32_t count = 0;
  wire::Mac mac{};

  bool holds(const wire::IpBytes& ip) const noexcept;
};

// The address `n` after `base`; carries within the last four bytes.
wire::IpBytes address_after(const wire::IpBytes& base, uint32_t n) noexcept;

inline constexpr size_t kQuestionMax = 86;
// Who has `target`? From the range's first address. Returns the frame's size.
size_t build_question(const AddressRange& own, const wire::IpBytes& target, uint8_t* frame);

// The MAC that this frame names for `target`, if it is an answer.
std::optional<wire::Mac> read_answer(Bytes frame, bool v6, const wire::IpBytes& target) noexcept;

// Turns a question for one of our addresses into its answer, in place; false: it is none.
bool answer_question(const AddressRange& own, MutBytes frame) noexcept;

}  // namespace sluice::pktgen
