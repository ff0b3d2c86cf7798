# A compute host is a set of namespaces (net, mount, uts, pid, ipc) with its own /run,
# /etc/libvirt, /var/lib/nova ..., Open vSwitch, OVN controller, libvirtd and sshd.
# Killing its pid 1 is pulling its plug.
# shellcheck shell=bash

describe_step nodes "compute hosts: $NODES" \
  "see $LOG/NODE-*.log and $LOG/node-NODE.out; namespaces, veth, bridge and tun must be in the kernel"

step_nodes() {
  local node starting=()
  fabric_up
  write_hosts_files
  for node in $NODES; do
    node_up "$node" &
    starting+=($!)
  done
  for node in "${starting[@]}"; do wait "$node"; done
}

node_number() { echo "${1//[!0-9]/}"; }
management_address() { echo "10.77.0.$((10 + $(node_number "$1")))"; }
tunnel_address() { echo "10.78.0.$((10 + $(node_number "$1")))"; }
# Where the VNC servers of a host appear on this machine.
vnc_address() { echo "127.0.1.$(node_number "$1")"; }

require_node() {
  [[ $1 =~ ^[a-z]+[0-9]+$ ]] || die "a compute host is called like node1, not '$1'"
}

in_node() { # in_node NODE COMMAND...
  local pid node=$1
  shift
  pid=$(pid_of "node-$node") || die "$node is down"
  nsenter --target "$pid" --mount --uts --ipc --net --pid -- "$@"
}

# spawn_in_node NODE NAME COMMAND...: its pid file is NODE-NAME. nsenter forks to enter
# the pid namespace; the child is the daemon.
spawn_in_node() {
  local name=$1-$2 pid parent
  alive "$name" && return 0
  pid=$(pid_of "node-$1") || die "$1 is down"
  shift 2
  setsid nohup nsenter --target "$pid" --mount --uts --ipc --net --pid -- "$@" \
    >>"$LOG/$name.out" 2>&1 </dev/null 9>&- &
  parent=$!
  disown "$parent"
  wait_until 5 "$name" has_child "$parent" || return 1
  record_pid "$name" "$(first_child "$parent")"
}
first_child() { cut -d' ' -f1 "/proc/$1/task/$1/children"; }
has_child() { [[ -n $(first_child "$1") ]]; }

# --- power -------------------------------------------------------------------------------

node_up() {
  local node=$1
  node_wires "$node"
  node_files "$node"
  node_power_on "$node"
  start_proxy "$node" "$(vnc_address "$node")"
  node_switch "$node"
  node_hypervisor "$node"
  node_network_agents "$node"
}

node_wires() {
  make_namespace "$1"
  wire "$1" eth0 br-mgmt "$1-eth0"
  wire "$1" eth1 br-prov "$1-eth1"
  wire "$1" eth2 br-tunnel "$1-eth2"
  ip -n "$1" addr replace "$(management_address "$1")/24" dev eth0
}

node_power_on() {
  local node=$1 parent
  alive "node-$node" && return 0
  forget_taps "$node"
  rm -f "$HOSTS/$node/ready"
  mkdir -p "$FILE_SYSTEMS"
  setsid nohup ip netns exec "$node" unshare --fork --pid --mount --uts --ipc --propagation private \
    "$DEVSTACK/tools/node-init" "$node" "$HOSTS/$node" >>"$LOG/node-$node.out" 2>&1 </dev/null 9>&- &
  parent=$!
  disown "$parent"
  wait_until 10 "$node" test -e "$HOSTS/$node/ready" || return 1
  record_pid "node-$node" "$(first_child "$parent")"
}

# The network namespace outlives a power failure, and so would the taps in it.
forget_taps() {
  local interface
  ip -n "$1" -brief link show type tun | while read -r interface _; do
    ip -n "$1" link del "${interface%@*}" 2>/dev/null || true
  done
}

node_kill() {
  local pid
  pid=$(pid_of "node-$1") || die "$1 is down already"
  kill -9 "$pid"
  wait_until 10 "the end of $1" node_is_gone "$1"
  node_forget "$1"
}
node_is_gone() { ! alive "node-$1"; }

node_down() {
  local name
  # The agents may say goodbye to the control plane; the switch stays until they have.
  for name in agent ovn-agent libvirtd; do
    stop "$1-$name" 3 &
  done
  stop_monitored "$1-ovn-controller" 3 &
  wait
  stop_monitored "$1-vswitchd" 3
  stop "$1-ovsdb" 3
  if alive "node-$1"; then node_kill "$1"; fi
  stop "proxy-$1" 0
  if namespace_exists "$1"; then ip netns del "$1"; fi
}

# stop_monitored NAME [SECONDS]: for a daemon with --monitor. The monitor ends with its child, but
# it does not end the child.
stop_monitored() {
  local monitor child
  if monitor=$(pid_of "$1") && child=$(first_child "$monitor") && [[ -n $child ]]; then
    record_pid "$1" "$child"
  fi
  stop "$@"
}

node_forget() {
  local name
  for name in "node-$1" $(recorded "$1-*"); do
    rm -f "$RUN/$name.pid"
  done
}

# --- files of a host ---------------------------------------------------------------------

node_files() {
  local node=$1 home=$HOSTS/$1
  mkdir -p "$home"/{etc,nova/instances,neutron,libvirt,libvirt-etc,libvirt-cache,libvirt-log,ovs-etc,ovs-lib,ovs-log}
  chmod 755 "$HOSTS" "$home" "$home/nova" "$home/nova/instances"
  [[ -s $home/uuid ]] || cat /proc/sys/kernel/random/uuid >"$home/uuid"
  [[ -e $home/libvirt-etc/libvirtd.conf ]] || cp -a /etc/libvirt/. "$home/libvirt-etc/"
  # libvirt's own NAT network would be one more bridge; nobody wants it here.
  rm -f "$home"/libvirt-etc/qemu/networks/autostart/*
  render libvirtd.conf "$home/libvirt-etc/libvirtd.conf" HOST_UUID="$(cat "$home/uuid")"
  render qemu.conf "$home/libvirt-etc/qemu.conf" MANAGEMENT_ADDRESS="$(management_address "$node")"
  echo "$node" >"$home/etc/hostname"
  node_ssh_files "$home" "$node"
}

# Nova copies disks between hosts with ssh when it resizes and migrates.
node_ssh_files() {
  local home=$1 node=$2
  make_key "$KEYS/hosts"
  make_key "$home/etc/host-key"
  install -d -m 700 "$home/ssh"
  install -m 600 "$KEYS/hosts" "$home/ssh/id_ed25519"
  install -m 600 "$KEYS/hosts.pub" "$home/ssh/authorized_keys"
  printf 'Host *\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n' >"$home/ssh/config"
  render sshd_config "$home/etc/sshd_config" MANAGEMENT_ADDRESS="$(management_address "$node")" HOST_KEY="$home/etc/host-key"
}

make_key() {
  (
    flock 8
    [[ -s $1 ]] || ssh-keygen -q -t ed25519 -N '' -C nova-lite -f "$1"
  ) 8>"$KEYS/.lock"
}

# Every host must know all the others by name.
write_hosts_files() {
  local node other
  for node in $NODES; do
    mkdir -p "$HOSTS/$node/etc"
    {
      echo "127.0.0.1 localhost"
      for other in $NODES; do echo "$(management_address "$other") $other"; done
    } >"$HOSTS/$node/etc/hosts"
  done
}

# --- services of a host ------------------------------------------------------------------

# OVS 3.1 was seen to die of an assertion in its userspace conntrack, hence the monitor. A switch
# that was started again has all its bridges and ports, and guests keep their network.
node_switch() {
  local node=$1
  alive "$node-vswitchd" && return 0
  in_node "$node" sh -c '[ -f /etc/openvswitch/conf.db ] ||
    ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema'
  spawn_in_node "$node" ovsdb ovsdb-server /etc/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock \
    --remote=db:Open_vSwitch,Open_vSwitch,manager_options --unixctl=/run/openvswitch/ovsdb.ctl \
    --pidfile=/run/openvswitch/ovsdb-server.pid --log-file="$LOG/$node-ovsdb.log"
  wait_until 10 "ovsdb of $node" in_node "$node" test -S /run/openvswitch/db.sock
  configure_switch "$node"
  spawn_in_node "$node" vswitchd ovs-vswitchd unix:/run/openvswitch/db.sock --monitor \
    --pidfile=/run/openvswitch/ovs-vswitchd.pid --log-file="$LOG/$node-vswitchd.log"
  build_bridges "$node"
}

# userspace-tso-enable: the userspace datapath hands on packets with partial checksums, and
# TCP of virtio guests breaks without it. It must be set before vswitchd starts.
configure_switch() {
  local node=$1 options=() told
  told=$(cms_options "$node")
  [[ -z $told ]] || options=("external_ids:ovn-cms-options=\"$told\"")
  in_node "$node" ovs-vsctl --no-wait init
  in_node "$node" ovs-vsctl --no-wait set Open_vSwitch . \
    "ovs_version=$(ovs-vswitchd --version | awk 'NR == 1 {print $4}')" \
    external_ids:system-id="$(cat "$HOSTS/$node/uuid")" external_ids:hostname="$node" \
    external_ids:rundir=/run/openvswitch \
    external_ids:ovn-remote="tcp:127.0.0.1:$OVN_SB_PORT" \
    external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip="$(tunnel_address "$node")" \
    external_ids:ovn-bridge=br-int external_ids:ovn-bridge-datapath-type=netdev \
    external_ids:ovn-bridge-mappings=public:br-ex external_ids:ovn-monitor-all=true \
    external_ids:ovn-openflow-probe-interval=60 external_ids:ovn-remote-probe-interval=60000 \
    other_config:userspace-tso-enable=true other_config:hw-offload=false "${options[@]}"
}

# What OVN hands on to Neutron about a host.
cms_options() {
  local options=()
  case " $GATEWAY_NODES " in
    *" $1 "*) options+=(enable-chassis-as-gw) ;;
  esac
  if [[ -n $GUARANTEED_KBPS ]]; then
    options+=("resource_provider_bandwidths=br-ex:$GUARANTEED_KBPS:$GUARANTEED_KBPS")
    options+=("resource_provider_hypervisors=br-ex:$1")
  fi
  (IFS=, && echo "${options[*]}")
}

# Neutron reports a host when its options change, and leaves out what has no provider above it: so
# once more when the agent has made the host's own one.
report_rates() {
  local node=$1
  wait_until 60 "the resource provider of $node" has_provider "$node"
  in_node "$node" ovs-vsctl set Open_vSwitch . \
    "external_ids:ovn-cms-options=\"$(cms_options "$node"),resource_provider_inventory_defaults=allocation_ratio:1.0\""
}
has_provider() { client openstack resource provider list --name "$1" -f value -c uuid | grep -q .; }

build_bridges() {
  local node=$1 netdev="datapath_type=netdev"
  in_node "$node" ovs-vsctl --timeout=20 \
    -- --may-exist add-br br-ex -- set bridge br-ex $netdev -- --may-exist add-port br-ex eth1 \
    -- --may-exist add-br br-tunnel -- set bridge br-tunnel $netdev -- --may-exist add-port br-tunnel eth2 \
    -- --may-exist add-br br-int -- set bridge br-int $netdev fail-mode=secure other-config:disable-in-band=true
  # ovs-vsctl does not wait for vswitchd when it had nothing to change.
  wait_until 15 "br-tunnel of $node" ip -n "$node" link set br-tunnel up
  wait_until 15 "br-ex of $node" ip -n "$node" link set br-ex up
  ip -n "$node" addr replace "$(tunnel_address "$node")/24" dev br-tunnel
}

node_hypervisor() {
  local node=$1
  spawn_in_node "$node" sshd /usr/sbin/sshd -D -f "$HOSTS/$node/etc/sshd_config"
  spawn_in_node "$node" virtlogd virtlogd
  spawn_in_node "$node" libvirtd libvirtd --listen
  wait_until 20 "libvirtd of $node" in_node "$node" virsh --connect qemu:///system version ||
    { show_log_tail "$node-libvirtd"; return 1; }
  node_ceph_secret "$node"
}

# QEMU gets the key to Ceph from libvirt, which keeps it among its own files.
node_ceph_secret() {
  local node=$1 file=$HOSTS/$1/libvirt-etc/ceph-secret
  [[ -e $file.xml ]] && return 0
  render ceph-secret.xml "$file.new"
  (umask 077 && ceph-authtool --print-key --name client.cinder "$CEPH_ETC/ceph.client.cinder.keyring" >"$file.key")
  in_node "$node" virsh --connect qemu:///system --quiet secret-define /etc/libvirt/ceph-secret.new
  in_node "$node" virsh --connect qemu:///system --quiet secret-set-value "$CEPH_ID" --file /etc/libvirt/ceph-secret.key
  rm "$file.key"
  mv "$file.new" "$file.xml"
}

node_network_agents() {
  local node=$1
  # OVN 23.03 was seen to crash, on all hosts at once; without it no port can be bound any more.
  spawn_in_node "$node" ovn-controller ovn-controller unix:/run/openvswitch/db.sock --monitor \
    --pidfile=/run/ovn/ovn-controller.pid --log-file="$LOG/$node-ovn-controller.log"
  # The OVN agent gives up on a chassis that is not registered.
  wait_until 20 "the OVN chassis of $node" chassis_registered "$(cat "$HOSTS/$node/uuid")"
  render ovn-agent.ini "$ETC/$node/ovn-agent.ini" NODE="$node"
  spawn_in_node "$node" ovn-agent neutron-ovn-agent \
    --config-file "$ETC/neutron/neutron.conf" --config-file "$ETC/$node/ovn-agent.ini"
}

# --- command -----------------------------------------------------------------------------

command_node() {
  local node=${1:?which node?} action=${2:?exec, shell, up, down or kill?}
  shift 2
  require_node "$node"
  case $action in
    exec) in_node "$node" "$@" ;;
    shell) in_node "$node" env "PS1=$node# " bash --norc ;;
    kill) exclusive; node_kill "$node" ;;
    down) exclusive; node_down "$node" ;;
    up)
      exclusive
      load_secrets
      fabric_up
      [[ " $NODES " == *" $node "* ]] || NODES="$NODES $node"
      write_hosts_files
      node_up "$node"
      agent_start "$node" "$(agent_wanted "$node")"
      ;;
    *) die "node: exec, shell, up, down or kill, not $action" ;;
  esac
}
