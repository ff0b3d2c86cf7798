# Where everything lives, and every knob the environment may turn. Sourced first.
# shellcheck shell=bash disable=SC2034

STATE=${NOVA_LITE_CLOUD:-/opt/nova-lite-cloud}
ETC=$STATE/etc          # rendered configuration and secrets
LOG=$STATE/log
RUN=$STATE/run          # pid files and sockets
DATA=$STATE/data        # databases, queues, Glance's images
HOSTS=$STATE/nodes      # one directory per compute host
IMAGES=$STATE/images    # guest images as built
KEYS=$STATE/keys
CACHE=$STATE/cache
VENV=$STATE/venv               # control plane and stock nova-compute, of the newest release
AGENT_VENV=$STATE/venv-agent   # nova_lite
UV_VENV=$STATE/venv-uv         # the installer itself

# The release of Nova, its stock agent included: that of the databases which are there, unless another
# one is asked for. All else is of the newest one.
NOVA_RELEASES="2025.1 2025.2 2026.1 2026.2"
NEWEST_RELEASE=2026.2
RELEASE_RECORD=$DATA/nova-release   # of the databases
NOVA_RELEASE=${NOVA_RELEASE:-$(cat "$RELEASE_RECORD" 2>/dev/null || echo "$NEWEST_RELEASE")}
# [upgrade_levels]compute of its control services, such as auto; empty: none.
UPGRADE_LEVEL=${UPGRADE_LEVEL:-}
UPGRADE_LEVEL_LINE=${UPGRADE_LEVEL:+compute = $UPGRADE_LEVEL}
NOVA_VENV=$VENV
[[ $NOVA_RELEASE == "$NEWEST_RELEASE" ]] || NOVA_VENV=$STATE/venv-nova-$NOVA_RELEASE

DEBUG=${DEBUG:-false}
# messagingv2 makes the services emit notifications.
NOTIFICATIONS=${NOTIFICATIONS:-noop}
# VLAN first: OVS's userspace datapath drops offloaded TCP inside tunnels.
TENANT_NETWORKS=${TENANT_NETWORKS:-vlan,geneve}
# What the physical network of each host guarantees to ports, in kbit/s each way; empty: nothing.
GUARANTEED_KBPS=${GUARANTEED_KBPS:-}
# Where Glance puts images for which nobody names a store: file or rbd.
GLANCE_STORE=${GLANCE_STORE:-file}
GATEWAY_NODES=${GATEWAY_NODES:-node1}
# Hosts whose guests have SPICE and serial consoles beside VNC; "all" for every host.
CONSOLE_NODES=${CONSOLE_NODES:-node2}
REGION=RegionOne

# Compute hosts and the agent of each. What "cloud agent" switched is remembered
# per host and holds unless NODE_AGENTS is in the environment.
AGENTS_BY_DEFAULT="node1=nova-lite node2=nova-lite"
if [[ -z ${NODE_AGENTS:-} && -d $HOSTS ]]; then
  NODES=$(cd "$HOSTS" && echo node*)
else
  NODES=$(for pair in ${NODE_AGENTS:-$AGENTS_BY_DEFAULT}; do echo "${pair%%=*}"; done | xargs)
fi

# "yes" makes a second cell, for moves between cells; these hosts are in it.
SECOND_CELL=${SECOND_CELL:-no}
CELL2_NODES=${CELL2_NODES:-node4}
[[ $SECOND_CELL != yes ]] || for node in $CELL2_NODES; do
  [[ " $NODES " == *" $node "* ]] || NODES="$NODES $node"
done

KEYSTONE_PORT=5000
PLACEMENT_PORT=8778
GLANCE_PORT=9292
NOVA_PORT=8774
METADATA_PORT=8775
BARBICAN_PORT=9311
NOVNC_PORT=6080
SPICE_PORT=6082
SERIAL_PORT=6083
SERIAL_RANGE=10000:10100   # TCP ports of the guests of a host; the end is not one of them
NEUTRON_PORT=9696
CINDER_PORT=8776
CEPH_MON_PORT=3300
CEPH_OLD_MON_PORT=6789
CEPH_PORTS=6800-6815       # the manager and the OSD choose among these
CEPH_DISK_SIZE=$((40 << 30))   # bytes; a sparse file
RABBIT_PORT=5672
RABBIT_MANAGEMENT_PORT=15672
RABBIT_DIST_PORT=25672
EPMD_PORT=4370     # not 4369: a packaged Erlang may own that one
MYSQL_PORT=3306
MEMCACHED_PORT=11211
OVN_NB_PORT=6641
OVN_SB_PORT=6642
KEYSTONE_URL=http://127.0.0.1:$KEYSTONE_PORT/v3

# What a compute host may reach of the control plane (no database: as in any real cell).
PORTS_FOR_NODES="$KEYSTONE_PORT $BARBICAN_PORT $PLACEMENT_PORT $GLANCE_PORT $NOVA_PORT $METADATA_PORT
  $NOVNC_PORT $NEUTRON_PORT $CINDER_PORT $CEPH_MON_PORT $CEPH_OLD_MON_PORT $RABBIT_PORT $MEMCACHED_PORT $OVN_NB_PORT $OVN_SB_PORT"

# Where mount(8) looks for its helpers beside /sbin; an empty directory, covered in namespaces.
FILE_SYSTEMS=/usr/sbin/fs.d

export PATH=$VENV/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/share/openvswitch/scripts:/usr/share/ovn/scripts
export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
# Nothing of the caller's Python and OpenStack settings may leak into the services.
unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV "${!OS_@}"
# A proxy is for the packages, not for our own services.
export no_proxy=127.0.0.1,localhost${no_proxy:+,$no_proxy}

# Title and remedy of each step of "up"; the file of the subject describes its own.
declare -A STEP_TITLE STEP_REMEDY
describe_step() {
  STEP_TITLE[$1]=$2
  STEP_REMEDY[$1]=$3
}
