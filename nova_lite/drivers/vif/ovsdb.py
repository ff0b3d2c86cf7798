"""Open vSwitch as its database describes it, asked directly (RFC 7047).

os-vif waits ``[os_vif_ovs]ovs_vsctl_timeout`` for a switch that is dead, and has no call that tells
which ports a server has. Nothing here changes a port.
"""

from __future__ import annotations

import codecs
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from nova_lite.errors import SwitchUnavailable

DEFAULT = "tcp:127.0.0.1:6640"  # os-vif's default of [os_vif_ovs]ovsdb_connection
OPTION = cfg.StrOpt("ovsdb_connection", default=DEFAULT)
REMEDY = (
    "start ovsdb-server and ovs-vswitchd, and set [os_vif_ovs]ovsdb_connection to where it "
    "listens (unix:/run/openvswitch/db.sock)"
)
RUNDIR = Path("/run/openvswitch")
ANSWER_S = 5.0  # seconds that ovsdb-server, and ovs-vswitchd, have for an answer
CONTROL_S = 2.0  # seconds that ovs-vswitchd has to answer on its control socket
POLL_S = 0.05
SHOWN = 200  # characters of an answer that is not understood
SERVER_ID = "vm-uuid"  # what os-vif writes into external_ids of the ports that it makes


@dataclass(frozen=True)
class OvsPort:
    """A port that os-vif made for a server: its name and bridge in the switch, the ids of server
    and Neutron port, and the guest's MAC address."""

    name: str
    bridge: str
    server_uuid: str
    port_id: str
    mac: str


def connection_of(conf: Any) -> str:
    """Where ovsdb-server listens: os-vif's own option, read without loading os-vif."""
    try:
        conf.register_opt(OPTION, group="os_vif_ovs")
    except cfg.DuplicateOptError:
        pass
    return str(conf.os_vif_ovs.ovsdb_connection)


class Ovsdb:
    """The switch whose ovsdb-server listens at ``where``: ``unix:PATH`` or ``tcp:HOST:PORT``.

    Every method may raise SwitchUnavailable. Safe to share between threads.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    @property
    def askable(self) -> bool:
        """Whether this module can ask it; os-vif can be told other ways (ssl:)."""
        return self.where.startswith(("unix:", "tcp:"))

    def bridges(self) -> dict[str, str]:
        """The type of datapath of each bridge, by name."""
        (rows,) = self._transact(_select("Bridge", "name", "datapath_type"))
        return {str(row["name"]): str(row.get("datapath_type") or "system") for row in rows}

    def check(self) -> None:
        """Return when ovsdb-server and ovs-vswitchd answer.

        A switch without a control socket that answers is given a new configuration number, as
        ovs-vsctl does: ovs-vswitchd copies it when it has carried everything out.
        """
        columns = ("next_cfg", "cur_cfg", "external_ids")
        (rows,) = self._transact(_select("Open_vSwitch", *columns))
        ids = _map(rows[0].get("external_ids")) if rows else {}
        if any(map(_obeys, self._control_sockets(ids.get("rundir")))):
            return
        self._raise_number()

    def ports(self, server_uuid: str | None = None) -> list[OvsPort]:
        """The ports that os-vif made: for one server, or for all."""
        interfaces, ports, bridges = self._transact(
            _select(
                "Interface", "_uuid", "name", "external_ids",
                where=[["external_ids", "includes", _as_map({SERVER_ID: server_uuid})]]
                if server_uuid
                else [],
            ),
            _select("Port", "_uuid", "interfaces"),
            _select("Bridge", "name", "ports"),
        )  # fmt: skip
        bridge_of = {port: str(row["name"]) for row in bridges for port in _uuids(row["ports"])}
        port_of = {
            interface: row["_uuid"][1] for row in ports for interface in _uuids(row["interfaces"])
        }
        found = []
        for row in interfaces:
            ids = _map(row["external_ids"])
            bridge = bridge_of.get(port_of.get(row["_uuid"][1], ""))
            if bridge is not None and ids.get(SERVER_ID) and ids.get("iface-id"):
                found.append(
                    OvsPort(
                        str(row["name"]),
                        bridge,
                        ids[SERVER_ID],
                        ids["iface-id"],
                        ids.get("attached-mac", ""),
                    )
                )
        return found

    # --- is ovs-vswitchd alive --------------------------------------------------------------
    def _control_sockets(self, rundir: str | None) -> Iterator[Path]:
        kind, _, path = self.where.partition(":")
        # OVSDB by TCP is this host's: its daemons are where they usually are.
        folders = {Path(path).parent if kind == "unix" else RUNDIR}
        if rundir:
            folders.add(Path(rundir))
        for folder in sorted(folders):
            yield from sorted(folder.glob("ovs-vswitchd.*.ctl"))

    def _raise_number(self) -> None:
        """:raises SwitchUnavailable: ovs-vswitchd does not take it over"""
        _, rows = self._transact(
            {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["next_cfg", "+=", 1]],
            },
            _select("Open_vSwitch", "next_cfg"),
        )
        wanted, deadline = int(rows[0]["next_cfg"]) if rows else 0, time.monotonic() + ANSWER_S
        while True:
            (rows,) = self._transact(_select("Open_vSwitch", "cur_cfg"))
            if rows and int(rows[0]["cur_cfg"]) >= wanted:
                return
            if time.monotonic() > deadline:
                raise SwitchUnavailable(
                    f"ovs-vswitchd does not answer, though ovsdb-server at {self.where} does: is "
                    "it started?"
                )
            time.sleep(POLL_S)

    # --- RFC 7047 ---------------------------------------------------------------------------
    def _transact(self, *operations: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """The rows that each operation returned."""
        request = {"method": "transact", "params": ["Open_vSwitch", *operations], "id": 0}
        try:
            answer = _ask(self.where, request, ANSWER_S)
            found = answer.get("result") if isinstance(answer, dict) else None
            if not isinstance(found, list) or len(found) < len(operations):
                raise ValueError(f"unexpected answer {str(answer)[:SHOWN]}")
            if refused := [item for item in found if not item or "error" in item]:
                raise ValueError(f"it refuses: {str(refused)[:SHOWN]}")
        except (OSError, ValueError) as error:
            raise SwitchUnavailable(
                f"ovsdb-server at {self.where} does not answer ({error}): is it started?"
            ) from error
        return [item.get("rows", []) for item in found[: len(operations)]]


def _obeys(control: Path) -> bool:
    """Whether a daemon answers on its control socket."""
    try:
        _ask(f"unix:{control}", {"method": "version", "params": [], "id": 0}, CONTROL_S)
    except (OSError, ValueError):
        return False
    return True


def _ask(where: str, request: dict[str, Any], timeout: float) -> Any:
    with _connect(where, timeout) as connection:
        connection.settimeout(timeout)
        connection.sendall(json.dumps(request).encode())
        return _receive(connection)


def _connect(where: str, timeout: float) -> socket.socket:
    """Connect to ``unix:PATH`` or ``tcp:HOST:PORT``."""
    kind, _, address = where.partition(":")
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection
    if kind == "tcp":
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
    raise ValueError("only unix:PATH and tcp:HOST:PORT can be asked")


def _receive(connection: socket.socket) -> Any:
    """The first JSON value of the stream; there is no framing."""
    decoder, text = json.JSONDecoder(), ""
    characters = codecs.getincrementaldecoder("utf-8")()
    while True:
        part = connection.recv(1 << 20)
        if not part:
            raise ValueError("connection closed")
        text += characters.decode(part)
        try:
            return decoder.raw_decode(text)[0]
        except ValueError:
            continue


def _select(table: str, *columns: str, where: list[Any] | None = None) -> dict[str, Any]:
    return {"op": "select", "table": table, "where": where or [], "columns": list(columns)}


def _map(value: Any) -> dict[str, str]:
    """A column of OVSDB that is a map."""
    return {str(key): str(item) for key, item in value[1]} if value else {}


def _as_map(value: dict[str, str | None]) -> list[Any]:
    return ["map", [[key, item] for key, item in value.items()]]


def _uuids(value: Any) -> list[str]:
    """A column of OVSDB that refers to other rows: one of them, or a set."""
    kind, content = value
    return [content] if kind == "uuid" else [item[1] for item in content]
