"""A host's nova_lite agent run by tests/cloud/killer.py, to be killed and started again at will."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.cloud.support.devcloud import LITE, NONE, REPO, CloudError, DevCloud, wait_for

KILLER = REPO / "tests" / "cloud" / "killer.py"
UP = "is up as service version"


class KillableAgent:
    """Takes the place of the host's own agent in a ``with``; for a while (:meth:`hand_back`,
    :meth:`take_over`) it may step back."""

    def __init__(self, cloud: DevCloud, node: str, directory: Path) -> None:
        self._cloud, self._node = cloud, node
        self._kill_at, self._record = directory / "kill-at", directory / "record"
        self._output = directory / "output"
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> KillableAgent:
        try:
            self.take_over()
        except BaseException:
            # One that came up late would stand in the way of the host's own for good.
            self.hand_back()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_back()

    def take_over(self) -> None:
        self._cloud.switch_agent(self._node, NONE)
        self.start()

    def hand_back(self) -> None:
        """End with the agent that the host had before."""
        self._kill_at.unlink(missing_ok=True)
        try:
            self.stop()
        finally:
            self._cloud.switch_agent(self._node, LITE)

    def start(self) -> None:
        """Start, and wait until the agent says that the host is up."""
        log = self._cloud.agent_log(self._node)
        before = log.stat().st_size
        with self._output.open("ab") as output:
            self._running = self._cloud.start_program(
                self._node,
                ["python", str(KILLER), str(self._kill_at), str(self._record)],
                output,
            )

        def up() -> bool:
            assert self._running is not None
            if self._running.poll() is not None:
                raise CloudError(f"the agent ended by itself: {self._output.read_text()[-1500:]}")
            with log.open("rb") as file:
                file.seek(before)
                return UP.encode() in file.read()

        wait_for(f"agent of {self._node} up", up, 120, pause=0.05)

    def revive(self) -> None:
        """Start it unless it runs: after a trial that went wrong."""
        self._kill_at.unlink(missing_ok=True)
        if self._running is None or self._running.poll() is not None:
            self.start()

    def arm(self, boundary: str) -> None:
        """Let it die at this boundary, once."""
        new = self._kill_at.with_suffix(".new")
        new.write_text(boundary)
        new.rename(self._kill_at)

    def wait_dead(self, seconds: float = 90) -> None:
        """:raises CloudError: the boundary was not reached"""
        assert self._running is not None
        try:
            self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill_at.unlink(missing_ok=True)
            raise CloudError(f"not reached in {seconds:.0f} s") from None
        if self._kill_at.exists():
            raise CloudError(f"ended by itself: {self._output.read_text()[-1500:]}")

    def stop(self) -> None:
        """SIGTERM and wait."""
        if self._running is not None and self._running.poll() is None:
            for pid in _leaves(self._running.pid):
                os.kill(pid, signal.SIGTERM)
            self._running.wait(60)

    def boundaries(self) -> list[str]:
        """What was passed since the last call, without repetitions."""
        names = self._record.read_text().split() if self._record.exists() else []
        self._record.write_text("")
        return list(dict.fromkeys(names))

    def passed(self, last: str, seconds: float = 150) -> list[str]:
        """Wait until that boundary was passed; all that were since the last call.

        :raises CloudError: it was not reached
        """
        wait_for(f"boundary {last}", lambda: last in self._record.read_text().split(), seconds)
        return self.boundaries()


def _leaves(pid: int) -> list[int]:
    """The innermost descendants: bash and nsenter wait for the agent."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not children:
        return [pid]
    # The agent's own helpers end with it.
    return [leaf for child in children for leaf in _first_python(int(child))]


def _first_python(pid: int) -> list[int]:
    if "python" in Path(f"/proc/{pid}/comm").read_text():
        return [pid]
    return _leaves(pid)
