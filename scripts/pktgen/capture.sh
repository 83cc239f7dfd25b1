#!/usr/bin/env bash
# Writes a capture of sealed traffic for replay_pcap.pkt, from a short run at a low rate.
#   RELAY_KEY=... scripts/pktgen/capture.sh        then: pktgen ... -s 0:results/capture.pcap -f replay_pcap.pkt
# shellcheck source=scripts/pktgen/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
SECONDS_EACH=1
lab_arguments "$@"
load capture --frame "${FRAME:-128}" --rate 10000 --pcap "$RESULTS/capture.pcap"
