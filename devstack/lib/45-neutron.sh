# Neutron with ML2/OVN.
# shellcheck shell=bash

describe_step neutron "Neutron" \
  "see $LOG/neutron-*.log and $LOG/neutron-api.out"

step_neutron() {
  local configuration
  mkdir -p "$DATA/neutron"
  render neutron.conf "$ETC/neutron/neutron.conf"
  render ml2_conf.ini "$ETC/neutron/ml2_conf.ini"
  configuration="--config-file $ETC/neutron/neutron.conf --config-file $ETC/neutron/ml2_conf.ini"
  # shellcheck disable=SC2086  # two options
  once neutron-database neutron-db-manage $configuration upgrade head
  # shellcheck disable=SC2086
  {
    spawn neutron-rpc neutron-rpc-server $configuration --log-file "$LOG/neutron-rpc.log"
    spawn neutron-periodic neutron-periodic-workers $configuration --log-file "$LOG/neutron-periodic.log"
    spawn neutron-ovn-maintenance neutron-ovn-maintenance-worker $configuration \
      --log-file "$LOG/neutron-ovn-maintenance.log"
  }
  # start-time: the OVN hash ring tells its workers apart by it.
  api neutron-api "$NEUTRON_PORT" neutron.wsgi.api:application 2 4 OS_NEUTRON_CONFIG_DIR="$ETC/neutron" \
    OS_NEUTRON_CONFIG_FILES="$ETC/neutron/neutron.conf;$ETC/neutron/ml2_conf.ini" --set start-time=%t
  api_answers neutron-api "http://127.0.0.1:$NEUTRON_PORT/"
}
