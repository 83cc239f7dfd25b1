// The library's exceptions; their destructors stand here so that every program sees one type.
#include "sluice/agent.h"

namespace sluice::client {

Error::Error(std::string code, const std::string& sentence)
    : std::runtime_error(sentence), code_(std::move(code)) {}
Error::~Error() = default;

CallFailed::CallFailed(std::string code, const std::string& sentence, Details details)
    : Error(std::move(code), sentence), details_(std::move(details)) {}
CallFailed::~CallFailed() = default;

}  // namespace sluice::client
