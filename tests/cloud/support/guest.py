"""Inside a guest, through its QEMU guest agent (image tiny-agent)."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.cloud.support.devcloud import DevCloud, wait_for


def ask_agent(cloud: DevCloud, node: str, server_id: str, command: str, **arguments: Any) -> Any:
    """What the agent in the guest answers."""
    request = json.dumps({"execute": command, "arguments": arguments})
    answer = cloud.on(node, "virsh", "qemu-agent-command", server_id, request)
    return json.loads(answer)["return"]


def in_guest(cloud: DevCloud, node: str, server_id: str, script: str) -> str:
    """Output of a shell script run as root in the guest."""
    started = ask_agent(cloud, node, server_id, "guest-exec", path="/bin/sh",
                        arg=["-c", script], **{"capture-output": True})  # fmt: skip

    def look() -> dict[str, Any] | None:
        status = ask_agent(cloud, node, server_id, "guest-exec-status", pid=started["pid"])
        return status if status["exited"] else None

    status = wait_for(f"end of {script!r} in the guest", look, 20)
    return base64.b64decode(status.get("out-data", "")).decode()
