// Secrets out of files and pipes, straight into guarded memory: no copy of them is left on the
// heap. Waits for the disk or the writer; any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/file.h"
#include "crypto/secret_buffer.h"

namespace sluice::crypto {

// kNotFound: there is none. kPermission: others than its owner can read it. kTooLarge.
Result<SecretBuffer> read_secret(const std::string& path, size_t limit);

// All that comes until the end. `place`: as messages name it.
Result<SecretBuffer> read_secret_from(const Fd& fd, const std::string& place, size_t limit);

}  // namespace sluice::crypto
