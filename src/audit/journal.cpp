#include "audit/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "audit/log_files.h"
#include "crypto/hash.h"

namespace sluice::audit {
namespace {

constexpr auto kMagic = padded_label<32>("sluice-journal/1");
constexpr size_t kFixed = 32 + 8 + 8 + 16 + 8 + 8;
constexpr size_t kSubtree = 8 + 32;
constexpr size_t kMostSubtrees = 64 * 256;
constexpr size_t kBatchHeader = 32;
constexpr uint64_t kMostKept = 16u << 20;

ByteArray<16> check_of(std::span<const Hash> hashes) {
  const Bytes all(reinterpret_cast<const uint8_t*>(hashes.data()), hashes.size() * sizeof(Hash));
  return take<16>(crypto::sha256({all}).data());
}

// What is cut off is of no batch, but it is evidence.
Result<void> keep_tail(int fd, const std::string& path, uint64_t end) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return io_error("look at", path);
  const auto size = static_cast<uint64_t>(st.st_size);
  if (size <= end) return {};
  Buffer tail(std::min<uint64_t>(size - end, kMostKept));
  const ssize_t n = pread(fd, tail.data(), tail.size(), static_cast<off_t>(end));
  if (n < 0) return io_error("read", path);
  tail.resize(static_cast<size_t>(n));
  auto ok = write_file(path + ".cut", tail, 0600);
  if (!ok) return fail(ErrorCode::kStore, "the audit log's journal: " + ok.error().message);
  return {};
}

// False at the end of the file, or on an error (errno; 0 at the end).
bool read_all(int fd, void* to, size_t n) {
  auto* p = static_cast<uint8_t*>(to);
  errno = 0;
  while (n > 0) {
    const ssize_t got = read(fd, p, n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    p += got;
    n -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

Result<Journal> Journal::create(const std::string& path, const JournalStart& start) {
  Buffer out(kFixed + start.subtrees.size() * kSubtree);
  std::memcpy(out.data(), kMagic.data(), 32);
  store_le(out.data() + 32, start.base);
  store_le(out.data() + 40, start.last_change.sequence);
  std::memcpy(out.data() + 48, start.last_change.digest.data(), 16);
  store_le(out.data() + 64, static_cast<uint32_t>(start.subtrees.size()));
  out[68] = start.last_kind;
  store_le(out.data() + 72, start.last_ms);
  for (size_t i = 0; i < start.subtrees.size(); ++i) {
    uint8_t* at = out.data() + kFixed + i * kSubtree;
    store_le(at, uint64_t{start.subtrees[i].height});
    std::memcpy(at + 8, start.subtrees[i].hash.data(), 32);
  }
  const Hash check = crypto::sha256({out});
  out.insert(out.end(), check.begin(), check.end());
  if (auto ok = write_file(path, out, 0600); !ok) {
    return fail(ErrorCode::kStore, "the audit log's journal: " + ok.error().message);
  }
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return io_error("open", path);
  return Journal(path, std::move(fd), out.size());
}

Result<Journal> Journal::open(const std::string& path, bool repair,
                              const std::function<void(const JournalStart&)>& begin,
                              const Batch& batch) {
  Fd fd(::open(path.c_str(), (repair ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return io_error("open", path);
  const auto damaged = [&] {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log's journal {} is damaged at its beginning", path));
  };
  Buffer head(kFixed);
  if (!read_all(fd.get(), head.data(), head.size())) return damaged();
  const size_t count = load_le<uint32_t>(head.data() + 64);
  if (std::memcmp(head.data(), kMagic.data(), 32) != 0 || count > kMostSubtrees) return damaged();
  head.resize(kFixed + count * kSubtree);
  Hash check;
  if (!read_all(fd.get(), head.data() + kFixed, count * kSubtree) ||
      !read_all(fd.get(), check.data(), check.size()) || crypto::sha256({head}) != check) {
    return damaged();
  }
  JournalStart start;
  start.base = load_le<uint64_t>(head.data() + 32);
  start.last_change = {load_le<uint64_t>(head.data() + 40), take<16>(head.data() + 48)};
  start.last_kind = head[68];
  start.last_ms = load_le<uint64_t>(head.data() + 72);
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* at = head.data() + kFixed + i * kSubtree;
    const uint64_t height = load_le<uint64_t>(at);
    if (height > 62 || (sum & ((uint64_t{1} << height) - 1)) != 0) return damaged();
    sum += uint64_t{1} << height;
    start.subtrees.push_back({static_cast<unsigned>(height), take<32>(at + 8)});
  }
  if (sum != start.base) return damaged();
  begin(start);

  uint64_t end = head.size() + check.size();
  uint64_t next = start.base;
  std::vector<Record> records;
  std::vector<Hash> hashes;
  for (;;) {
    ByteArray<kBatchHeader> header;
    if (!read_all(fd.get(), header.data(), header.size())) break;
    const size_t n = load_le<uint32_t>(header.data());
    if (n == 0 || n > kMostInBatch || load_le<uint64_t>(header.data() + 8) != next) break;
    records.resize(n);
    if (!read_all(fd.get(), records.data(), n * kRecordSize)) break;
    hashes.clear();
    for (const Record& r : records) hashes.push_back(leaf_hash(r));
    if (check_of(hashes) != take<16>(header.data() + 16)) break;
    batch(records, hashes);
    next += n;
    end += kBatchHeader + n * kRecordSize;
  }
  if (errno != 0 && errno != EINTR) return io_error("read", path);
  if (repair) {
    if (auto ok = keep_tail(fd.get(), path, end); !ok) return tl::unexpected(ok.error());
  }
  if (repair && (ftruncate(fd.get(), static_cast<off_t>(end)) != 0 || fsync(fd.get()) != 0)) {
    return io_error("repair", path);
  }
  return Journal(path, std::move(fd), end);
}

Result<void> Journal::append(uint64_t index, std::span<const Record> records,
                             std::span<const Hash> hashes) {
  ByteArray<kBatchHeader> header{};
  store_le(header.data(), static_cast<uint32_t>(records.size()));
  store_le(header.data() + 8, index);
  const auto check = check_of(hashes);
  std::memcpy(header.data() + 16, check.data(), check.size());
  const size_t size = header.size() + records.size() * kRecordSize;
  iovec parts[2] = {{header.data(), header.size()},
                    {const_cast<Record*>(records.data()), records.size() * kRecordSize}};
  ssize_t n;
  do {
    n = pwritev(fd_.get(), parts, 2, static_cast<off_t>(end_));
  } while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(size)) {
    end_ += size;
    return {};
  }
  if (n >= 0) errno = ENOSPC;  // a disk that took a part of it
  auto why = io_error("write", path_);
  if (ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0) broken_ = true;
  return why;
}

bool Journal::in_place() const {
  struct stat mine {
  }, named{};
  return fstat(fd_.get(), &mine) == 0 && lstat(path_.c_str(), &named) == 0 &&
         mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

Result<void> Journal::sync() {
  if (fdatasync(fd_.get()) == 0) return {};
  broken_ = true;  // what is on disk is known only by reading it again
  return io_error("sync", path_);
}

}  // namespace sluice::audit
