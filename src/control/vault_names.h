// What the store's rows of the vault are bound to when they are sealed. Pure functions.
#pragma once

#include "control/credentials.h"
#include "control/vault_rows.h"
#include "vault/record.h"

namespace sluice::control {

inline vault::RecordName record_name(const CredentialRow& r) {
  return {r.id, r.tenant, r.version, r.set_ms, r.parts, r.name, r.life};
}

inline vault::BindingName binding_name(const BindingRow& b, uint16_t tenant) {
  return {b.target, b.protocol, b.id, tenant};
}

inline CredentialPlace place_of(const BindingRow& b) {
  return {VirtualAddress::from_u64(b.target), b.protocol};
}

}  // namespace sluice::control
