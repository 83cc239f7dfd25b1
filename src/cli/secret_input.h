// Where sluicectl takes secrets from: a file or pipe, standard input, or a prompt that shows
// nothing. Never from the command line or the environment, where every process could read them.
#pragma once

#include <string>

#include "base/error.h"
#include "crypto/secret_buffer.h"

namespace sluice::cli {

// `-` is standard input. A regular file must be its owner's alone. One line end at the end is not
// part of it.
Result<crypto::SecretBuffer> secret_from_file(const std::string& path, size_t limit);

// Standard input; from a person on a terminal it asks for `what`, twice where `again`.
Result<crypto::SecretBuffer> secret_from_input(const std::string& what, size_t limit,
                                               bool again = false);

}  // namespace sluice::cli
