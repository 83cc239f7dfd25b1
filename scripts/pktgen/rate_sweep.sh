#!/usr/bin/env bash
# The plan of rate_sweep.pkt and sweep.lua with live tunnels: sizes by rates, then the rate without loss by search.
#   RELAY_KEY=... FRAMES="128 512 1518" RATES="100000 1000000 max" scripts/pktgen/rate_sweep.sh
# shellcheck source=scripts/pktgen/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
lab_arguments "$@"
for frame in ${FRAMES:-128 512 1518}; do
  for rate in ${RATES:-100000 1000000 5000000 max}; do
    load "sweep-$frame-$rate" --frame "$frame" --rate "$rate"
  done
done
load sweep-imix-max --imix --rate max
say "== rate without loss"
as_root "$pktgen" search --device "$DEVICE" --address "$ADDRESS" --relay "$RELAY" --lcores "$LCORES" \
  --seed-file "$SEED_FILE" --agents "$AGENTS" --relay-key "$RELAY_KEY" --json "$RESULTS/search.json"
