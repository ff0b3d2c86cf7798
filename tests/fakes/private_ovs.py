"""A real Open vSwitch with a userspace datapath in network and mount namespaces of its own.

A ``Worker`` is this very file inside the namespaces, where it runs, one after the other, the
functions that are sent to it. That of ``PrivateOvs`` starts the two daemons before.
"""

from __future__ import annotations

import importlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


def usable() -> str | None:
    """Why no such switch can be started here, None when it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in ("unshare", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ip")
               if shutil.which(tool) is None]  # fmt: skip
    if missing or not SCHEMA.exists():
        return f"not installed: {', '.join(missing) or SCHEMA}"
    return None if Path("/dev/net/tun").exists() else "no /dev/net/tun"


class Worker:
    """A process in namespaces; ``call`` runs ``module:function`` there and returns what it returns.

    :param enter: how a command is run there; its mounts are its own in any case
    :param folder: where it starts Open vSwitch; None: it starts none
    """

    def __init__(self, enter: Sequence[str] = (), folder: Path | None = None) -> None:
        root = Path(__file__).parents[2]
        private = ["unshare", "--mount", "--propagation", "private"]
        self.process = subprocess.Popen(
            [*(enter or ("unshare", "--net")), *private,
             sys.executable, str(Path(__file__)), str(folder or "")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        assert self._answer() == "ready"

    def call(self, function: str, *arguments: Any) -> Any:
        """Run ``module:function`` in the namespaces; its exception is raised here."""
        assert self.process.stdin is not None
        pickle.dump((function, arguments), self.process.stdin)
        self.process.stdin.flush()
        answer = self._answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return pickle.load(self.process.stdout)


class PrivateOvs(Worker):
    """The switch, and a worker beside it."""

    def __init__(self, folder: Path, enter: Sequence[str] = ()) -> None:
        self.connection = f"unix:{folder}/db.sock"
        super().__init__(enter, folder)


def run(*command: str) -> str:
    """Output of a command, run in the namespaces."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def vsctl(folder: str, *arguments: str) -> str:
    """Output of ovs-vsctl on the private switch."""
    return run("ovs-vsctl", f"--db=unix:{folder}/db.sock", "--timeout=20", *arguments)


def _start(folder: str) -> list[int]:
    run("ip", "link", "set", "lo", "up")
    run("ovsdb-tool", "create", f"{folder}/conf.db", str(SCHEMA))
    common = ["--detach", "--no-chdir", "-vconsole:off"]
    run("ovsdb-server", f"{folder}/conf.db", f"--remote=punix:{folder}/db.sock",
        f"--unixctl={folder}/db.ctl", f"--pidfile={folder}/db.pid",
        f"--log-file={folder}/db.log", *common)  # fmt: skip
    vsctl(folder, "--no-wait", "init")
    run("ovs-vswitchd", f"unix:{folder}/db.sock", f"--unixctl={folder}/vs.ctl",
        f"--pidfile={folder}/vs.pid", f"--log-file={folder}/vs.log", *common)  # fmt: skip
    vsctl(folder, "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    return [int(Path(folder, name).read_text()) for name in ("vs.pid", "db.pid")]


def _serve() -> None:
    folder = sys.argv[1]
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whoever prints must not disturb the answers
    run("mount", "-t", "sysfs", "sysfs", "/sys")  # the devices of this network namespace
    pids = _start(folder) if folder else []
    try:
        answer: Any = "ready"
        while True:
            pickle.dump(answer, answers)
            answers.flush()
            try:
                function, arguments = pickle.load(requests)
            except EOFError:
                return
            module, _, name = function.partition(":")
            try:
                answer = getattr(importlib.import_module(module), name)(*arguments)
            except Exception as exc:
                answer = exc
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        if pids:
            time.sleep(0.2)


if __name__ == "__main__":
    _serve()
