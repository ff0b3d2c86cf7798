# Stand-ins for the functions of DevStack that the plugin needs or that need the plugin: the same
# names, arguments and conditions on services, little else. For machines without a DevStack.

declare -gA GITDIR
TOP_DIR=$WORK
DEST=$WORK/dest
DATA_DIR=$DEST/data
DEVSTACK_VENV=$WORK/venv
STACK_USER=nobody
SYSTEMCTL="sudo systemctl"
SYSTEMD_DIR=$WORK/systemd
VIRT_DRIVER=libvirt
NOVA_STATE_PATH=$DATA_DIR/nova
NOVA_INSTANCES_PATH=$NOVA_STATE_PATH/instances
NOVA_CONF=$WORK/nova/nova.conf
NOVA_CPU_CONF=$WORK/nova/nova-cpu.conf
ENABLED_SERVICES=""
DISABLED_SERVICES=""

mkdir -p "$WORK/nova" "$SYSTEMD_DIR"

define_plugin() { :; }
enable_plugin() { DEVSTACK_PLUGINS=$1; }
get_python_exec_prefix() { echo "$DEVSTACK_VENV/bin"; }
echo_summary() { echo "$@"; }

die() {
    echo "[ERROR] $1 $2" >&2
    exit 1
}

# Like the original it hands on the code of the command before it.
warn() {
    local code=$?
    echo "[WARNING] $1 $2" >&2
    return $code
}

run_phase() {
    local folder=${GITDIR[$DEVSTACK_PLUGINS]}/devstack
    case $1 in
        override_defaults) [[ ! -f $folder/override-defaults ]] || source "$folder/override-defaults" ;;
        source) source "$folder/settings" ;;
        *) source "$folder/plugin.sh" "$1" "$2" ;;
    esac
}

is_service_enabled() {
    local service answer=1
    for service in "$@"; do
        [[ ,$ENABLED_SERVICES, == *,$service,* ]] && answer=0
        [[ $service == nova && ,$ENABLED_SERVICES == *,n-* ]] && answer=0
        if type "is_${service}_enabled" >/dev/null 2>&1; then
            "is_${service}_enabled" && answer=0
        fi
    done
    return $answer
}

enable_service() {
    if [[ ,$DISABLED_SERVICES, == *,$1,* ]]; then
        warn 0 "$1 is disabled"
    elif ! is_service_enabled "$1"; then
        ENABLED_SERVICES+=,$1
    fi
}

disable_service() {
    DISABLED_SERVICES+=,$1
    ENABLED_SERVICES=,$ENABLED_SERVICES,
    ENABLED_SERVICES=${ENABLED_SERVICES//,$1,/,}
}

get_packages() { [[ $1 != n-cpu ]] || echo genisoimage qemu-utils; }
install_package() { sudo apt-get --assume-yes install "$@"; }
setup_develop() { call pip_install -e "$1"; }

iniset() { printf '[%s]\n%s = %s\n' "$2" "$3" "$4" >>"$1"; }

run_process() {
    is_service_enabled "$1" || return 0
    local unit=$SYSTEMD_DIR/devstack@$1.service
    printf 'Environment = "PATH=%s"\nUser = %s\nExecStart = %s\n' \
        "$PATH" "${4:-$STACK_USER}" "$2" >"$unit"
    [[ -z $3 ]] || echo "Group = $3" >>"$unit"
    $SYSTEMCTL enable "devstack@$1.service"
    $SYSTEMCTL start "devstack@$1.service"
}

stop_process() {
    if is_service_enabled "$1" && $SYSTEMCTL is-enabled "devstack@$1.service"; then
        $SYSTEMCTL stop "devstack@$1.service"
        $SYSTEMCTL disable "devstack@$1.service"
    fi
}

service_check() { :; }
create_nova_keys_dir() { :; }
configure_neutron_nova() { :; }
configure_placement_nova_compute() { iniset "$NOVA_CONF" placement auth_type password; }
install_nova_hypervisor() { install_package libvirt-daemon-system; }

configure_nova() {
    rm -f "$NOVA_CONF"
    iniset "$NOVA_CONF" DEFAULT state_path "$NOVA_STATE_PATH"
    iniset "$NOVA_CONF" DEFAULT instances_path "$NOVA_INSTANCES_PATH"
    if is_service_enabled n-cpu; then
        sudo install -d "$NOVA_INSTANCES_PATH"
        iniset "$NOVA_CONF" libvirt virt_type qemu
    fi
}

start_nova_compute() {
    cp "$NOVA_CONF" "$NOVA_CPU_CONF"
    if is_service_enabled n-cpu; then
        iniset "$NOVA_CPU_CONF" vnc novncproxy_base_url http://10.0.0.9:6080/vnc_lite.html
    fi
    run_process n-cpu "$DEVSTACK_VENV/bin/nova-compute --config-file $NOVA_CPU_CONF" libvirt
}

stop_nova_compute() { stop_process n-cpu; }
is_nova_ready() { openstack compute service list --service nova-compute; }
cleanup_nova() {
    ! is_service_enabled n-cpu || sudo virsh list --all
    sudo rm -rf "$NOVA_STATE_PATH"
}
