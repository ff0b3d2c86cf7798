"""Set a new Ceph up: ``ceph_setup.py CONF disk UUID``, ``... wait``, ``... pools``.

Runs in the distribution's Python, which has the modules rados and rbd.
"""

import json
import sys
import time

import rados
import rbd

POOLS = ("volumes", "volumes2", "vms", "images", "backups")


def command(cluster, prefix, **arguments):
    """Ask the monitors; the answer is an object."""
    request = json.dumps({"prefix": prefix, "format": "json", **arguments})
    code, output, message = cluster.mon_command(request, b"", timeout=30)
    if code:
        sys.exit(f"ceph {prefix}: {message} ({code})")
    return json.loads(output) if output.strip() else None


def wait_until(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"gave up waiting for {what}")
        time.sleep(0.1)


def storage_is_up(cluster):
    """The OSD serves, and the manager tells how much room there is: Cinder asks for it."""
    state = command(cluster, "osd stat")
    if state["num_up_osds"] < 1 or not command(cluster, "mgr stat")["available"]:
        return False
    return command(cluster, "df")["stats"]["total_bytes"] > 0


def wait_for_storage(cluster):
    wait_until("the OSD and the manager", lambda: storage_is_up(cluster))


def make_pools(cluster):
    present = set(cluster.list_pools())
    for pool in POOLS:
        if pool not in present:
            command(cluster, "osd pool create", pool=pool, pg_num=8, pgp_num=8)
    for pool in POOLS:
        with cluster.open_ioctx(pool) as io:
            rbd.RBD().pool_init(io, True)


def main(configuration, action, *arguments):
    with rados.Rados(conffile=configuration, rados_id="admin") as cluster:
        if action == "disk":
            command(cluster, "osd new", uuid=arguments[0])
        elif action == "wait":
            wait_for_storage(cluster)
        elif action == "pools":
            make_pools(cluster)
        else:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
