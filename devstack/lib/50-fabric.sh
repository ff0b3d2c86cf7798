# The wires between the hosts, made of namespaces so that the machine's own network stays untouched:
#   fabric   three Linux bridges: management, provider, tunnel
#   outside  the world beyond the router: 172.24.4.1 on the provider network
# and one haproxy per namespace that brings the control plane to its 127.0.0.1, so that
# the same URLs hold on every host.
# shellcheck shell=bash

FABRIC=nova-lite-fabric
OUTSIDE=nova-lite-outside
OUTSIDE_ADDRESS=172.24.4.1/24

namespace_exists() { [[ -e /run/netns/$1 ]]; }

make_namespace() {
  namespace_exists "$1" && return 0
  ip netns add "$1"
  ip -n "$1" link set lo up
}

fabric_up() {
  local bridge
  make_namespace "$FABRIC"
  for bridge in br-mgmt br-prov br-tunnel; do
    ip -n "$FABRIC" link show "$bridge" >/dev/null 2>&1 || ip -n "$FABRIC" link add "$bridge" type bridge
    ip -n "$FABRIC" link set "$bridge" up
  done
  make_namespace "$OUTSIDE"
  wire "$OUTSIDE" eth0 br-prov outside-eth0
  ip -n "$OUTSIDE" addr replace "$OUTSIDE_ADDRESS" dev eth0
  start_proxy "$OUTSIDE" ""
}

# wire NAMESPACE INTERFACE BRIDGE NAME: a cable (NAME at the fabric's end)
wire() {
  ip -n "$1" link show "$2" >/dev/null 2>&1 && return 0
  ip -n "$FABRIC" link del "$4" 2>/dev/null || true
  ip -n "$FABRIC" link add "$4" type veth peer name "$2" netns "$1"
  ip -n "$FABRIC" link set "$4" master "$3" up
  ip -n "$1" link set "$2" up
}

fabric_down() {
  local namespace
  stop "proxy-$OUTSIDE" 0
  for namespace in "$OUTSIDE" "$FABRIC"; do
    if namespace_exists "$namespace"; then ip netns del "$namespace"; fi
  done
}

# start_proxy NAMESPACE VNC_ADDRESS: the listeners are inside the namespace, the connections
# go out from here; for consoles it is the other way round (VNC_ADDRESS is a 127.0.1.x of ours;
# serial ports listen on the same address inside).
start_proxy() {
  local namespace=$1 vnc_address=$2 port configuration=$ETC/haproxy-$1.cfg
  alive "proxy-$namespace" && return 0
  {
    cat "$DEVSTACK/etc/haproxy.cfg"
    for port in $PORTS_FOR_NODES; do
      printf 'listen to-%s\n  bind 127.0.0.1:%s namespace %s\n  server control 127.0.0.1:%s\n' \
        "$port" "$port" "$namespace" "$port"
    done
    printf 'listen ceph\n  bind 127.0.0.1:%s namespace %s\n  server control 127.0.0.1\n' "$CEPH_PORTS" "$namespace"
    [[ -z $vnc_address ]] || {
      printf 'listen screens\n  bind %s:5900-5999\n  server host %s namespace %s\n' \
        "$vnc_address" "$(management_address "$namespace")" "$namespace"
      printf 'listen serial\n  bind %s:%s\n  server host %s namespace %s\n' \
        "$vnc_address" "${SERIAL_RANGE/:/-}" "$vnc_address" "$namespace"
    }
  } >"$configuration"
  spawn "proxy-$namespace" haproxy -db -f "$configuration"
}
