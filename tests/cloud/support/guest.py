"""Inside a guest, through its QEMU guest agent (image tiny-agent)."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import CloudError, DevCloud, wait_for

FIRST_MIB = "bs=64k count=16 2>/dev/null"
SUM = f"dd if=$disk {FIRST_MIB} | md5sum"


def boot_with_agent(api: Api, node: str, garbage: Any, **more: Any) -> dict[str, Any]:
    """A new server that runs, and whose guest can be asked.

    :param garbage: where it ends
    :param more: as of ``Api.request_boot``
    """
    server_id = garbage.server(api.request_boot(node, image="tiny-agent", **more)["id"])
    found = api.wait_status(server_id, "ACTIVE", 180)
    api.wait_console(server_id, "TINY: qemu-ga started")
    return found


def ask_agent(cloud: DevCloud, node: str, server_id: str, command: str, **arguments: Any) -> Any:
    """What the agent in the guest answers."""
    request = json.dumps({"execute": command, "arguments": arguments})
    answer = cloud.on(node, "virsh", "qemu-agent-command", server_id, request)
    return json.loads(answer)["return"]


def console_file(cloud: DevCloud, node: str, server_id: str) -> str:
    """What the guest has written, read on the host: the API tells it of running guests only."""
    path = cloud.nova_files(node) / "instances" / server_id / "console.log"
    return path.read_text(errors="replace")


def in_guest(cloud: DevCloud, node: str, server_id: str, script: str) -> str:
    """Output of a shell script run as root in the guest."""
    started = ask_agent(cloud, node, server_id, "guest-exec", path="/bin/sh",
                        arg=["-c", script], **{"capture-output": True})  # fmt: skip

    def look() -> dict[str, Any] | None:
        status = ask_agent(cloud, node, server_id, "guest-exec-status", pid=started["pid"])
        return status if status["exited"] else None

    status = wait_for(f"end of {script!r} in the guest", look, 60)
    return base64.b64decode(status.get("out-data", "")).decode()


class Guest:
    """A guest that boots or runs, asked through its agent."""

    def __init__(self, cloud: DevCloud, node: str, server_id: str) -> None:
        self._where = cloud, node, server_id

    def ask(self, script: str, seconds: float = 200) -> str:
        """Output of a shell script, as soon as there is somebody to run it."""

        def look() -> str | None:
            try:
                return in_guest(*self._where, script)
            except CloudError:
                return None  # it boots

        return wait_for(f"{script!r} in the guest", look, seconds, pause=1.0)

    def mark(self, volume_id: str) -> str:
        """Write 1 MiB of noise on a volume; returns its checksum."""
        return self._on_volume(volume_id, f"dd if=/dev/urandom of=$disk {FIRST_MIB}; sync; {SUM}")

    def checksum(self, volume_id: str) -> str:
        """Of the volume's first MiB, read from the volume itself."""
        return self._on_volume(volume_id, f"echo 3 >/proc/sys/vm/drop_caches; {SUM}")

    def keep_writing(self, volume_id: str) -> None:
        """Have the guest write to the volume's third MiB from now on, once a second, until that
        fails."""
        write = "echo $n | dd of=$disk seek=4096 conv=sync,fsync 2>/dev/null && echo $n >/tmp/n"
        loop = f"(n=1; while {write}; do n=$((n + 1)); sleep 1; done) >/dev/null 2>&1 </dev/null &"
        self._on_volume(volume_id, f"{loop} echo begun")
        self.writes_on()

    def writes_on(self) -> None:
        """Wait until it has written once more.

        :raises CloudError: it does not any more
        """
        before = self._written()
        wait_for("the guest to write on", lambda: self._written() > before, 60, pause=1.0)

    def _written(self) -> int:
        return int(self.ask("cat /tmp/n || echo 0").strip() or 0)

    def _on_volume(self, volume_id: str, script: str) -> str:
        find = f"disk=/dev/$(grep -l ^{volume_id[:20]} /sys/block/*/serial | cut -d/ -f4)"
        wait = f"for try in 1 2 3 4 5 6 7 8 9; do {find}; [ -b $disk ] && break; sleep 1; done"
        said = self.ask(f"{wait}; [ -b $disk ] && {{ {script}; }}").split()
        if not said:
            raise CloudError(f"the guest has no disk with the serial of volume {volume_id}")
        return said[0]
