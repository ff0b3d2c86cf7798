#!/bin/bash
#
# DevStack sources this in each of its phases: "stack install", "stack extra", "unstack" ...
# The settings are in ``settings``.

# check_nova_lite() - Say at once what would otherwise show when the agent starts
function check_nova_lite {
    if [[ "$VIRT_DRIVER" != "libvirt" ]]; then
        die $LINENO "nova-lite needs VIRT_DRIVER=libvirt, not $VIRT_DRIVER; disable_service n-lite"
    fi
    if [[ "${USER_UNITS:-}" == "True" ]]; then
        die $LINENO "nova-lite runs as root: unset USER_UNITS, or disable_service n-lite"
    fi
    if [[ "${NOVA_BACKEND:-}" == "LVM" ]]; then
        die $LINENO "nova-lite has no disks on LVM: unset NOVA_BACKEND, or disable_service n-lite"
    fi
}

# install_nova_lite_packages() - DevStack's package lists go by the names of enabled services
function install_nova_lite_packages {
    # shellcheck disable=SC2046 # a list
    install_package $(get_packages n-cpu)
}

# install_nova_lite() - From the checkout, into the environment that nova is in
function install_nova_lite {
    setup_develop "$NOVA_LITE_DIR"
}

# start_nova_lite() - Run the agent on the nova-cpu.conf that start_nova_compute has just written
function start_nova_lite {
    if [[ ! -r "$NOVA_CPU_CONF" ]]; then
        die $LINENO "$NOVA_CPU_CONF is missing: lib/nova writes it in start_nova_compute"
    fi
    # Shows in the log what is missing and what to do about it; the agent itself waits for most.
    if ! sudo "$NOVA_LITE_BIN_DIR/nova-lite-status" check --config-file "$NOVA_CPU_CONF"; then
        warn $LINENO "nova-lite-status is not content with this host, see above"
    fi
    # As root, in no particular group: the agent does without rootwrap and privsep daemons.
    PATH=$NOVA_LITE_BIN_DIR:$PATH run_process n-lite \
        "$NOVA_LITE_BIN_DIR/nova-lite-compute --config-file $NOVA_CPU_CONF" "" root
}

# stop_nova_lite() - SIGTERM drains; guests keep running until DevStack destroys them
function stop_nova_lite {
    stop_process n-lite
}

# cleanup_nova_lite() - What unstack.sh leaves if it could not remove nova's state
function cleanup_nova_lite {
    sudo rm -rf "$NOVA_STATE_PATH/nova-lite"
}

if is_service_enabled n-lite; then
    case "$1 ${2:-}" in
        "stack pre-install")
            check_nova_lite
            install_nova_lite_packages
            ;;
        "stack install")
            echo_summary "Installing nova-lite"
            install_nova_lite
            ;;
        "stack extra")
            # After nova's conductor, neutron and glance, before stack.sh waits for this host to
            # come up and maps it to its cell.
            echo_summary "Starting nova-lite"
            start_nova_lite
            ;;
        "unstack ")
            stop_nova_lite
            ;;
        "clean ")
            cleanup_nova_lite
            ;;
    esac
fi
