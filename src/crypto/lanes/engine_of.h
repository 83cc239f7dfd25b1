// Fills the table of functions for one lane type. Two halves: AVX-512's are compiled with different
// instruction scheduling.
#pragma once

#include <new>

#include "crypto/lanes/ed25519.h"
#include "crypto/lanes/sha512.h"
#include "crypto/lanes/x25519.h"

namespace sluice::crypto::lanes {

template <class L>
const BaseTable& base_table() {
  static BaseTable table;
  static const bool filled = (fill<L>(table), true);
  (void)filled;
  return table;
}
template <class L>
const CombTable& comb_table() {
  static CombTable table;
  static const bool filled = (fill<L>(table), true);
  (void)filled;
  return table;
}

template <class L>
void add_signatures(Engine& e) {
  using Verifier = Ed25519<L>;
  e.ed25519_bytes = sizeof(Verifier);
  e.ed25519_start = [](void* memory) { new (memory) Verifier(base_table<L>()); };
  e.verify = [](void* memory, const VerifyItem* items, size_t n) {
    return static_cast<Verifier*>(memory)->verify(items, n);
  };
  e.verify_prepared = [](void* memory, const VerifyItem* items, size_t n) {
    return static_cast<Verifier*>(memory)->verify_prepared(items, n);
  };
  e.prepare = [](void* memory, const uint64_t(*keys)[4], size_t n, PreparedKey* const* out) {
    return static_cast<Verifier*>(memory)->prepare(keys, n, out);
  };
  e.sha512 = Sha512<L>::hash;
}

template <class L>
void add_agreements(Engine& e) {
  e.x25519 = X25519<L>::multiply;
  e.x25519_base = [](const X25519Item* items, size_t n) {
    X25519<L>::multiply_base(comb_table<L>(), items, n);
  };
}

}  // namespace sluice::crypto::lanes
