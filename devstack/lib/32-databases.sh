# Configuration and database schema of every service, side by side: most of the time
# goes into hundreds of migrations, each waiting for the other side in turn.
# shellcheck shell=bash

describe_step databases "database schemas" \
  "a half-made database is dropped by '$CLOUD down --wipe'"

step_databases() {
  local service making=()
  for service in nova keystone neutron cinder glance placement; do
    "${service}_database" &
    making+=($!)
  done
  for service in "${making[@]}"; do wait "$service"; done
}
