# Daemons without an init system: start once, find again, stop.
# shellcheck shell=bash

# A pid file holds "pid starttime": a pid that the kernel gave away again is never taken for ours.
start_time() { awk '{print $22}' "/proc/$1/stat" 2>/dev/null || true; }
record_pid() { echo "$2 $(start_time "$2")" >"$RUN/$1.pid"; }

pid_of() {
  local pid started
  { read -r pid started <"$RUN/$1.pid"; } 2>/dev/null || return 1
  [[ -n $pid && -n $started && $(start_time "$pid") == "$started" ]] && echo "$pid"
}
alive() { pid_of "$1" >/dev/null; }

# spawn NAME COMMAND...: a daemon in the background, unless it already runs.
# fd 9 is the lock of the command in progress and must not live on in the daemon.
spawn() {
  local name=$1
  shift
  alive "$name" && return 0
  setsid nohup "$@" >>"$LOG/$name.out" 2>&1 </dev/null 9>&- &
  record_pid "$name" $!
  disown $!
}

# spawn_server NAME PORT COMMAND...: spawn, and wait until it listens on 127.0.0.1:PORT.
spawn_server() {
  local name=$1 port=$2
  shift 2
  alive "$name" && return 0
  if port_open "$port"; then
    say "port $port, needed by $name, is taken by somebody else:"
    ss -ltnp "sport = :$port" >&2
    return 1
  fi
  spawn "$name" "$@"
  wait_until 90 "$name on port $port" server_ready "$name" "$port" && alive "$name" && return 0
  show_log_tail "$name"
  return 1
}
# A dead process ends the wait as well; spawn_server looks which of the two it was.
server_ready() { port_open "$2" || ! alive "$1"; }

show_log_tail() {
  local file
  for file in "$LOG/$1.out" "$LOG/$1.log"; do
    [[ -s $file ]] && { say "--- end of $file"; tail -n 15 "$file" >&2; }
  done
  return 0
}

# stop NAME [SECONDS]: TERM, then KILL, which takes along what it has started: workers that are
# busy would go on for a while.
stop() {
  local pid deadline=$((SECONDS + ${2:-10}))
  if pid=$(pid_of "$1"); then
    kill "$pid" 2>/dev/null || true
    while alive "$1"; do
      ((SECONDS < deadline)) || { kill_group "$pid"; break; }
      sleep 0.1
    done
  fi
  rm -f "$RUN/$1.pid"
}

# What spawn started leads a group of its own; what a host or rabbitmq started may not.
kill_group() { kill -9 -- "-$1" 2>/dev/null || kill -9 "$1" 2>/dev/null || true; }

# Names of all pid files matching a glob.
recorded() {
  local file
  for file in "$RUN"/$1.pid; do
    [[ -e $file ]] && basename "$file" .pid
  done
  return 0
}

# exclusive: one changing command at a time; the lock ends with this process. A command
# that we call ourselves works under our lock.
exclusive() {
  [[ -z ${NOVA_LITE_CLOUD_LOCKED:-} ]] || return 0
  export NOVA_LITE_CLOUD_LOCKED=yes
  mkdir -p "$STATE"
  exec 9>"$STATE/.lock"
  flock --nonblock 9 && return 0
  say "another cloud command is at work; waiting for it"
  flock 9
}
