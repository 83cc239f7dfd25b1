#include "pktgen/agent_keys.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

#include "base/file.h"
#include "crypto/hash.h"

namespace sluice::pktgen {
namespace {

Result<crypto::Key256> create_seed(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  crypto::Key256 seed;
  crypto::random_bytes({seed.data(), seed.size()});
  if (!fd || write(fd.get(), seed.data(), seed.size()) != ssize_t(seed.size()) ||
      fsync(fd.get()) != 0) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("cannot create the seed file {}: {}", path, strerror(errno)));
  }
  return seed;
}

}  // namespace

Result<KeySource> KeySource::open(const std::string& path, bool create) {
  if (create && access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    auto seed = create_seed(path);
    if (!seed) return tl::unexpected(seed.error());
    return KeySource(std::move(*seed));
  }
  auto text = read_secret_file(path, 4096);
  if (!text) {
    if (text.error().code != ErrorCode::kNotFound) return tl::unexpected(text.error());
    return fail(ErrorCode::kKeyFile,
                fmt::format("there is no seed file {}: `sluice-pktgen trust --seed-file {}` makes "
                            "it together with the relay's trust section",
                            path, path));
  }
  if (text->size() != 32) {
    crypto::wipe(text->data(), text->size());
    return fail(ErrorCode::kKeyFile, fmt::format("{} has {} bytes, a seed file has 32: name "
                                                 "another file, or one that does not exist yet",
                                                 path, text->size()));
  }
  crypto::Key256 seed;
  std::memcpy(seed.data(), text->data(), 32);
  crypto::wipe(text->data(), text->size());
  return KeySource(std::move(seed));
}

// Keyed BLAKE2b-128 of purpose, number and half, twice.
crypto::Key256 KeySource::derive(std::string_view purpose, uint32_t agent) const {
  crypto::Key256 out;
  ByteArray<5> tail{};
  store_le(tail.data(), agent);
  for (uint8_t half = 0; half < 2; ++half) {
    tail[4] = half;
    auto part = crypto::blake2b_128(seed_.view(), {as_bytes(purpose), tail});
    std::memcpy(out.data() + half * part.size(), part.data(), part.size());
    crypto::wipe(part.data(), part.size());
  }
  return out;
}

crypto::Identity KeySource::identity(uint32_t agent) const {
  return crypto::Identity::from_seed(derive("sluice-pktgen identity", agent));
}

crypto::X25519KeyPair KeySource::end_to_end(uint32_t agent) const {
  return crypto::X25519KeyPair::from_secret(derive("sluice-pktgen end-to-end", agent));
}

AgentKeys KeySource::agent(uint32_t agent) const {
  return {identity(agent),
          crypto::X25519KeyPair::from_secret(derive("sluice-pktgen tunnel", agent))};
}

}  // namespace sluice::pktgen
