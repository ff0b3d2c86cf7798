"""An ovsdb-server and an ovs-vswitchd, as far as they are asked directly (RFC 7047)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5


def _map(**items: str) -> list[Any]:
    return ["map", [[key, value] for key, value in items.items()]]


class _Listener:
    """Answers each connection's one request."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], bytes]) -> None:
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                said = self._answer(json.loads(client.recv(65536)))
                # In pieces, as it may come over a network.
                client.sendall(said[:10])
                client.sendall(said[10:])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class FakeOvs:
    """The daemons of a switch below ``folder``; ``where`` is what nova.conf would say.

    ``control``: ovs-vswitchd has a control socket, on which it answers as long as it lives.
    ``obeys`` false: it does not carry anything out any more. ``said`` is what the database says
    instead of an answer.
    """

    def __init__(self, folder: Path, *, control: bool = False) -> None:
        self.where = f"unix:{folder}/db.sock"
        self.obeys, self.said = True, b""
        self.asked: list[str] = []
        self.tables: dict[str, list[dict[str, Any]]] = {
            "Open_vSwitch": [{"next_cfg": 7, "cur_cfg": 7, "external_ids": _map()}],
            "Bridge": [], "Port": [], "Interface": [],
        }  # fmt: skip
        self._listeners = [_Listener(folder / "db.sock", self._database)]
        if control:
            self._listeners.append(_Listener(folder / "ovs-vswitchd.42.ctl", self._version))

    def bridge(self, name: str) -> None:
        self.tables["Bridge"].append(
            {"name": name, "datapath_type": "netdev", "ports": ["set", []]}
        )

    def port(self, bridge: str, name: str, **ids: str) -> None:
        """A port with one interface and its external_ids (``_`` for ``-``)."""
        interface, port = (str(uuid5(NAMESPACE_OID, kind + name)) for kind in "ip")
        external = _map(**{key.replace("_", "-"): value for key, value in ids.items()})
        self.tables["Interface"].append(
            {"_uuid": ["uuid", interface], "name": name, "external_ids": external}
        )
        self.tables["Port"].append(
            {"_uuid": ["uuid", port], "interfaces": ["uuid", interface]}
        )
        row = next(row for row in self.tables["Bridge"] if row["name"] == bridge)
        row["ports"] = ["set", [*row["ports"][1], ["uuid", port]]]

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _version(self, request: dict[str, Any]) -> bytes:
        self.asked.append(request["method"])
        return json.dumps({"id": request["id"], "error": None, "result": "3.1.0"}).encode()

    def _database(self, request: dict[str, Any]) -> bytes:
        assert request["method"] == "transact"
        if self.said:
            return self.said
        schema, *operations = request["params"]
        assert schema == "Open_vSwitch"
        result = [self._operation(operation) for operation in operations]
        return json.dumps({"id": request["id"], "error": None, "result": result}).encode()

    def _operation(self, operation: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(f"{operation['op']} {operation['table']}")
        rows = self.tables[operation["table"]]
        if operation["op"] == "mutate":
            ((column, operator, value),) = operation["mutations"]
            assert (column, operator, value) == ("next_cfg", "+=", 1)
            rows[0]["next_cfg"] += 1
            if self.obeys:
                rows[0]["cur_cfg"] = rows[0]["next_cfg"]
            return {"count": 1}
        for column, function, wanted in operation["where"]:
            assert function == "includes"
            rows = [row for row in rows if all(pair in row[column][1] for pair in wanted[1])]
        return {"rows": [{name: row[name] for name in operation["columns"]} for row in rows]}
