#!/usr/bin/env bash
# Live load at a moderate rate, alone and then beside each kind of flood: what the good packets lose to it.
#   RELAY_KEY=... RATE=500000 FLOOD_RATE=max scripts/pktgen/floods.sh
# shellcheck source=scripts/pktgen/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
lab_arguments "$@"
load flood-none --frame "${FRAME:=128}" --rate "${RATE:=500000}"
for kind in ${KINDS:-random forged forged-away replay unknown hello badmac}; do
  load "flood-$kind" --frame "$FRAME" --rate "$RATE" --flood "$kind:${FLOOD_RATE:-max}"
done
