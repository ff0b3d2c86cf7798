"""The all-in-one cloud of ``devstack/cloud``, seen from outside: hosts, agents, files, database."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.cloud.support import lanes

REPO = Path(__file__).resolve().parents[3]
COMMAND = REPO / "devstack" / "cloud"
NEWEST_RELEASE = "2026.2"  # of the cloud; Nova may be of another one
STOCK, LITE, NONE = "nova-compute", "nova-lite", "none"

T = TypeVar("T")


class CloudError(Exception):
    """The cloud is not as it must be for a test; says what to do."""


def wait_for(what: str, ask: Callable[[], T], seconds: float, pause: float = 0.2) -> T:
    """Ask until the answer is true.

    :param what: named in the error
    :param seconds: patience; it is generous, never a measurement
    :raises CloudError: there was no such answer
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise CloudError(f"{what}: not within {seconds:.0f} s (last answer: {answer!r})")
        time.sleep(pause)


@dataclass(frozen=True)
class Process:
    """A process, told from a later one with the same pid by its start time."""

    pid: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        return start_ticks(self.pid) == self.start_ticks

    def kill(self) -> None:
        """kill -9, and wait until the kernel has put it away."""
        os.kill(self.pid, signal.SIGKILL)
        wait_for(f"end of process {self.pid}", lambda: not self.alive, 10, pause=0.01)


def start_ticks(pid: int) -> int | None:
    """Clock ticks between the machine's boot and the start of a process, or None when it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(rest[18])


class DevCloud:
    """The cloud whose state is in ``$NOVA_LITE_CLOUD`` (default /opt/nova-lite-cloud)."""

    def __init__(self, state: Path | None = None) -> None:
        self.state = state or Path(os.environ.get("NOVA_LITE_CLOUD", "/opt/nova-lite-cloud"))
        self.programs = self.state / "venv" / "bin"

    @property
    def release(self) -> str:
        """Which release Nova is of."""
        try:
            return (self.state / "data" / "nova-release").read_text().strip()
        except FileNotFoundError:  # made before there was another one
            return NEWEST_RELEASE

    @property
    def nova_programs(self) -> Path:
        """Directory of the programs of Nova, its stock agent included."""
        if self.release == NEWEST_RELEASE:
            return self.programs
        return self.state / f"venv-nova-{self.release}" / "bin"

    def require_up(self) -> None:
        """:raises CloudError: it is not up; the text says how to bring it up"""
        if not self.process("nova-api"):
            raise CloudError(f"no cloud runs in {self.state}: bring it up with '{COMMAND} up'")
        if not self.nodes():
            raise CloudError(f"all hosts are down: start one with '{COMMAND} node node1 up'")

    # --- commands ---------------------------------------------------------------------------
    def run(self, *arguments: str, check: bool = True) -> str:
        """Standard output of ``devstack/cloud ARGUMENTS``."""
        done = subprocess.run(
            [str(COMMAND), *arguments],
            env={**os.environ, "NOVA_LITE_CLOUD": str(self.state)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise CloudError(
                f"devstack/cloud {' '.join(arguments)} failed ({done.returncode}): "
                f"{done.stderr.strip()[-2000:]}"
            )
        return done.stdout

    def on(self, node: str, *command: str, check: bool = True) -> str:
        """Standard output of a command inside a compute host."""
        return self.run("node", node, "exec", *command, check=check)

    def environment(self, account: str = "admin") -> dict[str, str]:
        """The environment in which the ``openstack`` command works."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("OS_")},
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "OS_CLIENT_CONFIG_FILE": str(self.state / "etc" / "clouds.yaml"),
            "OS_CLOUD": account,
            "OS_COMPUTE_API_VERSION": "2.latest",
        }

    def sql(self, statement: str, database: str = "nova_cell1") -> str:
        """Run SQL: for states of the world that no API can produce."""
        done = subprocess.run(
            ["mariadb", "--user=root", "--host=127.0.0.1", "--skip-column-names", database],
            env={**os.environ, "MYSQL_PWD": self.secrets()["DATABASE_PASSWORD"]},
            input=statement,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise CloudError(f"SQL failed: {done.stderr.strip()}")
        return done.stdout

    def secrets(self) -> Mapping[str, str]:
        lines = (self.state / "etc" / "secrets").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    # --- hosts ------------------------------------------------------------------------------
    def nodes(self) -> list[str]:
        """The hosts that run and that this lane may use."""
        known = sorted(path.name for path in (self.state / "nodes").glob("node*"))
        mine = lanes.hosts() or known
        # A larger cloud may have left directories behind.
        return [node for node in known if node in mine and self.process(f"node-{node}")]

    def other_node(self, node: str) -> str:
        """:raises CloudError: there is one host only"""
        for other in self.nodes():
            if other != node:
                return other
        raise CloudError(f"{node} is the only host; this test needs two")

    @contextlib.contextmanager
    def unreachable(self, node: str, port: int) -> Iterator[None]:
        """For a while a host does not reach a service of the control plane; all others do.

        :param port: the service's
        """
        with self._filtered(node, port, "REJECT --reject-with tcp-reset"):
            yield

    @contextlib.contextmanager
    def unheard(self, node: str, port: int) -> Iterator[None]:
        """For a while a host gets no answer of a service; what it says is heard afterwards.

        :param port: the service's
        """
        with self._filtered(node, port, "DROP"):
            yield

    @contextlib.contextmanager
    def _filtered(self, node: str, port: int, target: str) -> Iterator[None]:
        rule = f"OUTPUT -o lo -p tcp --dport {port} -j {target}".split()
        self.on(node, "iptables", "-I", *rule)
        try:
            yield
        finally:
            self.on(node, "iptables", "-D", *rule)

    def nova_files(self, node: str) -> Path:
        """The host's /var/lib/nova, seen from here."""
        return self.state / "nodes" / node / "nova"

    def database(self, node: str) -> str:
        """The database of the host's cell; its queues have the virtual host of that name."""
        cell = self.setting(node, "transport_url", "").rpartition("/")[2]
        return "nova_cell2" if cell == "cell2" else "nova_cell1"

    def provider(self, node: str) -> str:
        """UUID of the host's resource provider."""
        return (self.nova_files(node) / "compute_id").read_text().strip()

    def setting(self, node: str, name: str, default: str) -> str:
        """An option of the host's nova.conf (any section)."""
        for file in ("nova.local.conf", "nova.conf"):
            text = (self.state / "etc" / node / file).read_text()
            found = re.search(rf"^{name}\s*=\s*(.*)$", text, re.M)
            if found:
                return found[1].strip()
        return default

    # --- agents -----------------------------------------------------------------------------
    def process(self, name: str) -> Process | None:
        """A recorded daemon, if it runs."""
        try:
            pid, ticks = map(int, (self.state / "run" / f"{name}.pid").read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        process = Process(pid, ticks)
        return process if process.alive else None

    def agent_kind(self, node: str) -> str:
        """``nova-lite``, ``nova-compute`` or ``none``."""
        try:
            return (self.state / "nodes" / node / "agent").read_text().strip()
        except FileNotFoundError:
            return NONE

    def agent(self, node: str) -> Process:
        """:raises CloudError: no agent runs there"""
        process = self.process(f"{node}-agent")
        if process is None:
            raise CloudError(
                f"no agent runs on {node}: start one with '{COMMAND} agent {node} {LITE}'"
            )
        return process

    def switch_agent(self, node: str, kind: str) -> None:
        """Stop what runs and run another agent (or none); its servers keep running.

        Stock nova-compute is waited for until it has reported: it puts every server in error that
        it finds in its building state before, so also one that the scheduler sends at that moment.
        """
        self._run_agent(node, kind, kind)

    @contextlib.contextmanager
    def other_with(self, node: str, kind: str) -> Iterator[str]:
        """Another host than ``node``, on which an agent of this kind runs for a while."""
        found = self.other_node(node)
        before = self.agent_kind(found)
        if before != kind:
            self.switch_agent(found, kind)
        try:
            yield found
        finally:
            if before != kind:
                self.switch_agent(found, before)

    def _run_agent(self, node: str, how: str, kind: str) -> None:
        self.run("agent", node, how)
        if kind == STOCK:
            before = self._report_of(node)
            wait_for(f"report of {kind}", lambda: self._report_of(node) != before, 120, pause=1.0)

    def _report_of(self, node: str) -> str:
        """When the agent of a host has reported last."""
        return self.sql(
            f"select updated_at from services where host='{node}' and topic='compute' and "
            "deleted=0",
            self.database(node),
        ).strip()

    def restart_agent(self, node: str) -> None:
        self._run_agent(node, "restart", self.agent_kind(node))

    @contextlib.contextmanager
    def brought_up(self, service: str) -> Iterator[None]:
        """An optional service, such as ``horizon``, brought up unless somebody else has; it goes as
        it came."""
        present = self.process(service)
        if not present:
            self.run(service, "up")
        yield
        if not present:
            self.run(service, "down")

    @contextlib.contextmanager
    def options(self, node: str, text: str) -> Iterator[None]:
        """Run the host's agent with further lines of nova.conf for a while."""
        local = self.state / "etc" / node / "nova.local.conf"
        before = local.read_text()
        local.write_text(f"{before}\n{text}\n")
        try:
            self.restart_agent(node)
            yield
        finally:
            local.write_text(before)
            self.restart_agent(node)

    def agent_log(self, node: str) -> Path:
        return self.state / "log" / f"{node}-agent.log"

    def agent_environment(self, kind: str) -> Path:
        """Directory of the programs of an agent's own virtual environment."""
        return self.state / "venv-agent" / "bin" if kind == LITE else self.nova_programs

    def start_program(self, node: str, command: list[str], output: Any) -> subprocess.Popen[bytes]:
        """Run a command of our own inside a host, as its agent would be run.

        :param output: an open file for what it prints
        """
        programs = self.agent_environment(LITE)
        files = [str(self.state / "etc" / node / name) for name in ("nova.conf", "nova.local.conf")]
        return subprocess.Popen(
            [str(COMMAND), "node", node, "exec", "env", f"PATH={programs}:{os.environ['PATH']}",
             *command, "--config-file", files[0], "--config-file", files[1]],
            env={**os.environ, "NOVA_LITE_CLOUD": str(self.state)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )  # fmt: skip
