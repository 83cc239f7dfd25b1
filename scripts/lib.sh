# shellcheck shell=bash
# Helpers for the scripts in this folder; source it, it changes nothing by itself.
# Needs only what every Debian 12 has.

set -euo pipefail

# paint FD CODE TEXT: TEXT in REPLY, coloured if FD is a terminal. Not on stdout: inside $(...) that is a pipe.
paint() {
  REPLY=$3
  if [[ -t $1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then REPLY=$'\033['"$2m$3"$'\033[0m'; fi
}

say() { printf '%s\n' "$*"; }
notice() { paint 2 33 notice: && printf '%s %s\n' "$REPLY" "$*" >&2; }
complain() { paint 2 31 error: && printf '%s %s\n' "$REPLY" "$*" >&2; }
die() { complain "$@"; exit 1; }

# The checkout that holds this file, as an absolute path.
repo_root() { (cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P); }

# True if as_root can work; may ask for the password once.
can_be_root() {
  ((EUID == 0)) && return
  command -v sudo >/dev/null || return
  sudo -n true 2>/dev/null || sudo -v
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -- "$@"; fi
}

now_ms() {
  local us=${EPOCHREALTIME/[.,]/}
  printf '%s' $((us / 1000))
}

# seconds_since START_MS: "3.2 s"
seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# tick LABEL START_MS LOG NEVER: shows that a step lives, until it is killed or the script is gone. On a terminal the
# seconds and the log's last line, rewritten in place; elsewhere a dot every two seconds. Waits by reading NEVER, a pipe
# that nobody writes to: a `sleep` would outlive the step.
tick() {
  local label=$1 start=$2 log=$3 never=$4 columns line
  if [[ ! -t 1 ]]; then
    until read -rt 2 -u "$never" || ! kill -0 $$ 2>/dev/null; do printf '.'; done
    return
  fi
  columns=$(tput cols 2>/dev/null) || columns=80
  until read -rt 0.3 -u "$never" || ! kill -0 $$ 2>/dev/null; do
    line=$(tail -c 400 "$log" | tail -n 1 | tr -dc '[:print:]')
    line="  ..  $label  $(seconds_since "$start")  $line"
    printf '\r\033[K%s' "${line:0:columns-1}"
  done
}

# run_step LABEL COMMAND...: one line with the elapsed time; the command's output goes to a log, which is removed
# on success and named on failure (its path is then in STEP_LOG). Returns the command's status. A function
# given as COMMAND must chain with && (`set -e` does not reach into it). The command stays in the foreground,
# so that an interrupt reaches it, and this shell's traps run only after it has ended.
run_step() {
  local label=$1 start never ticker status=0
  shift
  STEP_LOG=$(mktemp "${TMPDIR:-/tmp}/sluice-XXXXXX.log")
  mkfifo "$STEP_LOG.pipe"
  exec {never}<>"$STEP_LOG.pipe"
  rm -f "$STEP_LOG.pipe"
  start=$(now_ms)
  printf '  ..  %s' "$label"
  tick "$label" "$start" "$STEP_LOG" "$never" &
  ticker=$!
  "$@" >"$STEP_LOG" 2>&1 </dev/null || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  exec {never}>&-

  if ((status == 0)); then paint 1 32 ok; else paint 1 31 fail; fi
  if [[ -t 1 ]]; then
    printf '\r\033[K  %s  %s  %s\n' "$REPLY" "$label" "$(seconds_since "$start")"
  else
    printf ' %s  %s\n' "$REPLY" "$(seconds_since "$start")"  # the label stands already
  fi
  if ((status == 0)); then
    rm -f "$STEP_LOG"
    return
  fi
  sed -n '/[^[:space:]]/p' "$STEP_LOG" | tail -n 4 | sed 's/^/      /' >&2
  printf '      log: %s\n' "$STEP_LOG" >&2
  return "$status"
}
