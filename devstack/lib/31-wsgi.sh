# API services in uWSGI on 127.0.0.1.
# shellcheck shell=bash

# api NAME PORT MODULE PROCESSES THREADS [ENVIRONMENT=VALUE... or uWSGI options...]
api() {
  local name=$1 port=$2 module=$3 processes=$4 threads=$5 environment=()
  shift 5
  while [[ ${1:-} == [A-Z]*=* ]]; do
    environment+=("$1")
    shift
  done
  spawn_server "$name" "$port" env "${environment[@]}" uwsgi \
    --http-socket "127.0.0.1:$port" --module "$module" --processes "$processes" --threads "$threads" \
    --master --no-orphans --enable-threads --lazy-apps --need-app --thunder-lock --buffer-size 65535 \
    --die-on-term --hook-master-start "unix_signal:15 gracefully_kill_them_all" --worker-reload-mercy 3 \
    --add-header "Connection: close" --procname-prefix "$name " \
    --log-master --logto2 "$LOG/$name-access.log" "$@"
}

# The port opens before the application is loaded.
api_answers() { wait_until 90 "$1 at $2" http_answers "$2" || { show_log_tail "$1"; return 1; }; }
