# What runs, and its logs.
# shellcheck shell=bash

# MiB of a process and its descendants (shared pages counted for each).
resident() {
  local pid
  for pid in $(descendants "$1"); do
    cat "/proc/$pid/status" 2>/dev/null || true
  done | awk '/^VmRSS/ {sum += $2} END {print int(sum / 1024)}'
}

descendants() {
  local child children
  echo "$1"
  children=$(cat /proc/"$1"/task/*/children 2>/dev/null) || true
  for child in $children; do descendants "$child"; done
}

command_status() {
  local name pid down=0
  for name in $(recorded '*'); do
    if pid=$(pid_of "$name"); then
      # A host is its services; they have lines of their own.
      [[ $name == node-* ]] && continue
      printf '%-26s pid %-8s %5d MiB  up %s\n' "$name" "$pid" "$(resident "$pid")" "$(ps -o etime= -p "$pid" | xargs)"
    else
      printf '%-26s DEAD (see %s logs %s)\n' "$name" "$CLOUD" "$name"
      down=1
    fi
  done
  [[ -n $(recorded '*') ]] || { echo "nothing runs; start it with: $CLOUD up"; return 3; }
  echo
  name=$(database_release)
  echo "Nova is ${name:-not there yet}, all else $NEWEST_RELEASE"
  agent_list
  local node
  for node in $(known_nodes); do
    alive "node-$node" || { echo "$node is switched off"; continue; }
    echo "$node: $(in_node "$node" virsh --connect qemu:///system list --name 2>/dev/null | grep -c .) guests"
  done
  return $down
}

command_logs() {
  local follow=() name
  if [[ ${1:-} == -f ]]; then
    follow=(--follow)
    shift
  fi
  (($#)) || { (cd "$LOG" && ls --size --human-readable -- *.log *.out); return; }
  local files=()
  for name in "$LOG/$1".{log,out} "$LOG/$1-access.log"; do
    [[ -s $name ]] && files+=("$name")
  done
  ((${#files[@]})) || die "no log of '$1' in $LOG"
  tail --lines=40 "${follow[@]}" "${files[@]}"
}
