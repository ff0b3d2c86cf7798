# Horizon, for who wants to see the servers. Not part of "up": nothing else needs it.
# shellcheck shell=bash

HORIZON_VENV=$STATE/venv-horizon
HORIZON=$STATE/horizon
HORIZON_PORT=8088
HORIZON_DJANGO=(env DJANGO_SETTINGS_MODULE=openstack_dashboard.settings PYTHONWARNINGS=ignore
  "$HORIZON_VENV/bin/python" -m django)

command_horizon() {
  case ${1:-} in
    up | down) ;;
    *) die "horizon up, or horizon down" ;;
  esac
  exclusive
  "horizon_$1"
}

horizon_up() {
  alive keystone || die "no cloud runs: $CLOUD up"
  load_secrets
  own_venv Horizon "$HORIZON_VENV" "$DEVSTACK/horizon/requirements.txt" horizon_forget
  horizon_settings
  spawn_server horizon "$HORIZON_PORT" \
    "${HORIZON_DJANGO[@]}" runserver --insecure --noreload "127.0.0.1:$HORIZON_PORT"
  say "http://127.0.0.1:$HORIZON_PORT as admin or demo; passwords: $ETC/secrets"
}

horizon_down() { stop horizon; }

horizon_forget() {
  horizon_down
  rm -rf "$HORIZON/static"
}

horizon_settings() {
  mkdir -p "$HORIZON"
  render horizon.py "$(echo "$HORIZON_VENV"/lib/python3*/site-packages)/openstack_dashboard/local/local_settings.py"
  [[ -e $HORIZON/static/dashboard/manifest.json ]] && return 0
  if ! "${HORIZON_DJANGO[@]}" collectstatic --noinput --verbosity 0 >"$LOG/horizon-static.log" 2>&1 ||
    ! "${HORIZON_DJANGO[@]}" compress --force >>"$LOG/horizon-static.log" 2>&1; then
    show_log_tail horizon-static
    return 1
  fi
}
