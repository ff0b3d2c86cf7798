"""Daemons of the all-in-one cloud: started once, found again, stopped with all they started."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

PROCESS = Path(__file__).resolve().parents[3] / "devstack" / "lib" / "11-process.sh"
# Like cinder-volume: says where its worker is, and takes its time to end.
BUSY = "trap '' TERM; sleep 60 & echo $! >worker; wait; wait"


@pytest.fixture
def shell(tmp_path):
    """Run lines of shell with the functions under test; its standard output."""

    def run(lines: str) -> str:
        return subprocess.run(
            ["bash", "-euc", f"RUN=$PWD LOG=$PWD; . {PROCESS}; {lines}"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout

    return run


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_daemon_is_started_once_and_found_by_the_next_command(shell):
    """The second start does nothing; a stop ends it."""
    shell("spawn sleeper sleep 60")
    first = shell("pid_of sleeper")
    shell("spawn sleeper sleep 60")

    assert shell("pid_of sleeper") == first
    shell("stop sleeper")
    assert shell("recorded sleeper") == ""
    assert ended(int(first))


def test_a_daemon_that_does_not_end_is_killed_with_its_workers(shell, tmp_path):
    """Nobody is left to go on with the work."""
    shell(f"spawn busy bash -c {shlex.quote(BUSY)}; until [[ -s worker ]]; do sleep 0.1; done")
    daemon, worker = int(shell("pid_of busy")), int((tmp_path / "worker").read_text())
    assert os.getpgid(worker) == daemon
    try:
        shell("stop busy 0")
        deadline = time.monotonic() + 20
        while not (ended(daemon) and ended(worker)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ended(daemon) and ended(worker)
    finally:
        for pid in (daemon, worker):
            if not ended(pid):
                os.kill(pid, 9)
