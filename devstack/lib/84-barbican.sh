# Barbican, for servers with a TPM: it keeps the passphrases of their state. Not part of "up": what
# Cinder encrypts is opened by the fixed key of nova.conf.
# shellcheck shell=bash

BARBICAN_VENV=$STATE/venv-barbican
BARBICAN=$STATE/barbican
# Barbican reads the configuration in ~/.barbican before that of the machine.
BARBICAN_HOME=(env HOME="$BARBICAN" PATH="$BARBICAN_VENV/bin:$PATH")

command_barbican() {
  case ${1:-} in
    up | down) ;;
    *) die "barbican up, or barbican down" ;;
  esac
  exclusive
  "barbican_$1"
}

barbican_up() {
  alive keystone || die "no cloud runs: $CLOUD up"
  load_secrets
  own_venv Barbican "$BARBICAN_VENV" "$DEVSTACK/barbican/requirements.txt" barbican_down
  barbican_settings
  seed catalog barbican
  spawn_server barbican "$BARBICAN_PORT" "${BARBICAN_HOME[@]}" uwsgi \
    --http-socket "127.0.0.1:$BARBICAN_PORT" --paste "config:$BARBICAN/.barbican/paste.ini" \
    --processes 1 --threads 2 --master --enable-threads --lazy-apps --need-app --buffer-size 65535 \
    --die-on-term --add-header "Connection: close" --procname-prefix "barbican " \
    --log-master --logto2 "$LOG/barbican-access.log"
  api_answers barbican "http://127.0.0.1:$BARBICAN_PORT/"
  say "hosts use it with [key_manager]backend = barbican in nova.local.conf"
}

barbican_down() { stop barbican; }

# Its key is of the secrets of this cloud, and so is its database: "down --wipe" ends both.
barbican_settings() {
  mkdir -p "$DATA/barbican"
  render barbican.conf "$BARBICAN/.barbican/barbican.conf"
  cp "$BARBICAN_VENV/etc/barbican/barbican-api-paste.ini" "$BARBICAN/.barbican/paste.ini"
  once barbican-database "${BARBICAN_HOME[@]}" barbican-manage db upgrade
}
