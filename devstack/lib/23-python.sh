# Two virtual environments from PyPI: the control plane (with stock nova-compute), and nova_lite.
# shellcheck shell=bash

describe_step python "OpenStack from PyPI" \
  "is pypi.org reachable? A failing build of libvirt-python or uwsgi wants python3-dev, gcc, libvirt-dev"
describe_step agent_venv "nova_lite from this repository" \
  "try: $UV_VENV/bin/uv pip install --python $AGENT_VENV -e $REPO"

UV_VERSION=0.13.8

step_python() {
  local python
  python=$(choose_python)
  if up_to_date "$VENV" "$python" "$DEVSTACK/requirements.txt" "$DEVSTACK/constraints.txt"; then
    link_ceph_modules "$VENV"
    result "$python, unchanged"
    return 0
  fi
  new_venv "$VENV" "$python"
  # Bytecode now, on all cores, instead of by each service at its first start.
  uv pip install --python "$VENV" --compile-bytecode \
    --requirement "$DEVSTACK/requirements.txt" --constraint "$DEVSTACK/constraints.txt"
  link_ceph_modules "$VENV"
  mark_done "$VENV" "$python" "$DEVSTACK/requirements.txt" "$DEVSTACK/constraints.txt"
  result "$("$python" --version) of $python"
}

# The distribution's Python, whatever the PATH of the caller says: same result on every machine.
choose_python() {
  local candidate
  for candidate in /usr/bin/python3 /usr/local/bin/python3 /usr/bin/python3.1{3,2,1}; do
    [[ -x $candidate ]] || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo "$candidate"; return; }
  done
  die "no Python >= 3.11 in /usr/bin or /usr/local/bin"
}

# uv in an environment of its own: the system's Python refuses foreign packages (PEP 668).
uv() {
  if ! [[ -x $UV_VENV/bin/uv ]]; then
    "$(choose_python)" -m venv "$UV_VENV" >&2
    "$UV_VENV/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2
  fi
  UV_CACHE_DIR=$CACHE/uv UV_PYTHON_DOWNLOADS=never "$UV_VENV/bin/uv" "$@"
}

new_venv() { uv venv --quiet --clear --seed --python "$2" "$1"; }

# A stamp in the environment says from which inputs it was made: a file counts with its content, a
# directory with its path.
fingerprint() {
  local input
  {
    "$1" --version
    for input in "${@:2}"; do
      if [[ -d $input ]]; then echo "$input"; else cat "$input" 2>/dev/null || true; fi
    done
  } | sha256sum
}
up_to_date() { [[ -s $1/.stamp && $(fingerprint "${@:2}") == "$(cat "$1/.stamp")" ]]; }
mark_done() { fingerprint "${@:2}" >"$1/.stamp"; }

# own_venv TITLE DIRECTORY REQUIREMENTS COMMAND...: an environment of an optional service; before it is
# made anew, COMMAND stops what runs from the old one.
own_venv() {
  local title=$1 directory=$2 requirements=$3 python
  python=$(choose_python)
  up_to_date "$directory" "$python" "$requirements" && return 0
  say "installing $title"
  "${@:4}"
  new_venv "$directory" "$python"
  uv pip install --quiet --python "$directory" --compile-bytecode --requirement "$requirements"
  mark_done "$directory" "$python" "$requirements"
}

# The installation is editable: it runs the code of this very clone.
AGENT_INPUTS=("$REPO" "$REPO/setup.cfg" "$REPO/pyproject.toml" "$REPO/requirements.txt" "$DEVSTACK/constraints.txt")

nova_lite_written() { grep -qs 'nova-lite-compute' "$REPO/setup.cfg" "$REPO/pyproject.toml"; }

step_agent_venv() {
  local python
  nova_lite_written || { result "no nova-lite-compute in this repository yet"; return 0; }
  python=$(choose_python)
  if up_to_date "$AGENT_VENV" "$python" "${AGENT_INPUTS[@]}"; then
    link_ceph_modules "$AGENT_VENV"
    result "unchanged"
    return 0
  fi
  # Installed into the existing environment: an agent may be running from it.
  if ! [[ -x $AGENT_VENV/bin/pbr ]]; then
    new_venv "$AGENT_VENV" "$python"
    uv pip install --python "$AGENT_VENV" --constraint "$DEVSTACK/constraints.txt" pbr setuptools
  fi
  # pbr wants a version from git; a tarball or a machine without git has none.
  git -C "$REPO" rev-parse HEAD >/dev/null 2>&1 || export PBR_VERSION=0.0.1.dev0
  # The build tools are there; fetching them again for each change would take seconds.
  uv pip install --python "$AGENT_VENV" --compile-bytecode --no-build-isolation --editable "$REPO" \
    --constraint "$DEVSTACK/constraints.txt"
  link_ceph_modules "$AGENT_VENV"
  mark_done "$AGENT_VENV" "$python" "${AGENT_INPUTS[@]}"
}
