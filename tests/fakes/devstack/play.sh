#!/bin/bash
# Plays DevStack's scripts for one compute host, as far as its compute agent is concerned.
#
#   play.sh ACT...     acts: stack, unstack, clean; each in a shell of its own, as in life
#
# WORK          a directory with bin/ (commands that only write what they are called with to
#               $WORK/calls) and localrc (shell lines as in local.conf)
# REPO          the plugin's checkout
# DEVSTACK_DIR  a checkout of DevStack: its own functions run, /etc is an overlay. Empty: stand_in.sh
set -o errexit

fact() { echo "$1=$2" >>"$WORK/facts"; }
call() { echo "$*" >>"$WORK/calls"; }
keep() {
    cp -r /etc/nova "$WORK" || true
    find /etc/systemd/system -name 'devstack@*' -exec cp {} "$WORK/systemd" ';'
}
enabled() { if is_service_enabled "$1"; then echo yes; else echo no; fi; }

main() {
    export PATH=$WORK/bin:$PATH
    if [[ -n $DEVSTACK_DIR ]]; then
        mkdir "$WORK/etc"
        mount -t tmpfs none "$WORK/etc"
        mkdir "$WORK"/etc/{upper,work}
        mount -t overlay overlay /etc \
            -o "lowerdir=/etc,upperdir=$WORK/etc/upper,workdir=$WORK/etc/work"
        mkdir -p /etc/{iscsi,libvirt,sudoers.d,systemd/system} "$WORK/systemd"
        trap 'keep' EXIT
    fi
    local act
    for act in "$@"; do
        call "# $act"
        bash "$0" act "$act"
    done
}

begin() {
    if [[ -n $DEVSTACK_DIR ]]; then
        begin_devstack
    else
        source "$REPO/tests/fakes/devstack/stand_in.sh"
        source "$WORK/localrc"
    fi
    GITDIR[nova-lite]=$REPO
    run_phase override_defaults
    [[ -z $DEVSTACK_DIR ]] || libraries
    run_phase source
}

begin_devstack() {
    TOP_DIR=$WORK/devstack FILES=$WORK/devstack/files
    cd "$TOP_DIR"
    source ./stackrc
    source lib/database
    source lib/rpc_backend
    initialize_database_backends || true
}

# In the order of stack.sh. What reaches for the real machine or for git is replaced.
libraries() {
    local lib
    for lib in apache tls infra libraries lvm keystone glance nova placement cinder swift neutron \
        os-vif; do
        source "lib/$lib"
    done
    pip_install() { call pip_install "$@"; }
    restart_service() { call restart_service "$@"; }
    add_user_to_group() { :; }
    configure_rootwrap() { :; }
}

play_stack() {
    begin
    fact ENABLED_SERVICES "$ENABLED_SERVICES"
    fact n-cpu "$(enabled n-cpu)"
    fact n-lite "$(enabled n-lite)"
    fact nova "$(enabled nova)"
    fact bin "$(get_python_exec_prefix)"
    fact instances_path "$NOVA_INSTANCES_PATH"
    fact state_path "$NOVA_STATE_PATH"
    fact conf "$NOVA_CPU_CONF"
    run_phase stack pre-install
    if is_service_enabled n-cpu && [[ $VIRT_DRIVER == libvirt ]]; then
        install_nova_hypervisor
    fi
    configure_nova
    if is_service_enabled n-cpu; then
        configure_placement_nova_compute
    fi
    run_phase stack install
    create_nova_keys_dir
    configure_neutron_nova
    run_phase stack post-config
    start_nova_compute
    [[ -z ${LOSE_NOVA_CPU_CONF:-} ]] || rm "$NOVA_CPU_CONF"
    run_phase stack extra
    if is_service_enabled n-cpu; then
        is_nova_ready
        nova-manage cell_v2 discover_hosts
    fi
    service_check
    run_phase stack test-config
    fact finished stack
}

play_unstack() {
    begin
    run_phase unstack
    stop_nova_compute
    cleanup_nova
    fact finished unstack
}

play_clean() {
    begin
    run_phase clean
    fact finished clean
}

if [[ $1 == act ]]; then
    "play_$2"
else
    main "$@"
fi
