# A second cell for moves between cells: its own database, queues and conductor, with CELL2_NODES in it.
# What was made once is started again by later runs of "up", also without SECOND_CELL.
# shellcheck shell=bash

CELL2=$ETC/nova/cell2.conf

has_second_cell() { [[ $SECOND_CELL == yes || -s $CELL2 ]]; }
in_second_cell() { [[ -s $CELL2 && " $CELL2_NODES " == *" $1 "* ]]; }
second_cell_url() { echo "${TRANSPORT_URL%/*}/cell2"; }

# Before nova-api starts, which reads the policy then.
second_cell() {
  echo "create database if not exists nova_cell2 character set utf8mb4 collate utf8mb4_general_ci;" | sql
  render nova.conf "$CELL2" TRANSPORT_URL="$(second_cell_url)" NOVA_CELL_DATABASE="$(database_url nova_cell2)"
  once cell2-queues second_cell_queues
  once cell2-database second_cell_database
  echo '"compute:servers:resize:cross_cell": "rule:project_member_or_admin"' >"$ETC/nova/policy.yaml"
  spawn nova-conductor-cell2 "$NOVA_VENV/bin/nova-conductor" --config-file "$CELL2" --log-file "$LOG/nova-conductor-cell2.log"
}

second_cell_queues() {
  local vhosts
  vhosts=$("$DEVSTACK/tools/rabbitmq" rabbitmqctl --quiet list_vhosts name)
  grep -qx cell2 <<<"$vhosts" || "$DEVSTACK/tools/rabbitmq" rabbitmqctl --quiet add_vhost cell2
  "$DEVSTACK/tools/rabbitmq" rabbitmqctl --quiet set_permissions --vhost cell2 openstack '.*' '.*' '.*'
}

# The URLs are those of its nova.conf: on a command line everybody would see their passwords.
second_cell_database() {
  local cells
  nova_manage "$CELL2" db sync --local_cell
  cells=$(nova_manage "$CELL2" cell_v2 list_cells)
  grep -q ' cell2 ' <<<"$cells" || nova_manage "$CELL2" cell_v2 create_cell --name cell2
}
