"""Servers that go to another host while they run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.cloud.support.devcloud import LITE, DevCloud
from tests.cloud.support.guest import Guest, console_file
from tests.cloud.support.moves import Moves


@contextlib.contextmanager
def sending(cloud: DevCloud, host: str) -> Iterator[None]:
    """For a while the host, if it has nova-compute, has no serial consoles: it sends no guest from
    a host that has them to one that has none."""
    with contextlib.ExitStack() as undo:
        if cloud.agent_kind(host) != LITE:
            undo.enter_context(cloud.options(host, "[serial_console]\nenabled = false"))
        yield


def boot_id(cloud: DevCloud, node: str, server: str) -> str:
    """Changes whenever the guest boots."""
    return Guest(cloud, node, server).ask("cat /proc/sys/kernel/random/boot_id").strip()


def went_live(cloud: DevCloud, moves: Moves, server: str, new: str, running: str) -> None:
    """Move a server and see that its guest never stopped.

    :param running: its boot id on the old host
    """
    moves.live(server, new)
    moves.wait_live(server)
    moves.settled(server, new)
    assert boot_id(cloud, new, server) == running, console_file(cloud, new, server)[-3000:]
