"""The verbs whose conductor calls are counted, in an order in which each finds its server ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import wait_for

SNAPSHOT = f"{NAME_PREFIX}-benchmark"
BOOTS = 6.0  # seconds that a guest needs until it hears a request to shut down
PATIENCE = 240  # seconds


class NotOffered(Exception):
    """The agent does not know this verb, or did not get it done."""


@dataclass(frozen=True)
class Verb:
    """A server action, the status in which it ends, and how long the guest is left alone then."""

    name: str
    action: str
    status: str
    body: Any = None
    rest: float = 0.0


def verbs(node: str, image: str) -> tuple[Verb, ...]:
    """All of them; the server begins and ends ACTIVE.

    :param node: host of the server
    :param image: id of its image
    """
    return (
        Verb("stop", "os-stop", "SHUTOFF"),
        Verb("start", "os-start", "ACTIVE", rest=BOOTS),
        Verb("soft reboot", "reboot", "ACTIVE", {"type": "SOFT"}),
        Verb("hard reboot", "reboot", "ACTIVE", {"type": "HARD"}),
        Verb("pause", "pause", "PAUSED"),
        Verb("unpause", "unpause", "ACTIVE"),
        Verb("suspend", "suspend", "SUSPENDED"),
        Verb("resume", "resume", "ACTIVE"),
        Verb("get_console_output", "os-getConsoleOutput", "ACTIVE", {}),
        Verb("snapshot", "createImage", "ACTIVE", {"name": SNAPSHOT}),
        Verb("rescue", "rescue", "RESCUE", {}, rest=BOOTS),
        Verb("unrescue", "unrescue", "ACTIVE", rest=BOOTS),
        Verb("rebuild", "rebuild", "ACTIVE", {"imageRef": image}, rest=BOOTS),
        Verb("shelve+offload", "shelve", "SHELVED_OFFLOADED"),
        Verb("unshelve", "unshelve", "ACTIVE", {"host": node}, rest=BOOTS),
    )


def perform(api: Api, server_id: str, verb: Verb) -> None:
    """Ask for the verb and wait for its end.

    :raises NotOffered: refused, or ended in a fault
    """
    path = f"/servers/{server_id}"
    response = api.call("POST", f"{path}/action", {verb.action: verb.body}, ok=False)
    if not response.ok:
        raise NotOffered(f"HTTP {response.status_code}")
    request = response.headers["x-openstack-request-id"]

    def over() -> bool:
        server = api.server(server_id)
        if server["OS-EXT-STS:task_state"]:
            return False
        action = api.call("GET", f"{path}/os-instance-actions/{request}", ok=False)
        if action.ok and action.json()["instanceAction"]["message"]:
            raise NotOffered("it ended in a fault")
        return bool(server["status"] == verb.status)

    wait_for(f"{verb.name}: {verb.status}", over, PATIENCE)


def delete_snapshots(api: Api) -> None:
    """Images that ``snapshot`` has made."""
    for image in api.rest(api.image, "GET", f"/images?name={SNAPSHOT}")["images"]:
        api.delete_image(image["id"])
