# Glance, with images as files.
# shellcheck shell=bash

describe_step glance "Glance" \
  "see $LOG/glance.log"

glance_database() {
  render glance-api.conf "$ETC/glance/glance-api.conf"
  once glance-database glance-manage --config-file "$ETC/glance/glance-api.conf" db_sync
}

step_glance() {
  mkdir -p "$DATA"/glance/{images,staging,tasks}
  cp "$VENV/etc/glance/glance-api-paste.ini" "$ETC/glance/"
  # Without the chunked-input options uWSGI refuses snapshots: they vanish without a word.
  api glance "$GLANCE_PORT" glance.wsgi.api:application 1 4 OS_GLANCE_CONFIG_DIR="$ETC/glance" \
    --chunked-input-timeout 60 --chunked-input-limit $((64 << 20))
  api_answers glance "http://127.0.0.1:$GLANCE_PORT/"
}
