# Stop everything that up started, in the order that lets it end quickly.
# shellcheck shell=bash

command_down() {
  local wipe=no
  case ${1:-} in
    --wipe) wipe=yes ;;
    "") ;;
    *) die "down: unknown option $1" ;;
  esac
  exclusive
  local began=$SECONDS
  stop_hosts
  stop_services 'keystone placement glance cinder-* nova-* neutron-* memcached'
  stop_services 'ovn-*'
  fabric_down
  stop_rabbitmq &
  stop_ceph &
  stop mariadb 30
  wait
  stop_services '*'
  rm -f "$RUN"/*.pid
  say "down: $((SECONDS - began)) s"
  if [[ $wipe == yes ]]; then
    rm -rf "$DATA" "$HOSTS" "$ETC" "$RUN" "$KEYS" "$LOG"
    say "wiped; environments, images and caches remain in $STATE"
  fi
}

stop_hosts() {
  local node
  for node in $(known_nodes); do
    node_down "$node" &
  done
  wait
}

# stop_services GLOBS: all at once; they do not depend on each other's ends.
stop_services() {
  local glob name
  set -f
  for glob in $1; do
    set +f
    for name in $(recorded "$glob"); do
      stop "$name" 3 &
    done
  done
  set +f
  wait
}
