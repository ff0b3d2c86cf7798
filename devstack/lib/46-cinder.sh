# Cinder, with volumes in two pools of Ceph and in files of an NFS share.
# shellcheck shell=bash

describe_step cinder "Cinder" \
  "see $LOG/cinder-*.log"

NFS_EXPORT=$DATA/nfs

cinder_database() {
  render cinder.conf "$ETC/cinder/cinder.conf"
  once cinder-database cinder-manage --config-file "$ETC/cinder/cinder.conf" db sync
}

step_cinder() {
  mkdir -p "$DATA/cinder" "$NFS_EXPORT"
  cp "$VENV/etc/cinder/api-paste.ini" "$VENV/etc/cinder/resource_filters.json" "$ETC/cinder/"
  # The share is a directory of this machine: see tools/fs.d/mount.nfs.
  echo "127.0.0.1:$NFS_EXPORT" >"$ETC/cinder/nfs-shares"
  spawn cinder-scheduler cinder-scheduler --config-file "$ETC/cinder/cinder.conf" \
    --log-file "$LOG/cinder-scheduler.log"
  mkdir -p "$FILE_SYSTEMS"
  # Of its own it has the helper of mount(8), and the only place where os-brick looks for a keyring.
  spawn cinder-volume unshare --mount --propagation private sh -c \
    "mount --bind '$DEVSTACK/tools/fs.d' '$FILE_SYSTEMS' && mount --bind '$CEPH_ETC' /etc/ceph && exec \"\$@\"" sh \
    env PATH="$PATH:$FILE_SYSTEMS" cinder-volume --config-file "$ETC/cinder/cinder.conf" \
    --log-file "$LOG/cinder-volume.log"
  api cinder-api "$CINDER_PORT" cinder.wsgi.api:application 1 4 \
    --pyargv "--config-file $ETC/cinder/cinder.conf --log-file $LOG/cinder-api.log"
  api_answers cinder-api "http://127.0.0.1:$CINDER_PORT/"
}
