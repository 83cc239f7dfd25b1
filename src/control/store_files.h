// The files of a state directory and the care that makes them durable. Any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/file.h"

namespace sluice::control {

// errno as a sentence, with the code that it deserves.
tl::unexpected<Error> system_error(const char* what, const std::string& path);

// Who holds it is the only one that uses the directory's store; released with the descriptor, and
// by the kernel when the process ends. kConflict: another holds it.
Result<Fd> lock_directory(const std::string& directory);

// A file's name is durable once its folder is synced; a new folder's in turn is in its parent.
Result<void> sync_folders_of(const std::string& path);

std::string store_path(const std::string& directory);
// Stands there while a restore is under way, or was interrupted.
std::string restore_marker(const std::string& directory);

// Where the secret of a tunnel key lies that took the place of the first one.
std::string later_key_path(const std::string& directory, const ByteArray<32>& public_key);

bool exists(const std::string& path);

}  // namespace sluice::control
