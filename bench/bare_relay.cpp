// The middle of the agent bench's bare pipeline (bench/README.md, "agent"): takes UDP packets from
// one af_packet port, gives them the other host's addresses, and sends them out of the second. No
// cryptography, no tables. Sleeps as a relay does that has nothing to do.
//   bare_relay PREFIX IN-DEVICE OUT-DEVICE OUT-MAC OUT-SOURCE OUT-TARGET OUT-PORT
#include <arpa/inet.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

namespace {

volatile std::sig_atomic_t ended = 0;

struct Target {
  rte_ether_addr own{}, mac{};
  uint32_t source = 0, address = 0;
  uint16_t port = 0;
};

bool start(uint16_t port, rte_mempool* pool) {
  const rte_eth_conf conf{};
  return rte_eth_dev_configure(port, 1, 1, &conf) == 0 &&
         rte_eth_rx_queue_setup(port, 0, 512, SOCKET_ID_ANY, nullptr, pool) == 0 &&
         rte_eth_tx_queue_setup(port, 0, 512, SOCKET_ID_ANY, nullptr) == 0 &&
         rte_eth_dev_start(port) == 0;
}

// False: not a UDP packet over IPv4.
bool readdress(rte_mbuf* m, const Target& to) {
  auto* ether = rte_pktmbuf_mtod(m, rte_ether_hdr*);
  auto* ip = reinterpret_cast<rte_ipv4_hdr*>(ether + 1);
  const bool udp = rte_pktmbuf_data_len(m) >= 42 &&
                   ether->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) &&
                   ip->version_ihl == 0x45 && ip->next_proto_id == IPPROTO_UDP;
  if (!udp) return false;
  auto* header = reinterpret_cast<rte_udp_hdr*>(ip + 1);
  ether->src_addr = to.own;
  ether->dst_addr = to.mac;
  ip->src_addr = to.source;
  ip->dst_addr = to.address;
  ip->hdr_checksum = 0;
  ip->hdr_checksum = rte_ipv4_cksum(ip);
  header->dst_port = to.port;
  header->dgram_cksum = 0;
  return true;
}

void forward(const Target& to) {
  constexpr uint16_t kBurst = 64;
  unsigned idle = 0;
  while (ended == 0) {
    rte_mbuf* burst[kBurst];
    const uint16_t n = rte_eth_rx_burst(0, 0, burst, kBurst);
    if (n == 0) {
      if (++idle > 100) usleep(50);
      continue;
    }
    idle = 0;
    uint16_t good = 0;
    for (uint16_t i = 0; i < n; ++i) {
      if (readdress(burst[i], to)) {
        burst[good++] = burst[i];
      } else {
        rte_pktmbuf_free(burst[i]);
      }
    }
    const uint16_t sent = rte_eth_tx_burst(1, 0, burst, good);
    for (uint16_t i = sent; i < good; ++i) rte_pktmbuf_free(burst[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr,
                 "usage: bare_relay PREFIX IN OUT OUT-MAC OUT-SOURCE OUT-TARGET OUT-PORT\n");
    return 2;
  }
  std::vector<std::string> words = {argv[0],
                                    "--no-huge",
                                    "--no-shconf",
                                    "-m",
                                    "256",
                                    "--no-pci",
                                    "--no-telemetry",
                                    std::string("--file-prefix=") + argv[1],
                                    std::string("--vdev=net_af_packet0,iface=") + argv[2],
                                    std::string("--vdev=net_af_packet1,iface=") + argv[3]};
  std::vector<char*> raw;
  for (std::string& w : words) raw.push_back(w.data());
  if (rte_eal_init(int(raw.size()), raw.data()) < 0) return 1;
  rte_mempool* pool =
      rte_pktmbuf_pool_create("packets", 8'191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  Target to;
  if (pool == nullptr || !start(0, pool) || !start(1, pool) ||
      rte_ether_unformat_addr(argv[4], &to.mac) != 0) {
    std::fprintf(stderr, "bare_relay: the ports do not start\n");
    return 1;
  }
  rte_eth_macaddr_get(1, &to.own);
  inet_pton(AF_INET, argv[5], &to.source);
  inet_pton(AF_INET, argv[6], &to.address);
  to.port = htons(static_cast<uint16_t>(std::stoul(argv[7])));
  for (const int s : {SIGTERM, SIGINT}) std::signal(s, [](int) { ended = 1; });
  std::puts("ready");
  std::fflush(stdout);
  forward(to);
  return 0;
}
