# MariaDB, RabbitMQ, memcached, and Ceph beside them: the distribution's programs, our own instances on 127.0.0.1.
# shellcheck shell=bash

describe_step base "MariaDB, RabbitMQ, memcached, Ceph" \
  "is another one of them running? Stop it: ours need ports $MYSQL_PORT, $RABBIT_PORT, $MEMCACHED_PORT, $CEPH_MON_PORT; see $LOG/ceph-*.log"

DATABASES="keystone placement glance nova_api nova_cell0 nova_cell1 neutron cinder"

step_base() {
  # RabbitMQ and Ceph take longest to start and need nobody; the others start meanwhile.
  local rabbitmq ceph
  start_rabbitmq &
  rabbitmq=$!
  start_ceph &
  ceph=$!
  start_mariadb
  create_databases
  spawn_server memcached "$MEMCACHED_PORT" \
    memcached -u memcache -l 127.0.0.1 -p "$MEMCACHED_PORT" -m 128 -c 4096
  wait "$rabbitmq"
  wait "$ceph"
}

# --- MariaDB -----------------------------------------------------------------------------

start_mariadb() {
  alive mariadb && return 0
  render mariadb.cnf "$ETC/mariadb.cnf"
  install -d -o mysql "$DATA/mysql" "$RUN/mariadb"
  install -o mysql /dev/null "$LOG/mariadb.log"
  once mariadb-installed mariadb-install-db --defaults-file="$ETC/mariadb.cnf" --user=mysql \
    --auth-root-authentication-method=normal
  spawn_server mariadb "$MYSQL_PORT" mariadbd --defaults-file="$ETC/mariadb.cnf"
  once mariadb-password set_database_password
}

# mariadb-install-db leaves root@127.0.0.1 without a password.
set_database_password() {
  mariadb --user=root --socket="$RUN/mariadb/socket" <<SQL
create or replace user root@'127.0.0.1' identified by '$DATABASE_PASSWORD';
grant all on *.* to root@'127.0.0.1' with grant option;
alter user root@localhost identified by '$DATABASE_PASSWORD';
flush privileges;
SQL
}

# The password goes through the environment: a command line is visible to everybody.
sql() { MYSQL_PWD=$DATABASE_PASSWORD mariadb --user=root --host=127.0.0.1 --port="$MYSQL_PORT" --skip-column-names; }

create_databases() {
  local database
  for database in $DATABASES; do
    echo "create database if not exists $database character set utf8mb4 collate utf8mb4_general_ci;"
  done | sql
}

# --- RabbitMQ ----------------------------------------------------------------------------

# Programs of RabbitMQ need a dozen settings and their own user: tools/rabbitmq knows them.
export STATE RABBIT_PORT RABBIT_DIST_PORT EPMD_PORT

start_rabbitmq() {
  local home=$DATA/rabbitmq
  if ! alive rabbitmq; then
    install -d -o rabbitmq -m 750 "$home" "$home/mnesia" "$LOG/rabbitmq"
    [[ -s $home/.erlang.cookie ]] || random_hex >"$home/.erlang.cookie"
    echo '[rabbitmq_management].' >"$home/enabled_plugins"
    render rabbitmq.conf "$home/rabbitmq.conf"
    chown rabbitmq "$home/.erlang.cookie" "$home/enabled_plugins" "$home/rabbitmq.conf"
    chmod 400 "$home/.erlang.cookie"
  fi
  spawn_server rabbitmq "$RABBIT_PORT" "$DEVSTACK/tools/rabbitmq" rabbitmq-server
  "$DEVSTACK/tools/rabbitmq" rabbitmqctl await_startup
  # The pid so far is that of a shell around the Erlang VM; it is the VM that holds the port.
  record_pid rabbitmq "$(cat "$home/pid")"
}

stop_rabbitmq() {
  if alive rabbitmq; then
    timeout 40 "$DEVSTACK/tools/rabbitmq" rabbitmqctl shutdown >/dev/null 2>&1 || true
    stop rabbitmq 10
  fi
  # Erlang's port mapper outlives the node that started it.
  ERL_EPMD_PORT=$EPMD_PORT epmd -kill >/dev/null 2>&1 || true
}
