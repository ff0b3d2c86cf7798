"""A Cinder with the real one's states of volumes and attachments.

``CinderRules`` answers requests out of a store, ``FakeCinder`` puts it behind an ``HttpCloud``, and
``local_cinder`` is a client whose calls are answered out of a ``Ledger`` that outlives a killed
agent. ``tests/contract/volume_service.py`` holds it to a real Cinder.

Its volumes are files; a GiB of them is a MiB, so that they can be copied.
"""

from __future__ import annotations

import ast
import json
import uuid
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

from nova_lite.clients.cinder import Cinder
from tests.fakes.http_cloud import Call, HttpCloud, Reply

SCALE = 1024**2  # bytes of a file per GiB of its volume
# An attachment's status -> what it makes of its volume.
VOLUME_STATUS = {"attached": "in-use", "detached": "available"}
DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")


class Refusal(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


def bad(message):
    return Refusal(400, message)


class CinderRules:
    """Answers requests.

    :param store: opens the state: ``volumes``, ``attachments``, ``snapshots``, ``calls``
    :param files: directory of the volumes' bytes, None for none

    In the state, tests may set ``fail`` ({"PUT attachments": HTTP status} ...) and ``creation``
    (status in which new volumes stay); a volume's ``connection`` is added to what connects to it.
    """

    def __init__(self, store, files: Path | None = None):
        self._store, self._files = store, files

    def handle(self, call: Call) -> Reply:
        """Serve one request; its path begins with the version."""
        path = call.path.removeprefix("/v3/").split("/")
        kind = f"{call.method} {path[0]}"
        if isinstance(call.body, dict) and path[-1] == "action":
            kind = next(iter(call.body))
        with self._store() as state:
            for name in ("volumes", "attachments", "snapshots"):
                state.setdefault(name, {})
            state.setdefault("calls", []).append(kind)
            try:
                if status := state.get("fail", {}).get(kind):
                    raise Refusal(status, f"{kind} was made to fail")
                return self._serve(state, call, path)
            except Refusal as refusal:
                body = {"error": {"code": refusal.status, "message": refusal.message}}
                return Reply(refusal.status, body)

    def _serve(self, state, call, path):
        resource, name, rest = path[0], path[1] if len(path) > 1 else None, path[2:]
        if rest == ["action"]:
            action, arguments = next(iter(call.body.items()))
            self._row(state, resource, name)
            method = getattr(self, action.replace("os-", "act_", 1))
            return method(state, state[resource][name], arguments or {}) or Reply(202)
        if rest == ["encryption"]:
            return Reply(200, self._row(state, resource, name).get("encryption", {
                "encryption_key_id": None}))  # fmt: skip
        method = getattr(self, f"{call.method.lower()}_{resource}")
        return method(state, call, name)

    @staticmethod
    def _row(state, resource, name):
        row = state[resource].get(name)
        if row is None:
            raise Refusal(404, f"{resource} {name} could not be found.")
        return row

    # --- volumes ----------------------------------------------------------------------------
    def get_volumes(self, state, call, name):
        if name != "detail":
            return Reply(200, {"volume": self._view(state, self._row(state, "volumes", name))})
        wanted = ast.literal_eval(call.query.get("metadata", ["{}"])[0])
        rows = [
            self._view(state, row)
            for row in state["volumes"].values()
            if wanted.items() <= row["metadata"].items()
        ]
        return Reply(200, {"volumes": rows})

    def post_volumes(self, state, call, name):
        asked = call.body["volume"]
        if "quota" in state and len(state["volumes"]) >= state["quota"]:
            raise Refusal(413, "VolumeLimitExceeded: Maximum number of volumes allowed exceeded")
        source = asked.get("snapshot_id")
        if source:
            self._row(state, "snapshots", source)
        volume_id = str(uuid.uuid4())
        image = asked.get("imageRef")
        row = {
            "id": volume_id,
            "status": state.get("creation", "available"),
            "attach_status": "detached",
            "size": int(asked["size"]),
            "name": asked.get("name"),
            "description": asked.get("description"),
            "volume_type": asked.get("volume_type") or "lite",
            "availability_zone": asked.get("availability_zone") or "nova",
            "snapshot_id": source,
            "metadata": asked.get("metadata") or {},
            "multiattach": bool(asked.get("multiattach")),
            "bootable": "true" if image else "false",
            "migration_status": None,
        }
        if image:
            row["volume_image_metadata"] = {"image_id": image}
        state["volumes"][volume_id] = row
        if self._files:
            self._files.mkdir(exist_ok=True)
            with open(self.file(volume_id), "wb") as file:
                file.truncate(row["size"] * SCALE)
        return Reply(202, {"volume": {**self._view(state, row), "status": "creating"}})

    def delete_volumes(self, state, call, name):
        row = self._row(state, "volumes", name)
        if row["status"] not in DELETABLE or row["migration_status"] or self._of(state, name):
            raise bad(
                "Invalid volume: Volume status must be available or error ... and must not be "
                "migrating, attached, belong to a group, have snapshots ..."
            )
        if any(snapshot["volume_id"] == name for snapshot in state["snapshots"].values()):
            raise bad("Invalid volume: Volume still has dependent snapshots")
        del state["volumes"][name]
        if self._files:
            self.file(name).unlink(missing_ok=True)
        return Reply(202)

    def file(self, volume_id):
        """Where a volume's bytes are."""
        return self._files / str(volume_id)

    def act_begin_detaching(self, state, row, arguments):
        if (row["status"], row["attach_status"]) != ("in-use", "attached"):
            raise bad(
                "Invalid volume: Unable to detach volume. Volume status must be 'in-use' and "
                "attach_status must be 'attached' to detach."
            )
        row["status"] = "detaching"

    def act_roll_detaching(self, state, row, arguments):
        if row["status"] == "detaching":
            row["status"] = "in-use"

    def act_extend(self, state, row, arguments):
        if row["status"] not in ("available", "in-use"):
            raise bad("Invalid volume: status must be available or in-use to extend")
        if arguments["new_size"] <= row["size"]:
            raise bad("Invalid input received: New size for extend must be greater")
        row["size"] = arguments["new_size"]
        if self._files:
            with open(self.file(row["id"]), "r+b") as file:
                file.truncate(row["size"] * SCALE)

    def act_extend_volume_completion(self, state, row, arguments):
        if row["status"] != "extending":
            raise bad("Invalid volume: status must be extending")
        row["status"] = "error_extending" if arguments.get("error") else "in-use"

    def act_reset_status(self, state, row, arguments):
        row.update(arguments)

    def act_reimage(self, state, row, arguments):
        allowed = ("available", "error") + ("reserved",) * bool(arguments.get("reimage_reserved"))
        if len(self._of(state, row["id"])) > 1:
            raise Refusal(
                409, "Cannot re-image a volume which is attached to more than one server."
            )
        if row["status"] not in allowed:
            raise bad(f"Invalid volume: status must be one of {allowed}")
        row["volume_image_metadata"] = {"image_id": arguments["image_id"]}

    def act_migrate_volume_completion(self, state, row, arguments):
        """The old volume takes over what the new one is, unless the move has failed."""
        other = self._row(state, "volumes", arguments["new_volume"])
        if not (row["migration_status"] or other["migration_status"]):
            if row["status"] != "retyping":
                raise bad("Invalid volume: not migrating")
            return Reply(200, {"save_volume_id": other["id"]})
        row["migration_status"] = "error" if arguments.get("error") else "success"
        if arguments.get("error"):
            self._forget(state, other["id"])
        else:
            self._take_over(state, row, other)
        row["status"] = "in-use" if self._of(state, row["id"]) else "available"
        return Reply(200, {"save_volume_id": row["id"]})

    def _take_over(self, state, row, other):
        """The other one's storage, which keeps its name, and its attachments."""
        for attachment in self._of(state, other["id"]):
            attachment["volume_id"] = row["id"]
        del state["volumes"][other["id"]]
        row["connection"] = {**row.get("connection", {}), "name": other["id"]}
        row["attach_status"] = other["attach_status"]
        if self._files:
            self.file(row["id"]).unlink(missing_ok=True)

    def _forget(self, state, volume_id):
        for attachment in self._of(state, volume_id):
            del state["attachments"][attachment["id"]]
        del state["volumes"][volume_id]
        if self._files:
            self.file(volume_id).unlink(missing_ok=True)

    def _view(self, state, row):
        hidden = ("connection", "encryption", "attach_status")
        return {
            **{name: value for name, value in row.items() if name not in hidden},
            "shared_targets": False,
            "service_uuid": None,
            "encrypted": "encryption" in row,
            "attachments": [
                {
                    "id": row["id"],
                    "volume_id": row["id"],
                    "attachment_id": attachment["id"],
                    "server_id": attachment["instance"],
                    "device": attachment["mountpoint"],
                }
                for attachment in self._of(state, row["id"])
                if attachment["status"] == "attached"
            ],
        }

    # --- snapshots --------------------------------------------------------------------------
    def get_snapshots(self, state, call, name):
        return Reply(200, {"snapshot": self._row(state, "snapshots", name)})

    def act_update_snapshot_status(self, state, row, arguments):
        allowed = {
            "creating": ("creating", "available", "error"),
            "deleting": ("deleting", "error_deleting"),
        }
        if arguments["status"] not in allowed.get(row["status"], ()):
            raise bad(f"Snapshot status {row['status']} not allowed for update_snapshot_status")
        row.update(status=arguments["status"], progress=arguments.get("progress"))

    # --- attachments ------------------------------------------------------------------------
    def get_attachments(self, state, call, name):
        if name:
            row = self._row(state, "attachments", name)
            return Reply(200, {"attachment": self._detail(row)})
        wanted = {key: values[0] for key, values in call.query.items()}
        wanted["instance"] = wanted.pop("instance_id", None)
        wanted.pop("all_tenants", None)
        found = [
            {key: row[key] for key in ("id", "status", "instance", "volume_id")}
            for row in state["attachments"].values()
            if all(value is None or row[key] == value for key, value in wanted.items())
        ]
        return Reply(200, {"attachments": found})

    def post_attachments(self, state, call, name):
        asked = call.body["attachment"]
        volume = self._row(state, "volumes", asked["volume_uuid"])
        if "error" in volume["status"]:
            raise bad(
                "Invalid volume: Volume attachments can not be created if the volume is in an "
                "error state."
            )
        self._reserve(state, volume, asked["instance_uuid"])
        row = {
            "id": str(uuid.uuid4()),
            "status": "reserved",
            "instance": asked["instance_uuid"],
            "volume_id": volume["id"],
            "mountpoint": None,
            "connector": None,
            "connection_info": {},
        }
        state["attachments"][row["id"]] = row
        if asked.get("connector"):
            self._connect(state, row, volume, asked["connector"])
        return Reply(200, {"attachment": self._detail(row)})

    def _reserve(self, state, volume, server):
        allowed = ("available", "downloading") + ("in-use",) * volume["multiattach"]
        if volume["status"] in allowed:
            volume["status"] = "reserved"
            return
        again = any(other["instance"] == server for other in self._of(state, volume["id"]))
        if not (again and volume["status"] in ("in-use", "reserved")):
            raise bad(
                f"Invalid volume: Volume {volume['id']} status must be {' or '.join(allowed)} to "
                f"reserve, but the current status is {volume['status']}."
            )

    def put_attachments(self, state, call, name):
        row = self._row(state, "attachments", name)
        volume = self._row(state, "volumes", row["volume_id"])
        if "error" in volume["status"]:
            raise Refusal(409, "ResourceConflict: the volume is in an error state")
        others = self._of(state, volume["id"])
        if (
            len(others) > 1
            and not volume["multiattach"]
            and any(other["connection_info"] for other in others)
        ):
            raise Refusal(409, f"duplicate connectors detected on volume {volume['id']}")
        self._connect(state, row, volume, call.body["attachment"]["connector"])
        return Reply(200, {"attachment": self._detail(row)})

    def _connect(self, state, row, volume, connector):
        row.update(
            status="attaching",
            connector=connector,
            mountpoint=connector.get("mountpoint", "na"),
            connection_info={
                "driver_volume_type": "file",
                "access_mode": "rw",
                "encrypted": "encryption" in volume,
                "qos_specs": None,
                "discard": False,
                "attachment_id": row["id"],
                "enforce_multipath": False,
                **volume.get("connection", {}),
            },
        )
        volume.update(status="attaching", attach_status="attaching")

    def act_complete(self, state, row, arguments):
        row["status"] = "attached"
        state["volumes"][row["volume_id"]].update(status="in-use", attach_status="attached")
        return Reply(204)

    def delete_attachments(self, state, call, name):
        row = self._row(state, "attachments", name)
        if row["connection_info"] and "X-Service-Token" not in call.headers:
            raise Refusal(409, "Detach volume using the Compute API, the volume is used by Nova")
        del state["attachments"][name]
        volume = state["volumes"][row["volume_id"]]
        left = self._of(state, volume["id"])
        status = min((other["status"] for other in left), default="detached")
        volume.update(attach_status=status, status=VOLUME_STATUS.get(status, status))
        remaining = [
            {key: other[key] for key in ("id", "status", "instance", "volume_id")} for other in left
        ]
        return Reply(200, {"attachments": remaining})

    @staticmethod
    def _detail(row):
        hidden = ("mountpoint", "connector")
        shown = {name: value for name, value in row.items() if name not in hidden}
        return {**shown, "attached_at": "", "detached_at": "", "attach_mode": "null"}

    @staticmethod
    def _of(state, volume_id):
        return [row for row in state["attachments"].values() if row["volume_id"] == volume_id]


class FakeCinder:
    """The rules behind an HttpCloud, in memory: ``state``, and ``before`` as FakeNeutron's."""

    def __init__(self, cloud: HttpCloud, files: Path | None = None):
        self.cloud, self.state, self.before = cloud, {}, []

        @contextmanager
        def store():
            yield self.state

        self.rules = CinderRules(store, files)
        cloud.services["volume"] = ("block-storage", self._serve)

    def _serve(self, call: Call) -> Reply:
        for step in self.before:
            reply = step(call)
            if reply is not None:
                return reply
        return self.rules.handle(call)


def ledger_rules(ledger) -> CinderRules:
    """The rules on a ``tests.fakes.cloud.Ledger``, with the volumes' files beside it."""

    @contextmanager
    def store():
        with ledger.open() as content:
            yield content.setdefault("cinder", {})

    return CinderRules(store, ledger.path.parent / "volumes")


def local_cinder(ledger) -> Cinder:
    """The real client, its requests answered out of the ledger."""
    options = SimpleNamespace(
        catalog_info="volumev3::public", endpoint_template=None, os_region_name=None, debug=False
    )
    return Cinder(_LocalSessions(ledger_rules(ledger)), SimpleNamespace(cinder=options))


class _LocalSessions:
    def __init__(self, rules):
        self._rules = rules

    def user(self, group, service_type, context, *, fall_back=True):
        return _LocalAdapter(self._rules)


class _LocalAdapter:
    def __init__(self, rules):
        self._rules = rules

    def get_endpoint(self, skip_discovery):
        return "http://cinder/v3"

    def request(self, url, method, *, headers, json=None, params=None, **_retries):
        query = {name: [value] for name, value in (params or {}).items()}
        path = urlsplit(url).path
        reply = self._rules.handle(
            Call(method, path, query, {**headers, "X-Service-Token": "t"}, json)
        )
        return _Answer(reply)


class _Answer:
    def __init__(self, reply):
        self.status_code, self.reason = reply.status, "refused"
        self.content = b"" if reply.status == 204 else json.dumps(reply.body).encode()

    def json(self):
        return json.loads(self.content)
