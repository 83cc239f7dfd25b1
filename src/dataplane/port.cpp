#include "dataplane/port.h"

#include <cstring>

#include <rte_ethdev.h>

#include <fmt/format.h>

#include "dataplane/af_packet.h"

namespace sluice::dataplane {
namespace {

tl::unexpected<Error> port_error(const fabric::PortConfig& c, const std::string& what, int rc) {
  return fail(ErrorCode::kResource,
              fmt::format("port {} ({}): {}: {}", c.name, c.device, what, std::strerror(-rc)));
}

std::string device_name(const std::string& device) {
  return device.substr(0, device.find(','));
}

uint64_t flow_hash_fields(uint64_t offered) {
  return offered & (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_IP);
}

}  // namespace

Result<std::unique_ptr<Port>> Port::start(const fabric::PortConfig& config, uint16_t index,
                                          uint16_t rx_queues, uint16_t tx_queues,
                                          const Pools& pools) {
  std::unique_ptr<Port> port(new Port);
  port->config_ = config;
  port->rx_queues_ = rx_queues;
  port->tx_queues_ = tx_queues;
  PortView& view = port->view_;

  if (rte_eth_dev_get_port_by_name(device_name(config.device).c_str(), &view.dpdk_id) != 0) {
    return fail(
        ErrorCode::kResource,
        fmt::format("port {}: DPDK finds no device {}: {}, or correct ports: in the configuration",
                    config.name, config.device,
                    config.device.starts_with("net_")
                        ? "create the interface or socket that it names"
                        : "bind the PCI device with dpdk-devbind.py"));
  }
  const uint16_t id = view.dpdk_id;
  rte_eth_dev_info info{};
  if (int rc = rte_eth_dev_info_get(id, &info); rc != 0)
    return port_error(config, "no information", rc);
  if (rx_queues > info.max_rx_queues || tx_queues > info.max_tx_queues) {
    return fail(
        ErrorCode::kResource,
        fmt::format("port {} ({}) has {} receive and {} transmit queues, the map needs {} and "
                    "{} (one transmit queue per worker): use fewer workers or another device",
                    config.name, config.device, info.max_rx_queues, info.max_tx_queues, rx_queues,
                    tx_queues));
  }
  if (is_af_packet(config)) {
    if (auto r = check_af_packet(config, info.max_rx_queues, rx_queues); !r) {
      return tl::unexpected(r.error());
    }
  }

  rte_eth_conf conf{};
  // net_af_packet carries what its ring frames hold, and tells ethdev that it is 1,500.
  conf.rxmode.mtu = is_af_packet(config) ? std::min<uint16_t>(config.mtu, 1500) : config.mtu;
  if (rx_queues > 1 && flow_hash_fields(info.flow_type_rss_offloads) != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = flow_hash_fields(info.flow_type_rss_offloads);
  }
  // Fast free gives all buffers of a queue back to the pool of the first.
  const uint64_t fast_free = pools.single() ? RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE : 0;
  conf.txmode.offloads = info.tx_offload_capa & (RTE_ETH_TX_OFFLOAD_UDP_CKSUM | fast_free);
  // What the device finds good need not be added up again under the header seal.
  conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
  view.tx_udp_checksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
  if (info.max_mtu != 0 && config.mtu > info.max_mtu) {
    return fail(ErrorCode::kConfig,
                fmt::format("port {} ({}) carries an MTU of at most {}, not {}: lower mtu:",
                            config.name, config.device, info.max_mtu, config.mtu));
  }
  if (int rc = rte_eth_dev_configure(id, rx_queues, tx_queues, &conf); rc != 0) {
    return port_error(config,
                      fmt::format("cannot be configured with {} receive and {} transmit "
                                  "queues and MTU {}",
                                  rx_queues, tx_queues, config.mtu),
                      rc);
  }
  uint16_t rx_descriptors = config.rx_descriptors, tx_descriptors = config.tx_descriptors;
  if (int rc = rte_eth_dev_adjust_nb_rx_tx_desc(id, &rx_descriptors, &tx_descriptors); rc != 0) {
    return port_error(config, "descriptor counts are refused", rc);
  }
  const unsigned socket = static_cast<unsigned>(rte_eth_dev_socket_id(id));
  for (uint16_t q = 0; q < rx_queues; ++q) {
    if (int rc = rte_eth_rx_queue_setup(id, q, rx_descriptors, socket, nullptr,
                                        pools.of_queue({index, q}));
        rc != 0) {
      return port_error(config, fmt::format("receive queue {} fails", q), rc);
    }
  }
  for (uint16_t q = 0; q < tx_queues; ++q) {
    if (int rc = rte_eth_tx_queue_setup(id, q, tx_descriptors, socket, nullptr); rc != 0) {
      return port_error(config, fmt::format("transmit queue {} fails", q), rc);
    }
  }
  if (int rc = rte_eth_dev_start(id); rc != 0) return port_error(config, "cannot be started", rc);
  // Neighbour solicitations come to a group address; a device that cannot filter hears everything.
  if (rte_eth_allmulticast_enable(id) != 0) rte_eth_promiscuous_enable(id);

  rte_ether_addr mac{};
  rte_eth_macaddr_get(id, &mac);
  std::memcpy(view.mac.data(), mac.addr_bytes, 6);
  std::memcpy(&view.mac48, mac.addr_bytes, 6);
  view.mtu = config.mtu;
  for (const auto& a : config.addresses) {
    view.addresses.push_back(a.ip);
    if (!a.v6 && view.first_ip4 == 0) view.first_ip4 = load_le<uint32_t>(a.ip.data() + 12);
  }
  return port;
}

Port::~Port() {
  rte_eth_dev_stop(view_.dpdk_id);
  rte_eth_dev_close(view_.dpdk_id);
}

fabric::PortStatus Port::status() const {
  fabric::PortStatus out;
  out.name = config_.name;
  out.device = config_.device;
  out.mtu = view_.mtu;
  out.rx_queues = rx_queues_;
  out.tx_queues = tx_queues_;
  const auto& m = view_.mac;
  out.mac =
      fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5]);
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(view_.dpdk_id, &info) == 0) out.driver = info.driver_name;
  out.socket = rte_eth_dev_socket_id(view_.dpdk_id);
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(view_.dpdk_id, &link) == 0) {
    out.link_up = link.link_status == RTE_ETH_LINK_UP;
    out.link_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
  }
  rte_eth_stats stats{};
  if (rte_eth_stats_get(view_.dpdk_id, &stats) == 0) {
    out.rx_missed = stats.imissed;
    out.rx_no_buffer = stats.rx_nombuf;
    out.tx_errors = stats.oerrors;
  }
  // Preamble, FCS and gap included; a link of unknown speed counts as 1 Gbit/s.
  const double mbps = out.link_mbps != 0 ? out.link_mbps : 1000;
  out.worst_drain_us = double(config_.tx_descriptors) * (view_.mtu + 38.0) * 8 / mbps;
  return out;
}

bool Port::link_up() const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(view_.dpdk_id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

}  // namespace sluice::dataplane
