// The table of functions for one lane type; included by one translation unit for each.
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
Engine engine_of(const char* name) {
  using Verifier = Ed25519<L>;
  Engine e{};
  e.name = name;
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
  e.x25519 = X25519<L>::multiply;
  e.x25519_base = [](const uint64_t* const scalars[8], uint64_t* const out[8]) {
    X25519<L>::multiply_base(comb_table<L>(), scalars, out);
  };
  return e;
}

}  // namespace sluice::crypto::lanes
