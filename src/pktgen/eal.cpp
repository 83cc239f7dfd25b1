#include "pktgen/eal.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <fmt/format.h>

#include "base/file.h"
#include "pktgen/mailbox.h"

namespace sluice::pktgen {
namespace {

constexpr unsigned kPoolCache = 256;
constexpr size_t kEalOwn = 24u << 20;  // its memzones, device data, telemetry

size_t memory_of(const FleetOptions& o) {
  const size_t general = size_t{buffers_needed(o)} * (2048 + 512);
  return general + size_t{o.presealed} * (o.presealed_room + 448u) + kEalOwn;
}

Result<void> check_memory(const FleetOptions& o) {
  if (o.mode == fabric::EalMode::kNoHuge) return {};
  size_t pages = 0;
  std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") >> pages;
  const size_t need = (memory_of(o) >> 20) + 1;
  if (pages * 2 >= need) return {};
  return fail(ErrorCode::kResource,
              fmt::format("needs {} MiB of hugepages, {} MiB are free: provide more "
                          "(scripts/setup), lower --presealed or --buffers, or say --mode no_huge",
                          need, pages * 2));
}

// A memif server whose predecessor was killed finds its own socket in the way.
void unlink_stale_socket(const std::string& device) {
  const size_t at = device.find("socket=");
  if (at == std::string::npos || device.find("role=server") == std::string::npos) return;
  const size_t begin = at + 7;
  const std::string path = device.substr(begin, device.find(',', begin) - begin);
  struct stat st {};
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path || lstat(path.c_str(), &st) != 0 ||
      !S_ISSOCK(st.st_mode)) {
    return;
  }
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  const Fd probe(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno == ECONNREFUSED) {
    unlink(path.c_str());
  }
}

std::vector<std::string> arguments(const FleetOptions& o) {
  std::string lcores = fmt::format("0@{}", o.main_core);
  for (size_t w = 0; w < o.worker_cores.size(); ++w) {
    lcores += fmt::format(",{}@{}", w + 1, o.worker_cores[w]);
  }
  std::vector<std::string> args = {"sluice-pktgen", "--lcores",    lcores,
                                   "--file-prefix", o.file_prefix, "--log-level=*:error"};
  if (o.mode == fabric::EalMode::kInMemory) args.push_back("--in-memory");
  if (o.mode == fabric::EalMode::kNoHuge) {
    args.insert(args.end(),
                {"--no-huge", "--no-shconf", "-m", std::to_string((memory_of(o) >> 20) + 32)});
  }
  bool pci = false;
  for (const auto& d : o.devices) {
    const bool vdev = d.device.starts_with("net_");
    pci |= !vdev;
    args.insert(args.end(), {vdev ? "--vdev" : "-a", d.device});
    unlink_stale_socket(d.device);
  }
  if (!pci) args.push_back("--no-pci");
  args.insert(args.end(), o.eal_args.begin(), o.eal_args.end());
  return args;
}

void prepare_buffer(rte_mempool* pool, void*, void* object, unsigned) {
  auto* m = static_cast<rte_mbuf*>(object);
  std::memset(m->buf_addr, 0x5a, m->buf_len);
  (void)pool;
}

}  // namespace

Result<std::unique_ptr<Eal>> Eal::start(const FleetOptions& o) {
  if (auto r = check_memory(o); !r) return tl::unexpected(r.error());
  auto args = arguments(o);
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) < 0) {
    const bool privilege = geteuid() != 0 && o.mode != fabric::EalMode::kNoHuge;
    return fail(privilege ? ErrorCode::kNoPrivilege : ErrorCode::kResource,
                fmt::format("DPDK's EAL does not start: {}; the lines above say why (a device that "
                            "does not exist, a core that may not be used, another process with "
                            "--file-prefix {}{})",
                            rte_strerror(rte_errno), o.file_prefix,
                            privilege ? ", or no privilege: hugepages and NICs need root" : ""));
  }
  return std::unique_ptr<Eal>(new Eal);
}

Eal::~Eal() {
  rte_eal_cleanup();
}

void PoolDeleter::operator()(rte_mempool* p) const {
  rte_mempool_free(p);
}

Result<PoolHandle> create_pool(const char* name, uint32_t count, uint16_t data_size) {
  static_assert(sizeof(Note) % RTE_MBUF_PRIV_ALIGN == 0);
  PoolHandle pool(rte_pktmbuf_pool_create(name, count, kPoolCache, sizeof(Note),
                                          static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + data_size),
                                          SOCKET_ID_ANY));
  if (!pool) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot create {} packet buffers of {} bytes: {}: lower --buffers or "
                            "--presealed",
                            count, data_size, rte_strerror(rte_errno)));
  }
  rte_mempool_obj_iter(pool.get(), prepare_buffer, nullptr);
  return pool;
}

uint32_t buffers_needed(const FleetOptions& o) {
  if (o.buffers != 0) return o.buffers;
  const uint32_t per_device = o.queues * 2u * o.descriptors + 2 * kMailboxSlots + 4096;
  return static_cast<uint32_t>(o.devices.size()) * per_device + (o.pcap_packets != 0 ? 4096 : 0);
}

}  // namespace sluice::pktgen
