# Placement.
# shellcheck shell=bash

describe_step placement "Placement" \
  "see $LOG/placement.log"

placement_database() {
  render placement.conf "$ETC/placement/placement.conf"
  once placement-database placement-manage --config-file "$ETC/placement/placement.conf" db sync
}

step_placement() {
  api placement "$PLACEMENT_PORT" placement.wsgi.api:application 1 4 OS_PLACEMENT_CONFIG_DIR="$ETC/placement"
  api_answers placement "http://127.0.0.1:$PLACEMENT_PORT/"
}
