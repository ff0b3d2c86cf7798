# Tempest against this cloud, compared with what stock nova-compute does on it.
# shellcheck shell=bash

TEMPEST_VENV=$STATE/venv-tempest
TEMPEST_LISTS=$DEVSTACK/tempest
TEMPEST_DEFAULT='^tempest\.api\.compute\.(servers|images)\.'

command_tempest() {
  local hosts="" ssh=true jobs=1 record="" pattern=$TEMPEST_DEFAULT
  while (($#)); do
    case $1 in
      --host) hosts=${2:?--host NODE[,NODE]}; shift ;;
      --jobs) jobs=${2:?--jobs NUMBER}; shift ;;
      --no-ssh) ssh=false ;;
      --record) record=${2:?--record FILE}; shift ;;
      -*) die "tempest: unknown option $1" ;;
      *) pattern=$1 ;;
    esac
    shift
  done
  alive nova-api || die "no cloud runs: $CLOUD up"
  # In a subshell, as the lock must not outlast this: a run takes long.
  (exclusive; tempest_venv)
  # One directory per choice of hosts, so that runs on different hosts may go on at the same time.
  local TEMPEST=$STATE/tempest/${hosts:-any}
  mkdir -p "$TEMPEST"
  exec 8>"$TEMPEST/.lock"
  flock --nonblock 8 || die "Tempest already runs on ${hosts:-this cloud}"
  tempest_configure "$hosts" "$ssh"
  tempest_run "$pattern" "$jobs"
  "$TEMPEST_VENV/bin/python" "$DEVSTACK/tools/tempest_report.py" ${record:+--record "$record"} \
    "$TEMPEST/results.subunit" "$TEMPEST_LISTS/stock-2026.2.txt" "$TEMPEST_LISTS/expected.txt"
}

tempest_venv() {
  local python inputs=("$TEMPEST_LISTS/requirements.txt" "$DEVSTACK/constraints.txt")
  python=$(choose_python)
  up_to_date "$TEMPEST_VENV" "$python" "${inputs[@]}" && return 0
  say "installing Tempest"
  new_venv "$TEMPEST_VENV" "$python"
  uv pip install --quiet --python "$TEMPEST_VENV" --requirement "${inputs[0]}" --constraint "${inputs[1]}"
  mark_done "$TEMPEST_VENV" "$python" "${inputs[@]}"
}

# The highest of the compute API that older releases know: Tempest would ask for its own.
declare -A HIGHEST_MICROVERSION=([2025.1]=2.100 [2025.2]=2.100 [2026.1]=2.103)

tempest_configure() { # tempest_configure HOSTS SSH; $TEMPEST is the directory of the run
  local facts microversion=${HIGHEST_MICROVERSION[$NOVA_RELEASE]:-latest}
  load_secrets
  # shellcheck disable=SC2086  # one argument per host
  facts=$(NOVA_LITE_CLOUD=$STATE client "$VENV/bin/python" "$DEVSTACK/tools/tempest_setup.py" ${1//,/ })
  # shellcheck disable=SC2086  # one argument per fact
  render tempest.conf "$TEMPEST/tempest.conf" SSH="$2" MICROVERSION="$microversion" $facts
}

# In the world outside, where floating IPs are; the APIs are on its 127.0.0.1, too.
tempest_run() {
  local packages
  packages=$(echo "$TEMPEST_VENV"/lib/python3*/site-packages)
  rm -f "$TEMPEST/results.subunit"
  (
    cd "$TEMPEST" || exit
    export TEMPEST_CONFIG_DIR=$TEMPEST OS_TEST_TIMEOUT=1200 PATH=$TEMPEST_VENV/bin:$PATH
    # A class at a time, as its tests share what it makes.
    outside stestr --test-path "$packages/tempest/test_discover" \
      --top-dir "$packages" --group_regex '([^\.]*\.)*' run --concurrency "$2" "$1" 2>&1 |
      tee run.log | grep --line-buffered ' \.\.\. ' || true
    stestr last --subunit >results.subunit || true
  )
  say "details: $TEMPEST/run.log and tempest.log"
}
outside() { ip netns exec "$OUTSIDE" nice "$@"; }
