# Neutron with ML2/OVN.
# shellcheck shell=bash

describe_step neutron "Neutron" \
  "see $LOG/neutron-*.log and $LOG/neutron-api.out"

NEUTRON_CONFIGURATION=(--config-file "$ETC/neutron/neutron.conf" --config-file "$ETC/neutron/ml2_conf.ini")

neutron_database() {
  local plugins=ovn-router,segments,qos,trunk,auto_allocate taps=true before
  # Hosts of 2025.x know of no taps that are made before the guest; with them Neutron would not tell
  # hosts of 2025.x that ports are ready for a guest that is to come.
  [[ $NOVA_RELEASE != 2025.* ]] || taps=false
  # "placement" reports what each host guarantees, as providers below the host's own one.
  [[ -z $GUARANTEED_KBPS ]] || plugins+=,placement
  render neutron.conf "$ETC/neutron/neutron.conf" SERVICE_PLUGINS="$plugins"
  before=$(sha256sum "$ETC/neutron/ml2_conf.ini" 2>/dev/null || true)
  render ml2_conf.ini "$ETC/neutron/ml2_conf.ini" CREATE_TAPS="$taps"
  # An upgrade goes on under running servers: what Neutron does changes when it is started next.
  [[ $before == "$(sha256sum "$ETC/neutron/ml2_conf.ini")" || ${NOVA_CHANGE:-} == upgrade ]] || stop_neutron
  once neutron-database neutron-db-manage "${NEUTRON_CONFIGURATION[@]}" upgrade head
}

stop_neutron() {
  local service
  for service in neutron-api neutron-rpc neutron-periodic neutron-ovn-maintenance; do stop "$service"; done
}

step_neutron() {
  mkdir -p "$DATA/neutron"
  spawn neutron-rpc neutron-rpc-server "${NEUTRON_CONFIGURATION[@]}" --log-file "$LOG/neutron-rpc.log"
  spawn neutron-periodic neutron-periodic-workers "${NEUTRON_CONFIGURATION[@]}" --log-file "$LOG/neutron-periodic.log"
  spawn neutron-ovn-maintenance neutron-ovn-maintenance-worker "${NEUTRON_CONFIGURATION[@]}" \
    --log-file "$LOG/neutron-ovn-maintenance.log"
  # start-time: the OVN hash ring tells its workers apart by it.
  api neutron-api "$NEUTRON_PORT" neutron.wsgi.api:application 2 4 OS_NEUTRON_CONFIG_DIR="$ETC/neutron" \
    OS_NEUTRON_CONFIG_FILES="$ETC/neutron/neutron.conf;$ETC/neutron/ml2_conf.ini" --set start-time=%t
  api_answers neutron-api "http://127.0.0.1:$NEUTRON_PORT/"
}
