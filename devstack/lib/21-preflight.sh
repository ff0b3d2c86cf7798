# Can this machine carry the cloud at all?
# shellcheck shell=bash

describe_step preflight "preflight" \
  "the machine must be a Debian 12/13 or Ubuntu 24.04 on x86_64 with 6 GB of memory and 8 GB of disk"

step_preflight() {
  [[ $(uname -m) == x86_64 ]] || die "this is $(uname -m): the guest images are made for x86_64"
  command -v apt-get >/dev/null || die "no apt-get here"
  # shellcheck source=/dev/null
  . /etc/os-release
  case $ID-$VERSION_ID in
    debian-12 | debian-13 | ubuntu-24.04) ;;
    *) say "warning: $PRETTY_NAME is untested" ;;
  esac
  local memory disk
  memory=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
  disk=$(df --output=avail -m "$STATE" | tail -n 1)
  ((memory >= 5500)) || die "$memory MiB of memory: the control plane alone takes 5 GB"
  ((disk >= 8000)) || [[ -x $VENV/bin/nova-compute ]] || die "only $((disk)) MiB free at $STATE"
  result "$PRETTY_NAME, $(nproc) cores, $((memory / 1024)) GiB, $((disk / 1024)) GiB free"
}
