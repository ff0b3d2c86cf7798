# Keystone, the users and the catalogue.
# shellcheck shell=bash

describe_step keystone "Keystone" \
  "see $LOG/keystone.log; a half-made database is dropped by '$CLOUD down --wipe'"

step_keystone() {
  render clouds.yaml "$ETC/clouds.yaml"
  api keystone "$KEYSTONE_PORT" keystone.wsgi.api:application 2 2 OS_KEYSTONE_CONFIG_DIR="$ETC/keystone"
  api_answers keystone "$KEYSTONE_URL"
  once keystone-catalog seed catalog
}

keystone_database() {
  render keystone.conf "$ETC/keystone/keystone.conf"
  once keystone-database bootstrap_keystone
}

bootstrap_keystone() {
  local manage="keystone-manage --config-file $ETC/keystone/keystone.conf"
  $manage db_sync
  $manage fernet_setup --keystone-user root --keystone-group root
  $manage credential_setup --keystone-user root --keystone-group root
  OS_BOOTSTRAP_PASSWORD=$ADMIN_PASSWORD $manage bootstrap --bootstrap-region-id "$REGION" \
    --bootstrap-admin-url "$KEYSTONE_URL" --bootstrap-internal-url "$KEYSTONE_URL" --bootstrap-public-url "$KEYSTONE_URL"
}
