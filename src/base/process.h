// What every long-lived program of the project does to itself before it touches a secret.
#pragma once

namespace sluice {

// No core dumps, no ptrace by other processes of the same user: keys stay in this address space.
void harden_process() noexcept;

}  // namespace sluice
