"""A connector of os-brick without storage: what is connected are files in a directory.

Like the real ones it keeps nothing in memory, and says what it has to say in exceptions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from os_brick.exception import VolumeDeviceNotFound
from oslo_concurrency.processutils import ProcessExecutionError

SIZE = 3 * 1024**3  # bytes, of every device after it has grown


class FakeConnector:
    """``made_with`` are the arguments of os-brick's factory, protocol first."""

    def __init__(self, directory: Path, *made_with: Any) -> None:
        self.made_with = made_with
        self.calls: list[str] = []
        self.failure: Exception | None = None
        self._directory = directory

    def device(self, data: dict[str, Any]) -> Path:
        """The device that a volume is or would be."""
        return self._directory / f"{data['target_iqn']}-lun-{data['target_lun']}"

    def connect_volume(self, data: dict[str, Any]) -> dict[str, Any]:
        self._called("connect")
        self.device(data).touch()
        return {"type": "block", "path": str(self.device(data)), "scsi_wwn": "360000"}

    def disconnect_volume(
        self, data: dict[str, Any], device_info: Any, force: bool = False
    ) -> None:
        self._called("disconnect, by force" if force else "disconnect")
        if not self.device(data).exists():
            raise VolumeDeviceNotFound(device=str(self.device(data)))
        self.device(data).unlink()

    def extend_volume(self, data: dict[str, Any]) -> int:
        self._called("extend")
        return SIZE

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failure is not None:
            raise self.failure


def refused_login(password: str) -> ProcessExecutionError:
    """What os-brick raises when iscsiadm cannot log in."""
    command = f"iscsiadm -m node -T iqn.2010 -o update -n node.session.auth.password -v {password}"
    return ProcessExecutionError(
        cmd=command, exit_code=24, stderr=f"iscsiadm: cannot log in with {password}"
    )
