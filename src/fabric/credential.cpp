#include "fabric/credential.h"

#include <fcntl.h>
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

constexpr size_t kSmallPage = 4096;
constexpr size_t kHugePage = 2u << 20;

size_t whole_pages(uint32_t slots, size_t page) {
  return (slots * sizeof(CredentialSlot) + page - 1) / page * page;
}

// A memfd of so many bytes whose pages are there; none: there are no such pages.
Fd segment(size_t bytes, unsigned flags) {
  Fd fd(memfd_create("sluice-credentials", MFD_CLOEXEC | flags));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
      fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0) {
    return Fd();
  }
  return fd;
}

}  // namespace

size_t CredentialTable::needed(uint32_t slots) {
  return whole_pages(slots, kHugePage);
}

Result<std::unique_ptr<CredentialTable>> CredentialTable::create(uint32_t slots, bool huge) {
  std::unique_ptr<CredentialTable> table(new CredentialTable);
  if (slots == 0) return table;
  size_t page = kHugePage;
  if (huge) table->fd_ = segment(whole_pages(slots, page), MFD_HUGETLB | MFD_HUGE_2MB);
  if (!table->fd_) {
    page = kSmallPage;
    table->fd_ = segment(whole_pages(slots, page), 0);
  }
  const size_t inside = whole_pages(slots, page);
  const auto failed = [&](const char* what) {
    return fail(
        ErrorCode::kResource,
        fmt::format("cannot {} {} KiB for credentials: {}; raise the limit of locked memory "
                    "(LimitMEMLOCK=, ulimit -l) or lower limits.credentials",
                    what, inside >> 10, std::strerror(errno)));
  };
  if (!table->fd_) return failed("create");
  // Reserved as a whole: what is before and behind faults.
  const size_t reserved = inside + 3 * page;
  void* base = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return failed("map");
  table->base_ = static_cast<uint8_t*>(base);
  table->size_ = reserved;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(base) + 2 * page - 1) / page * page;
  void* at = mmap(reinterpret_cast<void*>(first), inside, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED, table->fd_.get(), 0);
  if (at == MAP_FAILED) return failed("map");
  if (mlock(at, inside) != 0) return failed("lock");
  if (madvise(at, inside, MADV_DONTDUMP) != 0) return failed("keep out of core dumps");
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
