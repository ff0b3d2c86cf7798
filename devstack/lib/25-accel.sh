# KVM or TCG? A /dev/kvm that opens is no proof: some machines' KVM hangs ordinary guests.
# So a real kernel has to speak under it.
# shellcheck shell=bash

describe_step accel "does KVM run a guest?" \
  "skip the question: VIRT_TYPE=qemu $CLOUD up"

KVM_PROBE_SECONDS=${KVM_PROBE_SECONDS:-8}

step_accel() {
  local kernel answer
  # The answer holds for one boot of this machine.
  kernel=$(cat /proc/sys/kernel/random/boot_id)
  if [[ -n ${VIRT_TYPE:-} ]]; then
    answer=$VIRT_TYPE
  elif [[ $(cut -d' ' -f2 "$STATE/accel" 2>/dev/null) == "$kernel" ]]; then
    answer=$(virt_type)
  elif kvm_runs_a_guest; then
    answer=kvm
  else
    answer=qemu
  fi
  echo "$answer $kernel" >"$STATE/accel"
  result "virt_type = $answer"
}

virt_type() { cut -d' ' -f1 "$STATE/accel" 2>/dev/null || echo qemu; }

kvm_runs_a_guest() {
  local console=$LOG/kvm-probe.log
  [[ -r /dev/kvm && -w /dev/kvm ]] || return 1
  : >"$console"
  timeout --kill-after=1 "$KVM_PROBE_SECONDS" qemu-system-x86_64 -accel kvm -machine q35 -m 256 \
    -nodefaults -display none -no-reboot -serial "file:$console" \
    -kernel "$IMAGES/tiny-kernel" -append 'console=ttyS0 earlyprintk=ttyS0 panic=-1' 9>&- &
  # It panics for want of a root file system; that it got there is all we ask.
  wait_until "$KVM_PROBE_SECONDS" "a kernel under KVM" grep -q 'Kernel panic\|VFS:' "$console"
}
