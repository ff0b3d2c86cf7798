"""What the benchmark of live migrations measures with, where it needs no cloud."""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path

import pytest

from tests.benchmark import forecasts, report
from tests.benchmark.guest_clock import Clock, stood_still
from tests.benchmark.measure import Plan, Result
from tests.benchmark.pings import Pings
from tests.benchmark.writer import MIB, PAGE, program, shell

SAID = """PING 172.24.4.9 (172.24.4.9) 56(84) bytes of data.
[100.000000] 64 bytes from 172.24.4.9: icmp_seq=1 ttl=63 time=0.151 ms
[100.050000] 64 bytes from 172.24.4.9: icmp_seq=2 ttl=63 time=0.032 ms
[100.250000] From 172.24.4.1 icmp_seq=4 Destination Host Unreachable
[100.300000] 64 bytes from 172.24.4.9: icmp_seq=6 ttl=63 time=0.030 ms
[100.301000] 64 bytes from 172.24.4.9: icmp_seq=6 ttl=63 time=0.031 ms (DUP!)
"""


def test_pings_without_an_answer_are_lost() -> None:
    """And the longest pause is from the answer before them to the one after."""
    pings = Pings(0.05)
    pings.read(SAID)

    assert (pings.lost, pings.gap) == (3, pytest.approx(0.25))
    assert (Pings(0.05).lost, Pings(0.05).gap) == (0, 0.0)


def test_a_clock_that_is_late_stood_still() -> None:
    """By as much as it is later than before."""
    before, after = Clock(ahead=1.5, error=0.01), Clock(ahead=1.2, error=0.02)

    assert stood_still(before, after) == (pytest.approx(300), pytest.approx(30))
    assert stood_still(after, before)[0] == 0


def written(pid: int, size: int) -> int:
    """Pages that the program has written, by the numbers that it leaves in them."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if end - begin == size:
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(begin)
                content = memory.read(size)
            return max(int.from_bytes(content[at : at + 8], "little")
                       for at in range(0, size, PAGE))  # fmt: skip
    return 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is for x86-64")
def test_the_writer_writes_as_fast_as_it_is_told(tmp_path: Path) -> None:
    """Not faster, on any machine; a busy one may let it be slower."""
    path = tmp_path / "writer"
    path.write_bytes(program(20, 8))
    path.chmod(0o755)
    began = time.monotonic()
    process = subprocess.Popen([str(path)])
    try:
        time.sleep(1)
        pages = written(process.pid, 8 * MIB)
        seconds = time.monotonic() - began
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()

    assert 0 < pages * PAGE / MIB <= 20 * seconds + 1


def test_a_shell_makes_the_writer(tmp_path: Path) -> None:
    """Byte by byte; nothing but printf is needed."""
    path = tmp_path / "writer"
    script, _, start = shell(60, 64, str(path)).rpartition(f"; {path} ")
    assert start == "</dev/null >/dev/null 2>&1 &"

    subprocess.run(["sh", "-c", script], check=True)

    assert path.read_bytes() == program(60, 64)


LOG = """01 INFO Server aaa has gone to host node2 in 1.0 s; it stood still for 10 ms, 20 MiB were \
sent; there was no forecast
02 INFO Server bbb has gone to host node2 in 31.5 s; it stood still for 95 ms, 280 MiB were \
sent; forecast: pre-copy, 29.0 s, 100 ms, 300 MiB
"""


def test_outcomes_are_read_from_the_log() -> None:
    """With what was expected, if anything was."""
    assert forecasts.outcome(LOG, "aaa")["expected"] is None
    assert forecasts.outcome(LOG, "ccc") == {}
    found = forecasts.outcome(LOG, "bbb")
    assert found["outcome"] == {"seconds": 31.5, "downtime_ms": 95, "sent_mib": 280}
    assert found["expected"] == {
        "method": "pre-copy", "seconds": 29, "downtime_ms": 100, "sent_mib": 300
    }  # fmt: skip


def test_forecasts_are_shown_beside_their_outcomes() -> None:
    """And that figures of emulated guests mean little."""
    more = {"guest": 6, "why": "pre-copy takes 29 s", "clock_ms": 97.0, "emulated": True}

    text = forecasts.table({
        "medium": {**more, **forecasts.outcome(LOG, "bbb")}, "lost": {**more, "emulated": False},
    })  # fmt: skip

    assert "medium guest, 6 MiB/s: pre-copy takes 29 s" in text
    assert "29.0 s     100 ms     300 MiB  pre-copy" in text
    assert "31.5 s      95 ms     280 MiB  97 ms by its clock" in text
    assert "not in the agent's log" in text
    assert text.endswith(forecasts.EMULATED)


def test_live_migrations_have_rows() -> None:
    """The numbers of servers are those of the plan, and targets are judged."""
    calls = f"conductor calls per {report.LIVE}"
    stock = Result({calls: 20.0, f"{report.AT_ONCE}: seconds": 30.0})
    lite = Result({calls: 12.0, f"{report.AT_ONCE}: seconds": 20.0})
    results = {"nova-compute": stock, "nova-lite": lite}

    assert "5 live migrations at once: seconds" in report.table(results, Plan())
    assert f"not met: {calls}: 60% instead of 50%" in report.verdict(results)
