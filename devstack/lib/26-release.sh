# Which release Nova is of. Its databases belong to one: another one upgrades or empties them, and does
# neither unless it is told to.
# shellcheck shell=bash

describe_step release "Nova's release: $NOVA_RELEASE" \
  "is pypi.org reachable? A failed upgrade may be repeated: $CLOUD up --upgrade. To begin anew: $CLOUD up --wipe-nova"

# From which releases Nova can be upgraded in place: the one before and, between those of spring, the
# one before that (SLURP).
declare -A UPGRADES_FROM=([2025.2]="2025.1" [2026.1]="2025.2 2025.1" [2026.2]="2026.1")

require_release() {
  [[ " $NOVA_RELEASES " == *" $NOVA_RELEASE "* ]] ||
    die "NOVA_RELEASE is '$NOVA_RELEASE'; it can be one of $NOVA_RELEASES"
}

# The release of Nova's databases; nothing where there are none.
database_release() {
  if [[ -s $RELEASE_RECORD ]]; then
    cat "$RELEASE_RECORD"
  elif [[ -e $DATA/done/nova-database ]]; then
    echo 2026.2 # made when there was no other
  fi
}

record_release() {
  echo "$1" >"$RELEASE_RECORD.new"
  mv "$RELEASE_RECORD.new" "$RELEASE_RECORD"
}

# What is to be done about the databases: nothing (none), upgrade, or wipe.
release_change() {
  local present
  present=$(database_release)
  if [[ -z $present || $present == "$NOVA_RELEASE" ]]; then
    echo none
    return
  fi
  case ${NOVA_CHANGE:-} in
    wipe) echo wipe ;;
    upgrade)
      [[ " ${UPGRADES_FROM[$NOVA_RELEASE]:-} " == *" $present "* ]] ||
        die "Nova cannot be upgraded from $present to $NOVA_RELEASE, only from: ${UPGRADES_FROM[$NOVA_RELEASE]:-nothing here}"
      echo upgrade
      ;;
    *) refuse_change "$present" ;;
  esac
}

refuse_change() {
  local keep=""
  if [[ " ${UPGRADES_FROM[$NOVA_RELEASE]:-} " == *" $1 "* ]]; then
    keep="
  NOVA_RELEASE=$NOVA_RELEASE $CLOUD up --upgrade     keeps everything"
  fi
  die "Nova's databases in $STATE are of $1, and this is to be $NOVA_RELEASE. Nothing was changed. Either$keep
  NOVA_RELEASE=$NOVA_RELEASE $CLOUD up --wipe-nova   empties them: all servers are lost, and the files of all hosts
  NOVA_RELEASE=$1 $CLOUD up                 goes on with $1"
}

# Before anything is touched, and where everybody can read it: the steps write to their logs.
announce_release() {
  local change
  change=$(release_change)
  case $change in
    wipe)
      say "Nova's databases are of $(database_release). They are EMPTIED for $NOVA_RELEASE: all servers are lost,"
      say "and so are the files of all hosts; volumes and images stay"
      ;;
    upgrade)
      say "Nova's databases are upgraded from $(database_release) to $NOVA_RELEASE; agents and servers run on"
      ;;
  esac
}

step_release() {
  local change
  change=$(release_change)
  install_release
  case $change in
    none) result "$NOVA_RELEASE" ;;
    wipe) empty_nova "$(database_release)" ;;
    upgrade) upgrade_nova "$(database_release)" ;;
  esac
}

# That of the newest release was made with everything else (step python).
install_release() {
  [[ $NOVA_VENV != "$VENV" ]] || return 0
  own_venv "Nova $NOVA_RELEASE" "$NOVA_VENV" "$DEVSTACK/releases/$NOVA_RELEASE.txt" stop_old_nova
  link_ceph_modules "$NOVA_VENV"
}

# Before its environment is made anew.
stop_old_nova() { [[ ! -d $NOVA_VENV ]] || stop_nova; }

# Its control services; agents go on. Some take minutes to end by themselves.
stop_nova() { stop_services 'nova-*'; }

# What runs Nova's databases must be of their release.
require_database_release() {
  local present
  present=$(database_release)
  [[ -z $present || $present == "$NOVA_RELEASE" ]] || refuse_change "$present"
}

nova_manage() { # nova_manage CONFIGURATION ARGUMENT...
  "$NOVA_VENV/bin/nova-manage" --config-file "$1" "${@:2}"
}

# --- upgrading ---------------------------------------------------------------------------

upgrade_nova() { # upgrade_nova RELEASE-SO-FAR
  stop_nova
  record_release "$1"
  nova_manage "$ETC/nova/nova.conf" api_db sync
  nova_manage "$ETC/nova/nova.conf" db sync
  nova_manage "$ETC/nova/nova.conf" db online_data_migrations
  if [[ -s $CELL2 ]]; then
    nova_manage "$CELL2" db sync --local_cell
    nova_manage "$CELL2" db online_data_migrations
  fi
  record_release "$NOVA_RELEASE"
  result "upgraded from $1; a stock agent is of $1 until '$CLOUD agent NODE restart'"
}

# --- emptying ----------------------------------------------------------------------------

# The old release stays on record until all is empty: who is interrupted is asked again.
empty_nova() { # empty_nova RELEASE-SO-FAR
  local node
  record_release "$1"
  touch "$DATA/nova-emptied"
  stop_hosts
  stop_nova
  rm -f "$DATA/done/nova-database" "$DATA/done/cell2-database"
  for node in $(known_nodes); do empty_host "$node"; done
  drop_nova_databases
  create_databases
  rm -f "$RELEASE_RECORD"
  result "$1, emptied for $NOVA_RELEASE"
}

# As new, except for who it is: its resource provider in Placement is known by compute_id.
empty_host() {
  local home=$HOSTS/$1
  find "$home" -mindepth 1 -maxdepth 1 ! -name agent ! -name uuid ! -name nova -exec rm -rf {} +
  [[ ! -d $home/nova ]] || find "$home/nova" -mindepth 1 ! -path "$home/nova/compute_id" -delete
}

drop_nova_databases() {
  local database
  {
    for database in nova_api nova_cell0 nova_cell1 nova_cell2; do
      echo "drop database if exists $database;"
    done
    # Placement stays, but for what servers have taken.
    [[ ! -e $DATA/done/placement-database ]] ||
      echo "delete from placement.allocations; delete from placement.consumers;"
  } | sql
}
