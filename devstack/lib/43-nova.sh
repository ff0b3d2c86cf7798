# Nova's control plane: API, metadata, conductor, scheduler, console proxies; cell0 and cell1.
# shellcheck shell=bash

describe_step nova "Nova control plane" \
  "see $LOG/nova-*.log and $LOG/nova-api.out"

nova_database() {
  require_database_release
  render nova.conf "$ETC/nova/nova.conf"
  record_release "$NOVA_RELEASE"
  once nova-database create_cells
}

step_nova() {
  local service workers=(2 4)
  require_database_release
  # Until 2025.2 nova-api lives on eventlet, which wants one thread in a process.
  [[ $NOVA_RELEASE != 2025.* ]] || workers=(4 1)
  mkdir -p "$DATA/nova"
  cp "$NOVA_VENV/etc/nova/api-paste.ini" "$ETC/nova/"
  ! has_second_cell || second_cell
  for service in conductor scheduler; do
    spawn "nova-$service" "$NOVA_VENV/bin/nova-$service" --config-file "$ETC/nova/nova.conf" --log-file "$LOG/nova-$service.log"
  done
  spawn_server nova-novncproxy "$NOVNC_PORT" "$NOVA_VENV/bin/nova-novncproxy" --config-file "$ETC/nova/nova.conf" \
    --log-file "$LOG/nova-novncproxy.log" --web /usr/share/novnc
  spawn_server nova-spicehtml5proxy "$SPICE_PORT" "$NOVA_VENV/bin/nova-spicehtml5proxy" --config-file "$ETC/nova/nova.conf" \
    --log-file "$LOG/nova-spicehtml5proxy.log" --web /usr/share/spice-html5
  spawn_server nova-serialproxy "$SERIAL_PORT" "$NOVA_VENV/bin/nova-serialproxy" --config-file "$ETC/nova/nova.conf" \
    --log-file "$LOG/nova-serialproxy.log"
  api nova-api "$NOVA_PORT" nova.wsgi.osapi_compute:application "${workers[@]}" \
    PATH="$NOVA_VENV/bin:$PATH" OS_NOVA_CONFIG_DIR="$ETC/nova"
  api nova-metadata "$METADATA_PORT" nova.wsgi.metadata:application 1 "${workers[1]}" \
    PATH="$NOVA_VENV/bin:$PATH" OS_NOVA_CONFIG_DIR="$ETC/nova"
  api_answers nova-api "http://127.0.0.1:$NOVA_PORT/"
  api_answers nova-metadata "http://127.0.0.1:$METADATA_PORT/"
}

command_nova() {
  [[ ${1:-} == restart ]] || die "nova restart"
  exclusive
  load_secrets
  alive nova-api || die "no cloud runs: $CLOUD up"
  require_database_release
  render nova.conf "$ETC/nova/nova.conf"
  stop_nova
  "$CLOUD" step nova
}

create_cells() {
  local configuration=$ETC/nova/nova.conf cells
  nova_manage "$configuration" api_db sync
  nova_manage "$configuration" cell_v2 map_cell0 --database_connection "$(database_url nova_cell0)"
  cells=$(nova_manage "$configuration" cell_v2 list_cells)
  grep -q ' cell1 ' <<<"$cells" || nova_manage "$configuration" cell_v2 create_cell --name cell1
  nova_manage "$configuration" db sync
}
