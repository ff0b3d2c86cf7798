"""A nova-api beside the cloud's own, with some options changed; both serve the same cloud."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import STOCK, CloudError, DevCloud, wait_for


class ExtraApi:
    """Runs nova-api on a loopback port of its own.

    :param directory: its nova.conf and log go there
    :param options: of [DEFAULT]
    """

    def __init__(self, cloud: DevCloud, directory: Path, options: Mapping[str, str]) -> None:
        self._cloud = cloud
        self._directory = directory
        self._port = _free_port()
        self._running: subprocess.Popen[bytes] | None = None
        source = cloud.state / "etc" / "nova"
        shutil.copy(source / "api-paste.ini", directory)
        own = "".join(f"{name} = {value}\n" for name, value in options.items())
        text = (source / "nova.conf").read_text().replace("[DEFAULT]\n", f"[DEFAULT]\n{own}", 1)
        with open(directory / "nova.conf", "w", opener=_private) as file:
            file.write(text)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers.

        :raises CloudError: it does not
        """
        programs = self._cloud.agent_environment(STOCK)
        # Until 2025.2 nova-api lives on eventlet, which wants one thread in a process.
        threads = "1" if self._cloud.release < "2026" else "2"
        with (self._directory / "output").open("ab") as output:
            self._running = subprocess.Popen(
                [
                    str(programs / "uwsgi"), "--http-socket", f"127.0.0.1:{self._port}",
                    "--module", "nova.wsgi.osapi_compute:application", "--processes", "1",
                    "--threads", threads, "--enable-threads", "--lazy-apps", "--need-app",
                    "--master", "--buffer-size", "65535", "--die-on-term",
                    "--add-header", "Connection: close",
                ],
                env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}",
                     "OS_NOVA_CONFIG_DIR": str(self._directory)},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self._directory,
                start_new_session=True,
            )  # fmt: skip
        wait_for(f"nova-api at {self.url}", self._answers, 90)

    def _answers(self) -> bool:
        assert self._running is not None
        if self._running.poll() is not None:
            raise CloudError((self._directory / "output").read_text()[-2500:])
        try:
            return bool(urlopen(self.url, timeout=5).status)
        except OSError:
            return False

    def stop(self) -> None:
        if self._running is not None and self._running.poll() is None:
            os.kill(self._running.pid, signal.SIGTERM)
            try:
                self._running.wait(20)
            except subprocess.TimeoutExpired:
                self._running.kill()

    def client(self) -> Api:
        """What speaks to this one; other services are the cloud's."""
        api = Api(self._cloud)
        api.compute.endpoint_override = f"{self.url}/v2.1"
        return api


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
