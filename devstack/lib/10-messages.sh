# Talking to the user, waiting for things.
# shellcheck shell=bash

say() { echo "$*" >&2; }
die() { echo "ERROR: $*" >&2; exit 1; }

# wait_until SECONDS WHAT COMMAND...: poll until COMMAND succeeds.
wait_until() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || { say "gave up waiting for $what"; return 1; }
    sleep 0.1
  done
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
http_answers() { curl --noproxy '*' --silent --output /dev/null --max-time 20 "$1"; }

# once NAME COMMAND...: COMMAND has a lasting effect in $DATA and need not be repeated.
once() {
  local marker=$DATA/done/$1
  shift
  [[ -e $marker ]] && return 0
  "$@"
  mkdir -p "$DATA/done"
  touch "$marker"
}
