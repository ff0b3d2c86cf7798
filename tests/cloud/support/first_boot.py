"""What a guest is told at its first boot: files of its config drive, and the metadata service."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.cloud.support.devcloud import CloudError, DevCloud

Told = dict[str, Any]
PORT = 8775  # of nova-metadata, as devstack/lib/00-settings.sh has it


def drive_path(cloud: DevCloud, node: str, server_id: str, name: str = "disk.config") -> Path:
    return cloud.nova_files(node) / "instances" / server_id / name


def read_drive(path: Path) -> Told:
    """Path on the drive -> content of each of its files; JSON decoded.

    :param path: an ISO 9660 or VFAT image
    """
    with tempfile.TemporaryDirectory() as scratch:
        if is_iso(path):
            command = ["bsdtar", "-x", "-f", str(path), "-C", scratch]
        else:
            command = ["mcopy", "-s", "-n", "-i", str(path), "::/", scratch]
        subprocess.run(command, check=True, capture_output=True)
        found = {}
        for file in sorted(Path(scratch).rglob("*")):
            if file.is_file():
                found[str(file.relative_to(scratch))] = _readable(file.name, file.read_bytes())
        return found


def is_iso(path: Path) -> bool:
    with path.open("rb") as image:
        image.seek(16 * 2048)
        return image.read(6) == b"\x01CD001"


def volume_description(path: Path) -> dict[str, str]:
    """Volume id, Joliet and Rock Ridge of an ISO 9660 image, as isoinfo tells them."""
    said = subprocess.run(
        ["isoinfo", "-d", "-i", str(path)], check=True, capture_output=True, text=True
    ).stdout
    lines = [line for line in said.splitlines() if not line.startswith("Volume size")]
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    extensions = [line for line in lines if "Joliet" in line or "Rock Ridge" in line]
    return {"volume": fields["Volume id"].strip(), "extensions": "; ".join(extensions)}


class MetadataService:
    """nova-metadata, asked as the agent in the host's networks asks it for a guest."""

    def __init__(self, cloud: DevCloud) -> None:
        self._url = f"http://127.0.0.1:{PORT}"
        self._secret = cloud.secrets()["METADATA_SECRET"].encode()

    def get(self, server: Mapping[str, Any], path: str) -> bytes | None:
        """The body under a path; None: there is nothing (404)."""
        uuid = server["id"]
        address = next(
            ip["addr"] for ips in server["addresses"].values() for ip in ips if ip["version"] == 4
        )
        request = Request(self._url + path, headers={
            "X-Instance-ID": uuid,
            "X-Tenant-ID": server["tenant_id"],
            "X-Instance-ID-Signature": hmac.new(self._secret, uuid.encode(), hashlib.sha256)
            .hexdigest(),
            "X-Forwarded-For": address,
        })  # fmt: skip
        try:
            return bytes(urlopen(request, timeout=30).read())
        except HTTPError as error:
            if error.code == 404:
                return None
            raise CloudError(f"metadata service, {path}: HTTP {error.code}") from error

    def tree(self, server: Mapping[str, Any]) -> Told:
        """Path -> content of all that the service tells of a server."""
        return dict(self._openstack(server)) | dict(self._ec2(server))

    def _openstack(self, server: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for version in self._lines(server, "/openstack"):
            for name in self._lines(server, f"/openstack/{version}"):
                path = f"openstack/{version}/{name}"
                body = self.get(server, f"/{path}")
                yield path, None if body is None else _readable(name, body)

    def _ec2(self, server: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for version in self._lines(server, "/"):
            yield from self._walk(server, f"/{version}/")

    def _walk(self, server: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for name in self._lines(server, path):
            key, is_key, _ = name.partition("=")
            if name.endswith("/") or is_key:
                yield from self._walk(server, f"{path}{key.rstrip('/')}/")
                continue
            if name in ("meta-data", "block-device-mapping", "placement"):
                yield from self._walk(server, f"{path}{name}/")
                continue
            body = self.get(server, f"{path}{name}")
            yield f"ec2{path}{name}", None if body is None else _readable(name, body)

    def _lines(self, server: Mapping[str, Any], path: str) -> list[str]:
        body = self.get(server, path)
        if body is None:
            raise CloudError(f"the metadata service has no {path}")
        return body.decode().split("\n")


def _readable(name: str, content: bytes) -> Any:
    if name.endswith(".json"):
        return json.loads(content)
    return content.decode("latin-1")


def comparable(told: Told) -> Told:
    """The same without what may differ: the seed, and where devices are on their buses."""
    found = {}
    for path, content in told.items():
        if isinstance(content, dict):
            content = dict(content)
            if "random_seed" in content:
                content["random_seed"] = f"{len(content['random_seed'])} characters"
            if "devices" in content:
                devices = [
                    {**device, "address": bool(device["address"])} for device in content["devices"]
                ]
                content["devices"] = sorted(devices, key=lambda device: json.dumps(device))
        elif path.startswith("openstack/content/"):
            # Comments and empty lines of interfaces(5) configure nothing.
            lines = content.splitlines()
            content = [line for line in lines if line.strip() and not line.startswith("#")]
        found[path] = content
    return found


def without_devices(told: Told) -> Told:
    return {
        path: {key: value for key, value in content.items() if key != "devices"}
        if isinstance(content, dict) else content
        for path, content in told.items()
    }  # fmt: skip


def differences(ours: Told, theirs: Told) -> list[str]:
    """Where two trees differ, a line each."""
    ours, theirs = comparable(ours), comparable(theirs)
    found = [f"only in the first: {path}" for path in sorted(ours.keys() - theirs.keys())]
    found += [f"only in the second: {path}" for path in sorted(theirs.keys() - ours.keys())]
    for path in sorted(ours.keys() & theirs.keys()):
        one, other = ours[path], theirs[path]
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            found += [
                f"{path}: {key}: {one.get(key)!r} != {other.get(key)!r}"
                for key in sorted(one.keys() | other.keys())
                if one.get(key, "absent") != other.get(key, "absent")
            ]
        else:
            found.append(f"{path}: {one!r} != {other!r}")
    return found
