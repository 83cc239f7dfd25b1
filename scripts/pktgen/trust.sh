#!/usr/bin/env bash
# Prints the `trust:` section that makes a relay know the generator's agents; paste it into its configuration.
#   RELAY_KEY=... scripts/pktgen/trust.sh > trust.yaml
# shellcheck source=scripts/pktgen/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
lab_arguments "$@"
exec "$pktgen" trust --agents "$AGENTS" --seed-file "$SEED_FILE" --relay-key "$RELAY_KEY"
