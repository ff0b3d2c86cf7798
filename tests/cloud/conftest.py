"""Tests against the real all-in-one cloud.

    python -m pytest tests/cloud [--agent-node node1] [--agent nova-lite|nova-compute] [--full]
    python -m pytest tests/cloud -n 2 --dist loadfile -m "not alone"

The cloud is ``devstack/cloud up``; NOVA_LITE_CLOUD says where it is. The same tests hold for stock
nova-compute: whatever it does, users may expect of nova_lite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.support import lanes
from tests.cloud.support.api import Api
from tests.cloud.support.browser import headless
from tests.cloud.support.devcloud import LITE, STOCK, DevCloud
from tests.cloud.support.killable import KillableAgent
from tests.cloud.support.ledger import Ledger
from tests.cloud.support.moves import Moves
from tests.cloud.support.networks import Neutron, Outside
from tests.cloud.support.trials import Chooser

pytest_plugins = ["tests.rotation"]

SHOWN_TRACEBACKS = 8
# The files that take longest, in this order. They begin first, so that lanes end together.
LONG = (
    "test_volume_kills", "test_kill", "test_volume_changes", "test_rbd_disks", "test_boot",
    "test_volumes", "test_verbs_with_volumes", "test_volume_kinds", "test_shelve", "test_snapshot",
    "test_startup", "test_boot_volumes",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cloud")
    group.addoption("--agent-node", help="host whose agent is under test, if not the lane's")
    group.addoption("--agent", choices=(LITE, STOCK), help="run this agent there first")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lite_only: about nova_lite itself; not run on stock")
    config.addinivalue_line("markers", "browser: needs Chromium; slower")
    config.addinivalue_line("markers", "alone: not beside others (see support/lanes.py)")


def agent_node(config: pytest.Config) -> str:
    """The host under test."""
    return str(config.getoption("--agent-node") or next(iter(lanes.hosts()), "node1"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is about nova_lite's own inside is not asked of stock."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))
    kind = config.getoption("--agent") or DevCloud().agent_kind(agent_node(config))
    if kind == LITE:
        return
    dropped = [item for item in items if item.get_closest_marker("lite_only")]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


TRACEBACK = "Traceback (most recent call last)"
LOG_STARTS = pytest.StashKey[dict[Path, int]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    cloud = DevCloud()
    logs = [log for node in cloud.nodes() if (log := cloud.agent_log(node)).exists()]
    session.config.stash[LOG_STARTS] = {log: log.stat().st_size for log in logs}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show tracebacks of the agents' logs: each is an error that nobody thought of."""
    for log, start in config.stash[LOG_STARTS].items():
        with log.open(errors="replace") as file:
            file.seek(start)
            lines = file.readlines()
        found = [number for number, line in enumerate(lines) if TRACEBACK in line]
        if found:
            terminalreporter.section(f"{len(found)} tracebacks in {log}")
            for number in found[:SHOWN_TRACEBACKS]:
                terminalreporter.write_line(lines[max(0, number - 1)].strip()[:300])


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest) -> DevCloud:
    cloud = DevCloud()
    cloud.require_up()
    wanted = request.config.getoption("--agent")
    node = agent_node(request.config)
    if wanted and cloud.agent_kind(node) != wanted:
        cloud.switch_agent(node, wanted)
    cloud.agent(node)
    return cloud


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest, cloud: DevCloud) -> str:
    """The host under test."""
    return agent_node(request.config)


@pytest.fixture(scope="session")
def api(cloud: DevCloud) -> Api:
    return Api(cloud)


@pytest.fixture(scope="session")
def demo(cloud: DevCloud) -> Api:
    """An ordinary user of another project."""
    return Api(cloud, "demo")


@pytest.fixture(scope="session")
def ledger(cloud: DevCloud, api: Api) -> Ledger:
    return Ledger(cloud, api)


@pytest.fixture(autouse=True)
def no_leaks(ledger: Ledger) -> Iterator[None]:
    """Whatever a test did, nothing without a server is left behind."""
    yield
    leaks = ledger.leaks()
    assert not leaks, "left behind:\n" + "\n".join(leaks)


class Garbage:
    """Undoes what a test has made, last first."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._undo: list[Callable[[], Any]] = []

    def later(self, undo: Callable[[], Any]) -> None:
        self._undo.append(undo)

    def server(self, server_id: str) -> str:
        """Delete this server in the end."""
        self._undo.append(lambda: self._delete(server_id))
        return server_id

    def empty(self) -> None:
        errors = []
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:  # the rest must go, too
                errors.append(error)
        if errors:
            raise ExceptionGroup("cleaning up", errors)

    def _delete(self, server_id: str) -> None:
        self._api.delete(server_id)
        self._api.wait_gone(server_id)


@pytest.fixture
def garbage(api: Api, no_leaks: None) -> Iterator[Garbage]:
    garbage = Garbage(api)
    yield garbage
    garbage.empty()


@pytest.fixture(scope="module")
def module_garbage(api: Api) -> Iterator[Garbage]:
    garbage = Garbage(api)
    yield garbage
    garbage.empty()


@pytest.fixture
def neutron(api: Api, garbage: Garbage) -> Neutron:
    """Networks, ports and groups that are deleted after the test."""
    return Neutron(api, garbage)


@pytest.fixture(scope="module")
def outside(cloud: DevCloud) -> Outside:
    """Where the public network leads to."""
    return Outside(cloud)


@pytest.fixture
def boot(api: Api, node: str, garbage: Garbage) -> Callable[..., dict[str, Any]]:
    """Boot a server on the host under test (``node=None``: anywhere) and have it deleted."""

    def boot_one(**more: Any) -> dict[str, Any]:
        target = more.pop("node", node)
        server = api.request_boot(target, **more)
        garbage.server(server["id"])
        return api.wait_status(server["id"], "ACTIVE", 180)

    return boot_one


@pytest.fixture(scope="module")
def server(api: Api, node: str, module_garbage: Garbage) -> dict[str, Any]:
    """One running server for the tests of a module that only look at it or leave it as it was."""
    requested = api.request_boot(node, key_name="nova-lite")
    module_garbage.server(requested["id"])
    found = api.wait_status(requested["id"], "ACTIVE", 180)
    api.wait_console(requested["id"], "TINY: ready")
    return found


@pytest.fixture(scope="module")
def disk_flavor(api: Api, module_garbage: Garbage) -> str:
    """A flavor with every kind of disk: root, ephemeral, swap."""
    return Moves(api.cloud, api).flavor(module_garbage.later, ephemeral=1, swap=64)


@pytest.fixture(scope="module")
def agent(cloud: DevCloud, node: str, tmp_path_factory: Any) -> Iterator[KillableAgent]:
    """The agent of the host under test, to be killed wherever a test wants."""
    with KillableAgent(cloud, node, tmp_path_factory.mktemp("killer")) as agent:
        yield agent


@pytest.fixture(scope="module", params=[LITE, STOCK])
def other(cloud: DevCloud, node: str, request: Any) -> Iterator[str]:
    """Another host, with each kind of agent."""
    with cloud.other_with(node, request.param) as found:
        yield found


@pytest.fixture
def other_agent(cloud: DevCloud, node: str, tmp_path: Path) -> Iterator[KillableAgent]:
    """The other host's agent, to be killed wherever a test wants; no ``peer`` beside it."""
    with KillableAgent(cloud, cloud.other_node(node), tmp_path) as agent:
        yield agent


@pytest.fixture
def peer(cloud: DevCloud, node: str) -> Iterator[str]:
    """Another host, with nova-lite; the ``other`` of a test before may still have stock."""
    with cloud.other_with(node, LITE) as found:
        yield found


@pytest.fixture
def change_agent(cloud: DevCloud, node: str) -> Iterator[Callable[[str], None]]:
    """Changes the agent of the host under test; in the end it is nova-lite, whatever happened."""
    yield lambda kind: cloud.switch_agent(node, kind)
    if cloud.agent_kind(node) != LITE:
        cloud.switch_agent(node, LITE)


@pytest.fixture
def moves(cloud: DevCloud, api: Api) -> Moves:
    return Moves(cloud, api)


@pytest.fixture(params=["there", "here"])
def ends(node: str, other: str, request: Any) -> tuple[str, str]:
    """(old host, new host): the host under test is each in turn."""
    return (node, other) if request.param == "there" else (other, node)


@pytest.fixture(scope="session")
def choose(pytestconfig: pytest.Config) -> Chooser:
    return Chooser(pytestconfig)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with headless(tmp_path) as browser:
        yield browser
