#include "pcap/capture_file.h"

#include <fcntl.h>
#include <pcap/pcap.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

namespace sluice::capture {
namespace {

constexpr uint64_t kNsPerS = 1'000'000'000;

ErrorCode code_of(int e) {
  return e == ENOENT                               ? ErrorCode::kNotFound
         : e == EACCES || e == EPERM || e == EROFS ? ErrorCode::kPermission
         : e == EEXIST                             ? ErrorCode::kConflict
                                                   : ErrorCode::kResource;
}

}  // namespace

void CaptureReader::Close::operator()(pcap* p) const {
  pcap_close(p);
}

Result<CaptureReader> CaptureReader::open(const std::string& path) {
  // libpcap's own sentence has neither errno nor always the path.
  FILE* file = path == "-" ? fdopen(dup(STDIN_FILENO), "rb") : std::fopen(path.c_str(), "rbe");
  if (file == nullptr) {
    return fail(code_of(errno), fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  char why[PCAP_ERRBUF_SIZE] = "";
  pcap_t* p = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, why);
  if (p == nullptr) {
    std::fclose(file);
    return fail(ErrorCode::kUsage,
                fmt::format("{} is no capture file (pcap or pcapng): {}", path, why));
  }
  return CaptureReader(path, p);
}

int CaptureReader::link_type() const {
  return pcap_datalink(pcap_.get());
}

Result<std::optional<Packet>> CaptureReader::next() {
  pcap_pkthdr* header = nullptr;
  const u_char* data = nullptr;
  const int got = pcap_next_ex(pcap_.get(), &header, &data);
  if (got == PCAP_ERROR_BREAK) return std::nullopt;
  if (got != 1) {
    return fail(ErrorCode::kUsage, fmt::format("{} is damaged or cut off behind packet {}: {}",
                                               path_, packets_, pcap_geterr(pcap_.get())));
  }
  ++packets_;
  bytes_.assign(data, data + header->caplen);
  return Packet{bytes_, header->len,
                uint64_t(header->ts.tv_sec) * kNsPerS + uint64_t(header->ts.tv_usec)};
}

void CaptureWriter::Close::operator()(pcap_dumper* d) const {
  pcap_dump_close(d);
}

Result<CaptureWriter> CaptureWriter::create(const std::string& path, const CaptureReader& like) {
  // What was sealed is in clear in it.
  const int fd = path == "-" ? dup(STDOUT_FILENO)
                             : open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  FILE* file = fd < 0 ? nullptr : fdopen(fd, "wb");
  if (file == nullptr) {
    return fail(code_of(errno),
                errno == EEXIST
                    ? fmt::format("{} exists already; remove it, or name another file", path)
                    : fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  }
  pcap_dumper_t* d = pcap_dump_fopen(like.pcap_.get(), file);
  if (d == nullptr) {
    std::fclose(file);
    return fail(ErrorCode::kResource,
                fmt::format("cannot write {}: {}", path, pcap_geterr(like.pcap_.get())));
  }
  return CaptureWriter(path, d);
}

void CaptureWriter::write(const Packet& packet) {
  // Opened with nanoseconds, libpcap keeps them where microseconds stand.
  const pcap_pkthdr header{
      .ts = {time_t(packet.time_ns / kNsPerS), suseconds_t(packet.time_ns % kNsPerS)},
      .caplen = bpf_u_int32(packet.bytes.size()),
      .len = bpf_u_int32(packet.wire_size)};
  pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, packet.bytes.data());
}

Result<void> CaptureWriter::finish() {
  if (pcap_dump_flush(dumper_.get()) == 0 && std::ferror(pcap_dump_file(dumper_.get())) == 0) {
    return {};
  }
  return fail(ErrorCode::kResource,
              fmt::format("cannot write all of {}: {}", path_, std::strerror(errno)));
}

}  // namespace sluice::capture
