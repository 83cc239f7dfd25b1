#include "pktgen/capture.h"

#include <pcap/pcap.h>

#include <algorithm>

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <fmt/format.h>

namespace sluice::pktgen {
namespace {

constexpr unsigned kSlots = 2048;
constexpr int kSnapshot = 16384;

}  // namespace

Result<std::unique_ptr<CaptureRing>> CaptureRing::create(unsigned worker, rte_mempool* pool,
                                                         uint32_t limit) {
  std::unique_ptr<CaptureRing> out(new CaptureRing);
  out->pool_ = pool;
  out->left_ = limit;
  out->ring_ = rte_ring_create(fmt::format("pktgen-pcap-{}", worker).c_str(), kSlots, SOCKET_ID_ANY,
                               RING_F_SP_ENQ | RING_F_SC_DEQ);
  if (out->ring_ == nullptr) {
    return fail(ErrorCode::kResource,
                fmt::format("no memory for a ring: {}", rte_strerror(rte_errno)));
  }
  return out;
}

CaptureRing::~CaptureRing() {
  if (ring_ == nullptr) return;
  while (rte_mbuf* m = take()) rte_pktmbuf_free(m);
  rte_ring_free(ring_);
}

void CaptureRing::copy(std::span<rte_mbuf* const> packets) noexcept {
  count_ = std::min<unsigned>(left_, static_cast<unsigned>(packets.size()));
  for (unsigned i = 0; i < count_; ++i) {
    copies_[i] = rte_pktmbuf_copy(packets[i], pool_, 0, UINT32_MAX);
  }
}

void CaptureRing::keep(unsigned sent) noexcept {
  for (unsigned i = 0; i < count_; ++i) {
    rte_mbuf* m = copies_[i];
    const bool wanted = i < sent;
    if (wanted) --left_;
    if (m != nullptr && wanted && rte_ring_enqueue(ring_, m) == 0) continue;
    if (wanted) missed_.add();
    if (m != nullptr) rte_pktmbuf_free(m);
  }
  count_ = 0;
}

rte_mbuf* CaptureRing::take() noexcept {
  void* m = nullptr;
  return rte_ring_dequeue(ring_, &m) == 0 ? static_cast<rte_mbuf*>(m) : nullptr;
}

Result<std::unique_ptr<CaptureFile>> CaptureFile::open(const std::string& path) {
  std::unique_ptr<CaptureFile> out(new CaptureFile);
  out->pcap_ =
      pcap_open_dead_with_tstamp_precision(DLT_EN10MB, kSnapshot, PCAP_TSTAMP_PRECISION_NANO);
  out->dumper_ = out->pcap_ != nullptr ? pcap_dump_open(out->pcap_, path.c_str()) : nullptr;
  if (out->dumper_ == nullptr) {
    return fail(ErrorCode::kPermission,
                fmt::format("cannot write --pcap {}: {}", path,
                            out->pcap_ != nullptr ? pcap_geterr(out->pcap_) : "no memory"));
  }
  return out;
}

CaptureFile::~CaptureFile() {
  if (dumper_ != nullptr) pcap_dump_close(dumper_);
  if (pcap_ != nullptr) pcap_close(pcap_);
}

void CaptureFile::write_all(CaptureRing& ring) {
  while (rte_mbuf* m = ring.take()) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    const auto size = rte_pktmbuf_data_len(m);
    const pcap_pkthdr header{
        .ts = {now.tv_sec, static_cast<suseconds_t>(now.tv_nsec)}, .caplen = size, .len = size};
    pcap_dump(reinterpret_cast<u_char*>(dumper_), &header, rte_pktmbuf_mtod(m, const u_char*));
    ++written_;
    rte_pktmbuf_free(m);
  }
}

}  // namespace sluice::pktgen
