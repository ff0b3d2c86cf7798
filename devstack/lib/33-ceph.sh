# A Ceph of one monitor, one manager and one OSD on 127.0.0.1, in user space: the OSD's disk is a
# sparse file, and its clients are librbd and QEMU, so the kernel needs neither rbd nor LVM.
# shellcheck shell=bash

CEPH_ETC=$ETC/ceph
CEPH_CONF_FILE=$CEPH_ETC/ceph.conf
CEPH_DATA=$DATA/ceph
CEPH_DAEMONS="ceph-osd ceph-mgr ceph-mon"

start_ceph() {
  render ceph.conf "$CEPH_CONF_FILE"
  mkdir -p "$RUN/ceph"
  once ceph-monitor create_monitor
  spawn_server ceph-mon "$CEPH_MON_PORT" ceph-mon --conf "$CEPH_CONF_FILE" --id a --foreground
  once ceph-disk create_disk
  spawn ceph-mgr ceph-mgr --conf "$CEPH_CONF_FILE" --id a --foreground
  spawn ceph-osd env --chdir=/ ceph-osd --conf "$CEPH_CONF_FILE" --id 0 --foreground
  ceph_setup wait
  once ceph-pools ceph_setup pools
}

# The Python of the distribution has Ceph's modules, and asks in a tenth of the time of "ceph".
ceph_setup() { /usr/bin/python3 "$DEVSTACK/tools/ceph_setup.py" "$CEPH_CONF_FILE" "$@"; }

# Everybody's keys are in the keyring that the monitor begins with.
create_monitor() {
  local keys=$CEPH_ETC/monitor.keyring map=$CEPH_ETC/monmap everything=(--cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *')
  local images=(--cap mon 'profile rbd' --cap osd 'profile rbd' --cap mgr 'profile rbd')
  rm -rf "$CEPH_DATA" "$keys"
  mkdir -p "$CEPH_DATA"/{mon,mgr,osd}
  ceph-authtool --create-keyring "$keys" --gen-key --name mon. --cap mon 'allow *'
  ceph_key mgr.a "$CEPH_DATA/mgr/keyring" --cap mon 'profile mgr' --cap osd 'allow *'
  ceph_key osd.0 "$CEPH_DATA/osd/keyring" --cap mon 'profile osd' --cap mgr 'profile osd' --cap osd 'allow *'
  ceph_key client.admin "$CEPH_ETC/ceph.client.admin.keyring" "${everything[@]}"
  ceph_key client.cinder "$CEPH_ETC/ceph.client.cinder.keyring" "${images[@]}"
  ceph_key client.glance "$CEPH_ETC/ceph.client.glance.keyring" "${images[@]}"
  monmaptool --create --clobber --fsid "$CEPH_ID" \
    --addv a "[v2:127.0.0.1:$CEPH_MON_PORT,v1:127.0.0.1:$CEPH_OLD_MON_PORT]" "$map"
  ceph-mon --conf "$CEPH_CONF_FILE" --mkfs --id a --monmap "$map" --keyring "$keys"
  mv "$keys" "$CEPH_DATA/mon/keyring"
}

ceph_key() { # ceph_key NAME KEYRING CAPABILITIES...
  ceph-authtool --create-keyring "$2" --gen-key --name "$1" "${@:3}"
  ceph-authtool "$CEPH_ETC/monitor.keyring" --import-keyring "$2"
}

create_disk() {
  ceph_setup disk "$CEPH_ID"
  ceph-osd --conf "$CEPH_CONF_FILE" --id 0 --mkfs --osd-uuid "$CEPH_ID" --keyring "$CEPH_DATA/osd/keyring"
}

stop_ceph() {
  local daemon
  for daemon in $CEPH_DAEMONS; do stop "$daemon" 15; done
}

# For tests of a storage that goes away and comes back.
command_ceph() {
  case ${1:-} in
    status)
      client ceph status
      client ceph df
      ;;
    stop) exclusive; stop_ceph ;;
    start)
      exclusive
      load_secrets
      start_ceph
      ;;
    *) die "ceph: status, stop or start" ;;
  esac
}

# link_ceph_modules ENVIRONMENT: PyPI has no rados and rbd. The distribution's are made for its own
# Python, which is that of our environments (choose_python).
link_ceph_modules() {
  local suffix packages module
  suffix=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
  packages=$(echo "$1"/lib/python3*/site-packages)
  for module in rados rbd; do
    [[ -e /usr/lib/python3/dist-packages/$module$suffix ]] ||
      die "python3-$module has no $module$suffix: $1 must be made with the Python of the distribution"
    ln -sfn "/usr/lib/python3/dist-packages/$module$suffix" "$packages/"
  done
}
