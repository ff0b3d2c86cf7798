# The main job: a server on a nova_lite host, from request to its own first words on the console.
# shellcheck shell=bash

FIRST_SERVER=first-server

first_server() {
  load_secrets
  local node began=$SECONDS
  node=$(showcase_node)
  [[ -n $node ]] || { say "no compute agent runs: no first server"; return 0; }
  say ""
  say "booting $FIRST_SERVER on $node ($(cat "$HOSTS/$node/agent"))"
  client python "$DEVSTACK/tools/first_server.py" "$FIRST_SERVER" "$node" || {
    say "--- end of $LOG/$node-agent.log"
    tail -n 15 "$LOG/$node-agent.log" | cut -c-300 >&2
    say "--- what to do: see the fault above and $LOG/$node-agent.log; compare with the stock agent:"
    say "    $CLOUD agent $node nova-compute && $CLOUD up"
    return 1
  }
  say "from request to a booted guest, with checks: $((SECONDS - began)) s"
  show_the_cloud "$node"
}

# A host with nova_lite if there is one.
showcase_node() {
  local node kind
  for kind in nova-lite nova-compute; do
    for node in $NODES; do
      if alive "$node-agent" && [[ $(cat "$HOSTS/$node/agent") == "$kind" ]]; then
        echo "$node"
        return
      fi
    done
  done
}

# The client takes two seconds to load; two cores answer four questions in the time of two.
show_the_cloud() {
  local questions=("server list --long -c Name -c Status -c Networks -c Host"
    "hypervisor list" "compute service list" "resource provider inventory list $(provider_of "$1")")
  local answers number
  answers=$(mktemp -d)
  for number in "${!questions[@]}"; do
    # shellcheck disable=SC2086  # words of a command
    client openstack ${questions[number]} >"$answers/$number" 2>&1 &
  done
  wait
  for number in "${!questions[@]}"; do
    echo
    echo "\$ openstack ${questions[number]}"
    cat "$answers/$number"
  done
  rm -rf "$answers"
  cat <<NEXT

to go on:
  $CLOUD shell                                   a shell with admin credentials (or: shell demo)
  $CLOUD run openstack console log show $FIRST_SERVER
  $CLOUD run openstack console url show --novnc $FIRST_SERVER
  $CLOUD run openstack server create --image tiny-fast --flavor m1.nano --network private --key-name nova-lite --wait another
  $CLOUD run openstack server delete --wait $FIRST_SERVER
  $CLOUD agent $1 restart | node $1 kill | logs $1-agent
NEXT
}

# The resource provider has the uuid of the compute node, which the agent keeps in a file.
provider_of() { cat "$HOSTS/$1/nova/compute_id"; }
