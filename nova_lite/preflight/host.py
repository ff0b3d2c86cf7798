"""The host itself: room for disks, a place in memory for secrets, and Open vSwitch."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from oslo_config import cfg

from nova_lite.engine.secrets import MEMORY, file_system
from nova_lite.inventory import disk
from nova_lite.preflight.base import Check, Finding, failure, ok, warning
from nova_lite.preflight.env import Env

LEAST_GB = 1
LOW_GB = 10
OVSDB_DEFAULT = "tcp:127.0.0.1:6640"  # os-vif's default of [os_vif_ovs]ovsdb_connection
OVSDB_S = 5.0


def _disk(env: Env) -> Finding:
    path = Path(env.conf.instances_path)
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        return failure(
            f"{existing} is not writable for this user",
            f"make {path} and give it to the user that the agent runs as",
        )
    space = disk.look(path)
    text = f"{path}: {space.free_gb} of {space.total_gb} GiB free"
    if space.available_least_gb < 0:
        text += f", {-space.available_least_gb} GiB less than promised to servers"
    if space.free_gb < LEAST_GB:
        return failure(text, DISK.remedy)
    if space.free_gb < LOW_GB or space.available_least_gb < 0:
        return warning(text, DISK.remedy)
    return ok(text)


def _secrets(env: Env) -> Finding:
    """Whether what is written to runtime_path is on no disk."""
    path = Path(env.conf.nova_lite.runtime_path)
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    kind = file_system(existing)
    if kind not in MEMORY:
        return warning(f"{path} is on {kind or 'an unknown file system'}", SECRETS.remedy)
    return ok(f"{path} is in memory ({kind})")


def _ovs(env: Env) -> Finding:
    """ovsdb-server answers and has the integration bridge."""
    where, bridge = _ovsdb_connection(env.conf), env.conf.neutron.ovs_bridge
    try:
        rows = _bridges(where)
    except (OSError, ValueError) as error:
        return failure(f"ovsdb-server at {where} does not answer: {error}", OVS.remedy)
    for row in rows:
        if row["name"] == bridge:
            datapath = row.get("datapath_type") or "system"
            return ok(f"{where} answers, {bridge} exists (datapath {datapath})")
    return failure(
        f"{where} answers, but has no bridge {bridge}",
        f"start ovn-controller or the Neutron OVS agent, which makes {bridge}, or correct "
        "[neutron]ovs_bridge",
    )


def _ovsdb_connection(conf: cfg.ConfigOpts) -> str:
    """os-vif's own option, read without loading os-vif."""
    opt = cfg.StrOpt("ovsdb_connection", default=OVSDB_DEFAULT)
    try:
        conf.register_opt(opt, group="os_vif_ovs")
    except cfg.DuplicateOptError:
        pass
    return str(conf.os_vif_ovs.ovsdb_connection)


def _bridges(where: str) -> list[dict[str, Any]]:
    """Name and datapath of each bridge, by OVSDB's JSON-RPC (RFC 7047)."""
    select = {
        "op": "select",
        "table": "Bridge",
        "where": [],
        "columns": ["name", "datapath_type"],
    }
    request = {"method": "transact", "params": ["Open_vSwitch", select], "id": 0}
    with _connect(where) as connection:
        connection.settimeout(OVSDB_S)
        connection.sendall(json.dumps(request).encode())
        answer = _receive(connection)
    result = answer.get("result") if isinstance(answer, dict) else None
    if not result or "rows" not in result[0]:
        raise ValueError(f"unexpected answer {answer}")
    return list(result[0]["rows"])


def _connect(where: str) -> socket.socket:
    """Connect to ``unix:PATH`` or ``tcp:HOST:PORT``."""
    kind, _, address = where.partition(":")
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(OVSDB_S)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection
    if kind == "tcp":
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=OVSDB_S)
    raise ValueError("only unix:PATH and tcp:HOST:PORT can be checked")


def _receive(connection: socket.socket) -> Any:
    """The first JSON value of the stream; there is no framing."""
    decoder, text = json.JSONDecoder(), ""
    while True:
        part = connection.recv(65536)
        if not part:
            raise ValueError("connection closed")
        text += part.decode()
        try:
            return decoder.raw_decode(text)[0]
        except ValueError:
            continue


DISK = Check(
    "disk space",
    _disk,
    "free space below instances_path, or point it at a larger file system",
)
SECRETS = Check(
    "secrets in memory",
    _secrets,
    "point [nova_lite]runtime_path to a tmpfs that survives a restart of the agent, such as the "
    "host's /run",
)
OVS = Check(
    "Open vSwitch",
    _ovs,
    "start ovsdb-server and ovs-vswitchd, and set [os_vif_ovs]ovsdb_connection to where it "
    "listens (unix:/run/openvswitch/db.sock)",
)
CHECKS = (DISK, SECRETS, OVS)
