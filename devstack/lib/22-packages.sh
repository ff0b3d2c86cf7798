# Debian packages. "a|b": the first that this release has; "?a": only if this release has it.
# shellcheck shell=bash

describe_step packages "Debian packages" \
  "run 'apt-get update'; behind a proxy set http_proxy in /etc/apt/apt.conf.d; another apt at work holds the lock"

PACKAGES="
  ca-certificates curl iproute2 iputils-ping procps psmisc util-linux openssl
  python3 python3-venv python3-dev gcc libc6-dev pkg-config libvirt-dev
  mariadb-server mariadb-client rabbitmq-server memcached
  openvswitch-switch ovn-central ovn-host haproxy iptables conntrack
  libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu
  ?libvirt-daemon-log ?libvirt-daemon-driver-nodedev ?libvirt-daemon-driver-nwfilter
  ?libvirt-daemon-driver-secret ?libvirt-daemon-driver-storage ?libvirt-daemon-driver-interface
  qemu-system-x86 ?virtiofsd qemu-utils qemu-block-extra genisoimage|xorriso ovmf swtpm swtpm-tools
  openssh-client openssh-server novnc spice-html5 ?qemu-system-modules-spice
  ceph-mon ceph-mgr ceph-osd ceph-common python3-rados python3-rbd
  busybox-static dropbear-bin qemu-guest-agent mtools dosfstools syslinux syslinux-common
  e2fsprogs fdisk cpio kmod xz-utils zstd"

# Daemons that those packages would start at the next boot, on the ports we use ourselves.
OUR_DAEMONS='mariadb|mysql|rabbitmq|epmd|memcached|openvswitch|ovs-|ovsdb|ovn-|haproxy|libvirt|virt|ssh|ceph|qemu-guest'

step_packages() { install_packages "$PACKAGES"; }

install_packages() {
  local missing before
  mapfile -t missing < <(missing_packages "$1")
  ((${#missing[@]})) || { result "all there"; return 0; }
  apt-get update --quiet=2
  # Alternatives may resolve differently with a fresh index.
  mapfile -t missing < <(missing_packages "$1")
  ((${#missing[@]})) || return 0
  before=$(installed_packages)
  forbid_autostart
  # --no-install-recommends keeps NetworkManager-sized surprises out.
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
    --option DPkg::Lock::Timeout=600 "${missing[@]}"
  allow_autostart
  disable_new_units "$before"
  result "${#missing[@]} installed"
}

# One question to dpkg and one to apt for all packages: each takes a good part of a second.
missing_packages() {
  local wish package packages installed available
  packages=$(tr '|?' '  ' <<<"$1")
  # shellcheck disable=SC2086  # a list of words
  installed=$(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
    sed -n 's/^installed //p' || true)
  # shellcheck disable=SC2086
  available=$(apt-cache policy $packages 2>/dev/null |
    awk '/^[^ ]/ {sub(":$", ""); name = $0} $1 == "Candidate:" && $2 != "(none)" {print name}' || true)
  for wish in $1; do
    package=$(choose_package "$wish" "$available")
    if [[ -n $package ]] && ! grep --quiet --line-regexp --fixed-strings "$package" <<<"$installed"; then
      echo "$package"
    fi
  done
}

# What a wish means on this release; nothing if it is optional and unknown here.
choose_package() {
  local wish=$1 available=$2 package
  for package in $(tr '|?' '  ' <<<"$wish"); do
    if grep --quiet --line-regexp --fixed-strings "$package" <<<"$available"; then
      echo "$package"
      return
    fi
  done
  # Not known (yet): apt will say so in its own words.
  [[ $wish == \?* ]] || echo "${wish%%|*}"
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
  for package in $(comm -13 <(echo "$1") <(installed_packages)); do
    for unit in $(dpkg-query --listfiles "$package" | sed -nE 's#.*/systemd/system/([^/]+\.(service|socket))$#\1#p'); do
      if [[ $unit =~ $OUR_DAEMONS ]]; then systemctl disable --quiet "$unit" || true; fi
    done
  done
}
