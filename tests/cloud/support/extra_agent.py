"""A compute agent beside those of the cloud's hosts: a host of its own, with its own nova.conf."""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import LITE, CloudError, DevCloud, wait_for

UP = "is up as service version"
# Where nothing may be scheduled by accident: less memory is left than any flavor has.
HIDDEN = {"reserved_host_memory_mb": "1000000"}

Options = Mapping[str, Mapping[str, str]]


class ExtraAgent:
    """Runs nova-lite-compute as ``host``, configured like ``like`` but for what a test changes.

    :param directory: its nova.conf, log and state_path go there
    """

    def __init__(self, cloud: DevCloud, like: str, host: str, directory: Path) -> None:
        self.cloud, self.host, self.directory = cloud, host, directory
        self.state = directory / "state"
        self.output = directory / "output"
        self._like = like
        self._running: subprocess.Popen[bytes] | None = None
        self._options: dict[str, dict[str, str]] = {}
        self.configure({})

    @property
    def transport_url(self) -> str:
        return self.cloud.setting(self._like, "transport_url", "")

    def configure(self, options: Options) -> None:
        """Write nova.conf: the other host's, ours, then ``options`` ({group: {name: value}})."""
        self._options = {group: dict(values) for group, values in options.items()}
        parser = configparser.RawConfigParser(strict=False, default_section="")
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(self.cloud.state / "etc" / self._like / "nova.conf")
        parser.remove_option("DEFAULT", "log_file")
        own: dict[str, dict[str, str]] = {
            "DEFAULT": {
                "host": self.host,
                "debug": "true",
                "my_ip": "127.0.0.1",
                "state_path": str(self.state),
                "instances_path": str(self.state / "instances"),
                "report_interval": "2",
                **HIDDEN,
            },
            "oslo_concurrency": {"lock_path": str(self.state / "lock")},
        }
        for group, values in [*own.items(), *options.items()]:
            if not parser.has_section(group):
                parser.add_section(group)
            for name, value in values.items():
                parser.set(group, name, value)
        with open(self.directory / "nova.conf", "w", opener=_private) as file:
            parser.write(file)

    def configure_more(self, **options: Mapping[str, str]) -> None:
        """The same, on top of what was configured before."""
        merged = {group: dict(values) for group, values in self._options.items()}
        for group, values in options.items():
            merged.setdefault(group, {}).update(values)
        self.configure(merged)

    # --- process ------------------------------------------------------------------------------
    def start(self) -> None:
        """Start it; returns at once."""
        self.state.mkdir(exist_ok=True)
        (self.state / "instances").mkdir(exist_ok=True)
        self.spawn()

    def spawn(self, *prefix: str) -> None:
        """The same without making its directories; ``prefix`` is put before the command."""
        programs = self.cloud.agent_environment(LITE)
        with self.output.open("ab") as output:
            self._running = subprocess.Popen(
                [*prefix, str(programs / "nova-lite-compute"), "--config-file",
                 str(self.directory / "nova.conf")],
                env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def exit_code(self, seconds: float) -> int:
        """Wait for it to end by itself.

        :raises CloudError: it did not
        """
        assert self._running is not None
        try:
            return self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            raise CloudError(f"still runs after {seconds} s: {self.tail()}") from None

    def stop(self, seconds: float = 30) -> int | None:
        """SIGTERM; the exit code, None when it was not running.

        :raises CloudError: it had to be killed
        """
        if not self.alive:
            return None
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self.exit_code(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.alive:
            assert self._running is not None
            self._running.kill()
            self._running.wait(10)

    # --- what it says -------------------------------------------------------------------------
    def log(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def tail(self) -> str:
        return self.log()[-2500:]

    def mark(self) -> int:
        """A place in the log, to look only behind it."""
        return len(self.log())

    def wait_log(self, pattern: str, seconds: float = 30, since: int = 0) -> str:
        """Wait for a line that matches the regular expression and return it.

        :raises CloudError: it did not come, or the agent ended
        """

        def look() -> str | None:
            found = re.search(f"^.*(?:{pattern}).*$", self.log()[since:], re.M)
            if found is None and not self.alive:
                time.sleep(0.1)
                found = re.search(f"^.*(?:{pattern}).*$", self.log()[since:], re.M)
                if found is None:
                    raise CloudError(f"the agent ended without {pattern!r}: {self.tail()}")
            return found[0] if found else None

        try:
            return str(wait_for(f"{pattern!r} in the log of {self.host}", look, seconds, 0.05))
        except CloudError as error:
            raise CloudError(f"{error}\n{self.tail()}") from None

    def wait_up(self, seconds: float = 40, since: int = 0) -> None:
        self.wait_log(UP, seconds, since)


def remove_host(api: Api, host: str) -> None:
    """Delete what the cloud knows of a host: service, compute node, resource provider, mapping."""
    for service in services(api, host):
        api.call("DELETE", f"/os-services/{service['id']}", ok=False)
    wait_for(f"end of the service of {host}", lambda: not services(api, host), 20)


def services(api: Api, host: str) -> list[dict[str, Any]]:
    path = f"/os-services?binary=nova-compute&host={host}"
    return list(api.call("GET", path)["services"])


def providers(api: Api, directory: Path) -> list[str]:
    """UUIDs of the resource providers of an agent whose state_path is ``directory``."""
    try:
        uuid = str(UUID((directory / "compute_id").read_text().strip()))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
    listed = api.placement_get(f"/resource_providers?uuid={uuid}")["resource_providers"]
    return [provider["uuid"] for provider in listed]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
