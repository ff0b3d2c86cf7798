# Debian packages. "a|b": the first that this release has; "?a": only if this release has it.
# shellcheck shell=bash

STEP_TITLE[packages]="Debian packages"
STEP_REMEDY[packages]="run 'apt-get update'; behind a proxy set http_proxy in /etc/apt/apt.conf.d; another apt at work holds the lock"

PACKAGES="
  ca-certificates curl iproute2 iputils-ping procps psmisc util-linux openssl
  python3 python3-venv python3-dev gcc libc6-dev pkg-config libvirt-dev
  mariadb-server mariadb-client rabbitmq-server memcached
  openvswitch-switch ovn-central ovn-host haproxy iptables conntrack
  libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu
  ?libvirt-daemon-log ?libvirt-daemon-driver-nodedev ?libvirt-daemon-driver-nwfilter
  ?libvirt-daemon-driver-secret ?libvirt-daemon-driver-storage ?libvirt-daemon-driver-interface
  qemu-system-x86 qemu-utils qemu-block-extra genisoimage|xorriso ovmf swtpm swtpm-tools
  openssh-client openssh-server novnc
  busybox-static dropbear-bin qemu-guest-agent mtools dosfstools syslinux syslinux-common
  e2fsprogs fdisk cpio kmod xz-utils zstd"

# Daemons that those packages would start at the next boot, on the ports we use ourselves.
OUR_DAEMONS='mariadb|mysql|rabbitmq|epmd|memcached|openvswitch|ovs-|ovsdb|ovn-|haproxy|libvirt|virt|ssh|qemu-guest'

step_packages() { install_packages "$PACKAGES"; }

install_packages() {
  local missing before
  mapfile -t missing < <(missing_packages "$1")
  ((${#missing[@]})) || { result "all there"; return 0; }
  apt-get update --quiet=2
  # Alternatives may resolve differently with a fresh index.
  mapfile -t missing < <(missing_packages "$1")
  before=$(installed_packages)
  forbid_autostart
  # --no-install-recommends keeps NetworkManager-sized surprises out.
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
    --option DPkg::Lock::Timeout=600 "${missing[@]}"
  allow_autostart
  disable_new_units "$before"
  result "${#missing[@]} installed"
}

package_installed() { dpkg-query --show --showformat '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
package_known() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }

missing_packages() {
  local wish package
  for wish in $1; do
    case $wish in
      \?*) package=${wish#\?}; package_known "$package" || continue ;;
      *\|*) package=$(first_known "${wish//|/ }") ;;
      *) package=$wish ;;
    esac
    package_installed "$package" || echo "$package"
  done
}

first_known() {
  local package
  for package in $1; do
    package_known "$package" && { echo "$package"; return; }
  done
  echo "${1%% *}"
}

installed_packages() { dpkg-query --show --showformat '${Package}\n' | sort; }

# The packaged daemons must not start: they would take our ports.
forbid_autostart() {
  [[ -e /usr/sbin/policy-rc.d ]] && return 0
  trap allow_autostart EXIT
  printf '#!/bin/sh\n# nova_lite devstack: removed when the installation ends\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
}
allow_autostart() {
  if grep -qs 'nova_lite devstack' /usr/sbin/policy-rc.d; then rm -f /usr/sbin/policy-rc.d; fi
}

# What was there before us stays enabled; what we brought is ours to run.
disable_new_units() {
  command -v systemctl >/dev/null || return 0
  local package unit
  comm -13 <(echo "$1") <(installed_packages) | while read -r package; do
    dpkg-query --listfiles "$package" | grep -E '/systemd/system/[^/]+\.(service|socket)$' || true
  done | sed 's#.*/##' | grep -E "$OUR_DAEMONS" | sort -u | while read -r unit; do
    systemctl disable --quiet "$unit" 2>/dev/null || true
  done
}
