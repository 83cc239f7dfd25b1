#include "pktgen/port.h"

#include <cstring>

#include <rte_ethdev.h>

#include <fmt/format.h>

namespace sluice::pktgen {
namespace {

tl::unexpected<Error> port_error(const std::string& device, const std::string& what, int rc) {
  return fail(ErrorCode::kResource,
              fmt::format("{}: {}: {}", device, what, std::strerror(rc < 0 ? -rc : rc)));
}

Result<void> set_up_queues(const std::string& device, uint16_t id, uint16_t queues,
                           uint16_t descriptors, rte_mempool* pool) {
  uint16_t rx = descriptors, tx = descriptors;
  if (int rc = rte_eth_dev_adjust_nb_rx_tx_desc(id, &rx, &tx); rc != 0) {
    return port_error(device, "--descriptors is refused", rc);
  }
  const auto socket = static_cast<unsigned>(rte_eth_dev_socket_id(id));
  for (uint16_t q = 0; q < queues; ++q) {
    if (int rc = rte_eth_rx_queue_setup(id, q, rx, socket, nullptr, pool); rc != 0) {
      return port_error(device, fmt::format("receive queue {} fails", q), rc);
    }
    if (int rc = rte_eth_tx_queue_setup(id, q, tx, socket, nullptr); rc != 0) {
      return port_error(device, fmt::format("transmit queue {} fails", q), rc);
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Port>> Port::start(const DeviceOptions& device, uint16_t queues,
                                          const FleetOptions& options, rte_mempool* pool) {
  const std::string& name = device.device;
  std::unique_ptr<Port> port(new Port);
  port->queues_ = queues;
  port->virtual_ = name.starts_with("net_");
  if (rte_eth_dev_get_port_by_name(name.substr(0, name.find(',')).c_str(), &port->id_) != 0) {
    return fail(ErrorCode::kResource,
                fmt::format("DPDK finds no device {}: {}", name,
                            port->virtual_ ? "create the interface or socket that it names"
                                           : "bind it with dpdk-devbind.py"));
  }
  const uint16_t id = port->id_;
  rte_eth_dev_info info{};
  if (int rc = rte_eth_dev_info_get(id, &info); rc != 0) {
    return port_error(name, "no information", rc);
  }
  if (queues > info.max_rx_queues || queues > info.max_tx_queues) {
    return fail(ErrorCode::kResource,
                fmt::format("{} has {} receive and {} transmit queues, not {}: lower --tx-queues",
                            name, info.max_rx_queues, info.max_tx_queues, queues));
  }
  rte_eth_conf conf{};
  conf.rxmode.mtu = options.mtu;
  const uint64_t hash =
      info.flow_type_rss_offloads &
      (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_IP);
  if (queues > 1 && hash != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = hash;
  }
  conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
  port->udp_checksum_ = conf.txmode.offloads != 0;
  if (int rc = rte_eth_dev_configure(id, queues, queues, &conf); rc != 0) {
    return port_error(
        name, fmt::format("{} queues or an MTU of {} are refused", queues, options.mtu), rc);
  }
  if (auto r = set_up_queues(name, id, queues, options.descriptors, pool); !r) {
    return tl::unexpected(r.error());
  }
  if (int rc = rte_eth_dev_start(id); rc != 0) return port_error(name, "cannot be started", rc);
  if (rte_eth_allmulticast_enable(id) != 0) rte_eth_promiscuous_enable(id);
  rte_ether_addr mac{};
  rte_eth_macaddr_get(id, &mac);
  std::memcpy(port->mac_.data(), mac.addr_bytes, 6);
  return port;
}

Port::~Port() {
  rte_eth_dev_stop(id_);
  rte_eth_dev_close(id_);
}

}  // namespace sluice::pktgen
