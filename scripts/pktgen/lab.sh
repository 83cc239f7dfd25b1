# shellcheck shell=bash
# The lab as the scripts in this folder see it; source it. Each value can be set in the environment instead.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

: "${DEVICE:=0000:3b:00.0}"          # the generator's port, bound to vfio-pci (or any DPDK device string)
: "${ADDRESS:=192.0.2.100/24}"       # the generator's first address on that link
: "${RELAY:=192.0.2.1:7600}"         # the relay's address there
: "${RELAY_KEY:=}"                   # the relay's public key, base64: sluiced --new-key printed it
: "${SEED_FILE:=$HOME/sluice-pktgen.seed}" # 32 secret bytes that all agents' keys come from
: "${AGENTS:=64}"
: "${LCORES:=2,3}"                   # main and worker, on the port's NUMA node
: "${SECONDS_EACH:=10}"
: "${RESULTS:=$PWD/results}"

# --help prints the script's own opening comment.
lab_arguments() {
  case ${1:-} in
    --help | -h) sed -n '2,/^# shellcheck/{/^# shellcheck/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    '') ;;
    *) complain "unknown argument $1; the lab is described by variables, see scripts/pktgen/lab.sh"; exit 2 ;;
  esac
  pktgen=$(repo_root)/build/sluice-pktgen
  [[ -x $pktgen ]] || die "$pktgen does not exist: run scripts/build."
  [[ -n $RELAY_KEY ]] || die "RELAY_KEY is not set: the relay's public key as base64 (sluiced --new-key printed it)."
  if [[ ! -s $SEED_FILE ]]; then
    (umask 077 && head -c 32 /dev/urandom >"$SEED_FILE")
    notice "made $SEED_FILE: put the output of scripts/pktgen/trust.sh into the relay's configuration first."
  fi
  mkdir -p "$RESULTS"
}

# load NAME OPTION...: one run of live traffic, its figures in RESULTS/NAME.json.
load() {
  local name=$1
  shift
  say "== $name"
  as_root "$pktgen" run --device "$DEVICE" --address "$ADDRESS" --relay "$RELAY" --lcores "$LCORES" \
    --seed-file "$SEED_FILE" --agents "$AGENTS" --relay-key "$RELAY_KEY" --seconds "$SECONDS_EACH" \
    --json "$RESULTS/$name.json" "$@"
}
