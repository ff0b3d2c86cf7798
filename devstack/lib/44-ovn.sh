# OVN's central part: northbound and southbound database, northd.
# shellcheck shell=bash

describe_step ovn "OVN central" \
  "is a packaged OVN running (systemctl stop ovn-central)? See $LOG/ovn-*.log"

step_ovn() {
  mkdir -p "$DATA/ovn" "$RUN/ovn"
  start_ovn_database nb "$OVN_NB_PORT"
  start_ovn_database sb "$OVN_SB_PORT"
  ovn-nbctl --db="unix:$RUN/ovn/nb.sock" init
  spawn ovn-northd ovn-northd --ovnnb-db="unix:$RUN/ovn/nb.sock" --ovnsb-db="unix:$RUN/ovn/sb.sock" \
    --unixctl="$RUN/ovn/northd.ctl" --log-file="$LOG/ovn-northd.log"
}

start_ovn_database() {
  local name=$1 port=$2 file=$DATA/ovn/$1.db
  [[ -f $file ]] || ovsdb-tool create "$file" "/usr/share/ovn/ovn-$name.ovsschema"
  spawn_server "ovn-$name" "$port" ovsdb-server "$file" --remote="punix:$RUN/ovn/$name.sock" \
    --remote="ptcp:$port:127.0.0.1" --unixctl="$RUN/ovn/$name.ctl" --log-file="$LOG/ovn-$name.log"
}

chassis_registered() {
  ovn-sbctl --db="unix:$RUN/ovn/sb.sock" --bare --columns=name find Chassis_Private "name=$1" | grep -q .
}
