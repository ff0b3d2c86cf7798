"""Which tests run: a core always, and of the rest a share that changes from commit to commit.

The levels that take long (tests/functional, tests/cloud) load this plugin. Tests marked ``core``
run every time. A hash of its name puts each of the others into one of some shares; a hash of the
commit chooses the share of this run, so that each test runs every few commits. The end of the
output names what was left out. Whoever names a file or a test gets all of it. Whoever samples
(places to be killed at) does so with ``seed(config)``, which is the commit as well.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SHARES = 12
REPOSITORY = Path(__file__).parents[1]
LINE = 100


@dataclass(frozen=True)
class Share:
    """One of ``of`` shares, counted from 0."""

    number: int
    of: int = SHARES

    @classmethod
    def parse(cls, text: str) -> Share:
        """From ``N/K``.

        :raises ValueError: it is not like that
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError(f"{text}: a share is like 0/{SHARES}, the first of {SHARES}")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_seed(cls, seed: str) -> Share:
        return cls(_number(seed) % SHARES if seed else 0)

    def has(self, test: str) -> bool:
        return _number(test) % self.of == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


NOTHING = Share(-1)  # of its number no test is


def _number(text: str) -> int:
    """The same on every machine and in every process, unlike hash()."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def commit(directory: Path = REPOSITORY) -> str:
    """The commit that is checked out; empty without git."""
    # A clone may belong to somebody else.
    git = ["git", "-c", "safe.directory=*", "-C", str(directory), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def split(tests: Iterable[str], core: set[str], share: Share) -> tuple[list[str], list[str]]:
    """Those that run and those that are left out, each in the order given."""
    chosen: list[str] = []
    left_out: list[str] = []
    for test in tests:
        (chosen if test in core or share.has(test) else left_out).append(test)
    return chosen, left_out


def compact(tests: Iterable[str]) -> list[str]:
    """Names as lines of text, one paragraph for each file."""
    files = defaultdict(list)
    for test in tests:
        file, _, name = test.partition("::")
        files[file].append(name.replace("test_", "", 1))
    lines = []
    for file, names in files.items():
        line = f"{file}:"
        for name in names:
            if len(line) + len(name) + 2 > LINE:
                lines.append(line)
                line = " "
            line += f" {name},"
        lines.append(line.removesuffix(","))
    return lines


# --- pytest --------------------------------------------------------------------------------------

LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rotation")
    group.addoption("--core", action="store_true", help="the core alone, no share of the others")
    group.addoption("--full", action="store_true", help="all shares; kills at every boundary")
    group.addoption(
        "--share", metavar="N/K", type=lambda text: str(Share.parse(text)),
        help=f"beside the core, this share of the tests, such as 0/{SHARES}",
    )  # fmt: skip
    group.addoption("--seed", help="chooses share and samples; default: the commit")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "core: runs every time; others are in the rotation")
    config.stash[LEFT_OUT] = []
    if config.getoption("--seed") is None:
        config.option.seed = commit()


def seed(config: pytest.Config) -> str:
    """What chooses samples."""
    return str(config.getoption("--seed"))


def share(config: pytest.Config) -> Share:
    given = config.getoption("--share")
    return Share.parse(given) if given else Share.of_seed(seed(config))


@pytest.hookimpl(trylast=True)  # of what others leave
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full") or not all(Path(name).is_dir() for name in config.args):
        return
    core = {item.nodeid for item in items if item.get_closest_marker("core")}
    tests = [item.nodeid for item in items]
    chosen, left_out = split(tests, core, NOTHING if config.getoption("--core") else share(config))
    config.stash[LEFT_OUT] = left_out
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in set(left_out)])
    items[:] = [item for item in items if item.nodeid in set(chosen)]
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = left_out


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """With pytest-xdist only the workers know; all of them know the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    left_out = config.stash[LEFT_OUT]
    if not left_out:
        return
    terminalreporter.section(f"left out: {len(left_out)} tests")
    for line in compact(left_out):
        terminalreporter.write_line(line)
    if config.getoption("--core"):
        terminalreporter.write_line("This was the core; --full runs all.")
        return
    terminalreporter.write_line(
        f"This was share {share(config)} of the rotation (seed '{seed(config)}'), beside the core; "
        "--full runs all."
    )
