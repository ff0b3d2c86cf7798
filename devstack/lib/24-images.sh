# Guest images, built from packages of the distribution.
# shellcheck shell=bash

describe_step images "guest images" \
  "the kernel packages come with apt-get download: is the package index fresh (apt-get update)?"
describe_step debian_image "Debian guest image" \
  "needs deb.debian.org, or DEBIAN_MIRROR=... in the environment"

step_images() {
  image_current tiny.qcow2 "$DEVSTACK/images/build-tiny" "$DEVSTACK"/images/tiny/* && return 0
  CACHE=$CACHE/kernels "$DEVSTACK/images/build-tiny" "$IMAGES"
}

step_debian_image() {
  install_packages "mmdebstrap debian-archive-keyring grub-pc-bin grub-common qemu-utils fdisk e2fsprogs python3"
  image_current debian.qcow2 "$DEVSTACK/images/build-debian" "$DEVSTACK"/images/debian/* && return 0
  "$DEVSTACK/images/build-debian" "$IMAGES"
}

# An image is built again when its recipe changed.
image_current() {
  local image=$IMAGES/$1 recipe
  shift
  [[ -s $image ]] || return 1
  for recipe; do
    [[ $recipe -ot $image ]] || return 1
  done
  result "unchanged"
}
