// A TPM 2.0 as the keeper of a key (tpm2-tss, ESAPI): what it has sealed nobody opens on another
// one, without the auth value, or while the chosen PCRs are others than they were. Sessions are
// salted and encrypt what they carry, so the bus to the chip shows nothing. Each call connects anew
// and waits for the chip, which takes up to seconds: a thread beside the control thread.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/secret_buffer.h"

namespace sluice::vault {

struct TpmOptions {
  std::string tcti = "device:/dev/tpmrm0";  // as Tss2_TctiLdr_Initialize has it
  std::vector<uint8_t> pcrs;                // of the SHA-256 bank, ascending; none: whatever boots
  std::string auth_file;

  auto operator<=>(const TpmOptions&) const = default;
};

inline constexpr unsigned kPcrs = 24;
inline constexpr size_t kTpmAuthSize = 32;

// tpm2-tss writes what goes wrong to standard error by itself, beside the sentences of here. Once,
// before other threads run.
void quiet_tpm();

// What the TPM needs to give the secret back; of no use elsewhere. kResource: no TPM answers.
Result<Buffer> tpm_seal(const TpmOptions& options, Bytes auth, Bytes secret);
// kKeyFile: it was sealed by another TPM, or is damaged. kRefused: the auth value or PCRs differ.
Result<crypto::SecretBuffer> tpm_unseal(const TpmOptions& options, Bytes auth, Bytes sealed);

}  // namespace sluice::vault
