# The compute agent of each host: nova_lite or stock nova-compute, on the same nova.conf.
# shellcheck shell=bash

describe_step agents "compute agents" \
  "see $LOG/NODE-agent.log and .out; to go on with the stock agent: $CLOUD agent NODE nova-compute"

step_agents() {
  local node
  for node in $NODES; do
    agent_start "$node" "$(agent_wanted "$node")"
  done
  result "$(for node in $NODES; do echo "$node=$(cat "$HOSTS/$node/agent")"; done | xargs)"
  # A wrong configuration shows within seconds.
  sleep 2
  for node in $NODES; do
    [[ $(cat "$HOSTS/$node/agent") == none ]] || agent_runs "$node"
  done
  [[ -n $GUARANTEED_KBPS ]] || return 0
  for node in $NODES; do
    [[ $(cat "$HOSTS/$node/agent") == none ]] || report_rates "$node"
  done
}

# NODE_AGENTS of this very command, else what was last chosen for the host, else the default.
agent_wanted() {
  local node=$1 pair
  if [[ -z ${NODE_AGENTS:-} && -s $HOSTS/$node/agent ]]; then
    cat "$HOSTS/$node/agent"
    return
  fi
  for pair in ${NODE_AGENTS:-$AGENTS_BY_DEFAULT}; do
    [[ ${pair%%=*} == "$node" ]] && { echo "${pair#*=}"; return; }
  done
  echo nova-lite
}

agent_start() {
  local node=$1 kind=$2 program environment
  case $kind in
    nova-lite) environment=$AGENT_VENV program=nova-lite-compute ;;
    nova-compute) environment=$NOVA_VENV program=nova-compute ;;
    none) echo none >"$HOSTS/$node/agent"; return 0 ;;
    *) die "agent: nova-lite, nova-compute or none, not '$kind'" ;;
  esac
  [[ -x $environment/bin/$program ]] || die "$environment/bin/$program is missing: run '$CLOUD up'"
  if alive "$node-agent" && [[ $(cat "$HOSTS/$node/agent") != "$kind" ]]; then
    agent_stop "$node"
  fi
  echo "$kind" >"$HOSTS/$node/agent"
  alive "$node-agent" && return 0
  agent_configuration "$node"
  # Its own environment first in PATH: nova.conf names privsep-helper without a path.
  spawn_in_node "$node" agent env PATH="$environment/bin:$PATH" "$environment/bin/$program" \
    --config-file "$ETC/$node/nova.conf" --config-file "$ETC/$node/nova.local.conf"
}

# Servers keep running: their QEMU processes are children of the host, not of the agent.
agent_stop() { stop "$1-agent" 30; }

agent_runs() { alive "$1-agent" || { show_log_tail "$1-agent"; die "the agent of $1 ended by itself"; }; }

# nova.conf is rendered anew; nova.local.conf is the user's and never overwritten.
agent_configuration() {
  local node=$1 virt cpu_mode=none mkisofs=genisoimage more_consoles=false transport=$TRANSPORT_URL
  virt=$(virt_type)
  [[ $virt != kvm ]] || cpu_mode=host-model
  command -v genisoimage >/dev/null || mkisofs=xorrisofs
  [[ " $CONSOLE_NODES " != *" $node "* && $CONSOLE_NODES != all ]] || more_consoles=true
  ! in_second_cell "$node" || transport=$(second_cell_url)
  render nova-compute.conf "$ETC/$node/nova.conf" NODE="$node" TRANSPORT_URL="$transport" \
    MANAGEMENT_ADDRESS="$(management_address "$node")" VNC_ADDRESS="$(vnc_address "$node")" \
    VIRTUALIZATION="$virt" CPU_MODE="$cpu_mode" MKISOFS="$mkisofs" \
    MORE_CONSOLES="$more_consoles"
  [[ -e $ETC/$node/nova.local.conf ]] || echo "# Your settings for $node; survives 'cloud up'." >"$ETC/$node/nova.local.conf"
}

command_agent() {
  (($#)) || { agent_list; return; }
  local node=$1 kind=${2:?nova-lite, nova-compute, none or restart?}
  require_node "$node"
  exclusive
  load_secrets
  case $kind in
    restart)
      agent_stop "$node"
      kind=$(agent_wanted "$node")
      ;;
    none) agent_stop "$node" ;;
    nova-lite) "$CLOUD" step agent_venv ;;
  esac
  agent_start "$node" "$kind"
  if [[ $kind != none ]]; then
    sleep 2
    agent_runs "$node"
  fi
  agent_list
}

agent_list() {
  local node pid
  for node in $(known_nodes); do
    if pid=$(pid_of "$node-agent"); then
      printf '%-8s %-13s pid %-8s %4d MiB\n' "$node" "$(cat "$HOSTS/$node/agent")" "$pid" "$(resident "$pid")"
    else
      printf '%-8s %-13s not running\n' "$node" "$(cat "$HOSTS/$node/agent" 2>/dev/null || echo none)"
    fi
  done
}

known_nodes() { (cd "$HOSTS" 2>/dev/null && ls) || true; }
