# Passwords: random per installation, in one file that only root reads.
# shellcheck shell=bash disable=SC2034

describe_step secrets "passwords" \
  "is $STATE writable?"

random_hex() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

step_secrets() {
  [[ -s $ETC/secrets ]] && return 0
  local name
  install -d -m 700 "$ETC"
  (
    umask 077
    for name in ADMIN_PASSWORD DEMO_PASSWORD SERVICE_PASSWORD DATABASE_PASSWORD RABBIT_PASSWORD METADATA_SECRET VOLUME_KEY; do
      echo "$name=$(random_hex)"
    done >"$ETC/secrets.new"
    # Of the Ceph cluster, and of the libvirt secret with the key to it.
    echo "CEPH_ID=$(cat /proc/sys/kernel/random/uuid)" >>"$ETC/secrets.new"
  )
  mv "$ETC/secrets.new" "$ETC/secrets"
}

load_secrets() {
  [[ -s $ETC/secrets ]] || die "there is no cloud in $STATE yet: run '$CLOUD up'"
  # shellcheck source=/dev/null
  . "$ETC/secrets"
  BARBICAN_KEY=$(printf '%s' "$VOLUME_KEY" | base64)
  TRANSPORT_URL="rabbit://openstack:$RABBIT_PASSWORD@127.0.0.1:$RABBIT_PORT/openstack"
  KEYSTONE_DATABASE=$(database_url keystone)
  PLACEMENT_DATABASE=$(database_url placement)
  GLANCE_DATABASE=$(database_url glance)
  NEUTRON_DATABASE=$(database_url neutron)
  CINDER_DATABASE=$(database_url cinder)
  NOVA_API_DATABASE=$(database_url nova_api)
  NOVA_CELL_DATABASE=$(database_url nova_cell1)
}

database_url() { echo "mysql+pymysql://root:$DATABASE_PASSWORD@127.0.0.1:$MYSQL_PORT/$1?charset=utf8mb4"; }
