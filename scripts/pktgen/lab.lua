-- Addresses of the lab and what every script here does with them; the other scripts load this file.
-- Change the first five to your lab (README.md).
lab = {
  relay_mac = "02:00:00:00:00:01",
  own_mac = "02:00:00:00:00:02",
  relay_ip = "192.0.2.1",
  own_ip = "192.0.2.100/24",
  relay_port = 7600,
  port = "0", -- Pktgen's port, as it wants it for set
}

function lab.prepare(size, burst)
  pktgen.screen("off")
  pktgen.set_mac(lab.port, "dst", lab.relay_mac)
  pktgen.set_mac(lab.port, "src", lab.own_mac)
  pktgen.set_ipaddr(lab.port, "dst", lab.relay_ip)
  pktgen.set_ipaddr(lab.port, "src", lab.own_ip)
  pktgen.set_type(lab.port, "ipv4")
  pktgen.set_proto(lab.port, "udp")
  pktgen.set(lab.port, "sport", 40000)
  pktgen.set(lab.port, "dport", lab.relay_port)
  pktgen.set(lab.port, "size", size)
  pktgen.set(lab.port, "burst", burst)
  pktgen.set(lab.port, "count", 0)
end

-- Sends for `seconds` at `percent` of the line; returns packets sent and received by this port, and packets/s
-- and Mbit/s as they were in the middle.
function lab.trial(percent, seconds)
  pktgen.clr()
  pktgen.set(lab.port, "rate", percent)
  pktgen.start(lab.port)
  pktgen.delay(seconds * 500)
  local rate = pktgen.portStats(lab.port, "rate")[tonumber(lab.port)]
  pktgen.delay(seconds * 500)
  pktgen.stop(lab.port)
  pktgen.delay(1000)
  local stats = pktgen.portStats(lab.port, "port")[tonumber(lab.port)]
  return stats.opackets, stats.ipackets, rate.pkts_tx, rate.mbits_tx
end
