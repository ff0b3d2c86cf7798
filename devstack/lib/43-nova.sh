# Nova's control plane: API, metadata, conductor, scheduler, console proxies; cell0 and cell1.
# shellcheck shell=bash

describe_step nova "Nova control plane" \
  "see $LOG/nova-*.log and $LOG/nova-api.out"

nova_database() {
  render nova.conf "$ETC/nova/nova.conf"
  once nova-database create_cells
}

step_nova() {
  local service
  mkdir -p "$DATA/nova"
  cp "$VENV/etc/nova/api-paste.ini" "$ETC/nova/"
  ! has_second_cell || second_cell
  for service in conductor scheduler; do
    spawn "nova-$service" "nova-$service" --config-file "$ETC/nova/nova.conf" --log-file "$LOG/nova-$service.log"
  done
  spawn_server nova-novncproxy "$NOVNC_PORT" nova-novncproxy --config-file "$ETC/nova/nova.conf" \
    --log-file "$LOG/nova-novncproxy.log" --web /usr/share/novnc
  spawn_server nova-spicehtml5proxy "$SPICE_PORT" nova-spicehtml5proxy --config-file "$ETC/nova/nova.conf" \
    --log-file "$LOG/nova-spicehtml5proxy.log" --web /usr/share/spice-html5
  spawn_server nova-serialproxy "$SERIAL_PORT" nova-serialproxy --config-file "$ETC/nova/nova.conf" \
    --log-file "$LOG/nova-serialproxy.log"
  api nova-api "$NOVA_PORT" nova.wsgi.osapi_compute:application 2 4 OS_NOVA_CONFIG_DIR="$ETC/nova"
  api nova-metadata "$METADATA_PORT" nova.wsgi.metadata:application 1 4 OS_NOVA_CONFIG_DIR="$ETC/nova"
  api_answers nova-api "http://127.0.0.1:$NOVA_PORT/"
  api_answers nova-metadata "http://127.0.0.1:$METADATA_PORT/"
}

create_cells() {
  local manage="nova-manage --config-file $ETC/nova/nova.conf"
  $manage api_db sync
  $manage cell_v2 map_cell0 --database_connection "$(database_url nova_cell0)"
  $manage cell_v2 list_cells | grep -q ' cell1 ' || $manage cell_v2 create_cell --name cell1
  $manage db sync
}
