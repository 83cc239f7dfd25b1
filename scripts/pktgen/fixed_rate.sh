#!/usr/bin/env bash
# The plan of fixed_rate.pkt with live tunnels: one frame size at one rate.
#   RELAY_KEY=... FRAME=128 RATE=1000000 scripts/pktgen/fixed_rate.sh
# shellcheck source=scripts/pktgen/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
lab_arguments "$@"
load "fixed-${FRAME:=128}-${RATE:=1000000}" --frame "$FRAME" --rate "$RATE"
