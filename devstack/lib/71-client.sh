# Credentials for people and scripts.
# shellcheck shell=bash

require_account() { [[ $1 == admin || $1 == demo ]] || die "accounts: admin, demo"; }

# client COMMAND...: with admin's credentials and our programs first in PATH.
client() { OS_CLIENT_CONFIG_FILE=$ETC/clouds.yaml OS_CLOUD=${ACCOUNT:-admin} OS_COMPUTE_API_VERSION=2.latest CEPH_CONF=$CEPH_CONF_FILE "$@"; }

command_openrc() {
  require_account "${1:-admin}"
  cat <<RC
export PATH=$VENV/bin:\$PATH
export OS_CLIENT_CONFIG_FILE=$ETC/clouds.yaml
export OS_CLOUD=${1:-admin}
export OS_COMPUTE_API_VERSION=2.latest
export CEPH_CONF=$CEPH_CONF_FILE
RC
}

command_run() {
  local ACCOUNT=admin
  if [[ ${1:-} == --as ]]; then
    ACCOUNT=${2:?admin or demo?}
    require_account "$ACCOUNT"
    shift 2
  fi
  client "$@"
}

command_shell() {
  local ACCOUNT=${1:-admin}
  require_account "$ACCOUNT"
  say "openstack as $ACCOUNT; leave with 'exit'"
  client env PS1="($ACCOUNT) \\w\\$ " bash --norc
}

# ssh from the world outside the router into a guest.
command_guest() {
  local address=${1:?floating IP?}
  shift
  ip netns exec "$OUTSIDE" ssh -i "$KEYS/guest" -o ConnectTimeout=8 -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "${GUEST_USER:-cirros}@$address" "$@"
}
