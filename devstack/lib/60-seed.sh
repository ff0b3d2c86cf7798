# What a user finds in the cloud: flavors, networks, images, quotas, key pair.
# shellcheck shell=bash

describe_step seed "flavors, networks, images" \
  "the API that refused is named in the log; its own log is in $LOG"

step_seed() {
  make_key "$KEYS/guest"
  if [[ -e $DATA/nova-emptied ]]; then
    seed forget-servers
    rm "$DATA/nova-emptied"
  fi
  seed cloud
  seed wait-for-storage
  # shellcheck disable=SC2046  # one argument per node
  seed wait-for-hosts $(active_nodes)
}

active_nodes() {
  local node
  for node in $NODES; do
    [[ $(cat "$HOSTS/$node/agent" 2>/dev/null) == none ]] || echo "$node"
  done
}

seed() {
  NOVA_LITE_CLOUD=$STATE OS_CLIENT_CONFIG_FILE=$ETC/clouds.yaml \
    SERVICE_PASSWORD=$SERVICE_PASSWORD DEMO_PASSWORD=$DEMO_PASSWORD \
    "$VENV/bin/python" "$DEVSTACK/tools/seed.py" "$@"
}
