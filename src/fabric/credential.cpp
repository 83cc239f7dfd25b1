#include "fabric/credential.h"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "crypto/secret.h"

namespace sluice::fabric {
namespace {

constexpr size_t kPage = 4096;

}  // namespace

Result<std::unique_ptr<CredentialTable>> CredentialTable::create(uint32_t slots) {
  std::unique_ptr<CredentialTable> table(new CredentialTable);
  if (slots == 0) return table;
  const size_t inside = (slots * sizeof(CredentialSlot) + kPage - 1) / kPage * kPage;
  const auto failed = [&](const char* what) {
    return fail(
        ErrorCode::kResource,
        fmt::format("cannot {} {} KiB for credentials: {}; raise the limit of locked memory "
                    "(LimitMEMLOCK=, ulimit -l) or lower limits.credentials",
                    what, inside >> 10, std::strerror(errno)));
  };
  table->fd_ = Fd(memfd_create("sluice-credentials", MFD_CLOEXEC));
  if (!table->fd_ || ftruncate(table->fd_.get(), static_cast<off_t>(inside)) != 0) {
    return failed("create");
  }
  // Reserved as a whole: what is before and behind faults.
  void* base = mmap(nullptr, inside + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return failed("map");
  table->base_ = static_cast<uint8_t*>(base);
  table->size_ = inside + 2 * kPage;
  void* at = mmap(table->base_ + kPage, inside, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                  table->fd_.get(), 0);
  if (at == MAP_FAILED) return failed("map");
  if (mlock(at, inside) != 0) return failed("lock");
  madvise(at, inside, MADV_DONTDUMP);
  table->slots_ = reinterpret_cast<CredentialSlot*>(at);
  table->count_ = slots;
  for (uint32_t i = 0; i < slots; ++i) new (table->slots_ + i) CredentialSlot();
  return table;
}

CredentialTable::~CredentialTable() {
  if (base_ == nullptr) return;
  if (slots_ != nullptr) crypto::wipe(slots_, count_ * sizeof(CredentialSlot));
  munmap(base_, size_);
}

}  // namespace sluice::fabric
