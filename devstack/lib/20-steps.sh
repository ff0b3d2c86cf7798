# "up": the steps in order, each with its time; on failure its log and the remedy.
# shellcheck shell=bash

UP_STEPS=(preflight packages secrets python agent_venv base images accel release databases keystone placement
  glance nova ovn neutron cinder nodes agents seed)

# Each step is a process of its own ("cloud step NAME"), so that "set -e" holds inside it
# although we look at its result.
command_step() {
  local name=${1:?which step?}
  declare -F "step_$name" >/dev/null || die "no such step: $name"
  require_release
  exclusive
  prepare_state
  case $name in
    preflight | packages | secrets | python | agent_venv | images | debian_image | accel) ;;
    *) load_secrets ;;
  esac
  "step_$name"
}

prepare_state() {
  mkdir -p "$STATE" "$LOG" "$RUN" "$DATA" "$CACHE" "$KEYS"
  # mysql and rabbitmq must get through to their own directories; secrets are in $ETC and $KEYS.
  chmod 755 "$STATE" "$LOG" "$RUN" "$DATA"
  chmod 700 "$KEYS"
}

command_up() {
  local steps=("${UP_STEPS[@]}") server=yes number=0 name
  while (($#)); do
    case $1 in
      --with-debian-image) steps=("${steps[@]/%images/images debian_image}") ;;
      --no-server) server=no ;;
      --upgrade) export NOVA_CHANGE=upgrade ;;
      --wipe-nova) export NOVA_CHANGE=wipe ;;
      *) die "up: unknown option $1" ;;
    esac
    shift
  done
  # shellcheck disable=SC2206  # "images debian_image" above is two steps
  steps=(${steps[@]})
  [[ $(id -u) == 0 ]] || die "root is needed: namespaces, packages, a virtual switch (try: sudo $CLOUD up)"
  require_release
  exclusive
  prepare_state
  say "nova_lite cloud in $STATE, from $REPO, Nova $NOVA_RELEASE"
  announce_release
  local began=$SECONDS
  for name in "${steps[@]}"; do
    number=$((number + 1))
    run_step "$number/${#steps[@]}" "$name" || exit 1
  done
  say "the cloud is up: $((SECONDS - began)) s"
  [[ $server == no ]] || first_server
}

run_step() {
  local position=$1 name=$2 log=$LOG/step-$2.log began=$SECONDS
  printf '[%5s] %-42s' "$position" "${STEP_TITLE[$name]:-$name}" >&2
  if "$CLOUD" step "$name" >"$log" 2>&1 </dev/null; then
    printf '%4d s  %s\n' "$((SECONDS - began))" "$(sed -n 's/^result: //p' "$log" | tail -n 1)" >&2
    return 0
  fi
  printf 'FAILED after %d s\n' "$((SECONDS - began))" >&2
  say "--- end of $log"
  tail -n 25 "$log" | sed 's/^/    /' >&2
  say "--- what to do: ${STEP_REMEDY[$name]:-see the log}"
  say "    this step alone: $CLOUD step $name      everything again: $CLOUD up"
  return 1
}

# A remark that "up" shows behind the time of the step.
result() { echo "result: $*"; }
