"""A real RabbitMQ of the test's own: on loopback, with its own directory, Erlang port mapper and
cookie, so that a broker that runs on the machine already is left alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp

from tests.fakes.certificates import Authority

# Debian's /usr/sbin/rabbitmq-server changes to the directory of the machine's own broker.
PROGRAMS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), Path("/usr/sbin/rabbitmq-server"))
EPMD = ("epmd", "/usr/lib/erlang/bin/epmd")
START_PATIENCE = 90.0  # seconds; two busy cores need half of it
STOP_PATIENCE = 30.0
# The Erlang VM spins while idle unless told not to.
QUIET = "+sbwt none +sbwtdcpu none +sbwtdio none"


def missing() -> str | None:
    """Why no broker can be started here, None when it can."""
    if _program() is None:
        return "rabbitmq-server is not installed (bindep.txt, profile test)"
    return None if _epmd() else "epmd of Erlang is not installed"


class PrivateBroker:
    """Starts, stops, freezes and kills the broker; ``url`` is its transport_url.

    :param tls: who has signed the certificates of the broker and of those who may connect; without
        it connections are plain
    """

    def __init__(self, folder: Path, tls: Authority | None = None) -> None:
        self._folder = folder
        self._tls = tls
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self.port, self._epmd_port, self._dist_port = _free_ports(3)

    @property
    def url(self) -> str:
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it and wait until it lets us log in."""
        if self._epmd is None:
            self._prepare()
            epmd = _epmd()
            assert epmd is not None
            self._epmd = subprocess.Popen(
                [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self._environment(), start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        with (self._folder / "output.log").open("ab") as output:
            self._server = subprocess.Popen(
                [str(_program())], env=self._environment(), cwd=self._folder,
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._wait()

    def stop(self) -> None:
        """Shut the broker down as an operator does; transient queues are gone with it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Without the broker for as long as the block runs; it is back when the block is left."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def close(self) -> None:
        """End everything that was started."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def login(self) -> amqp.Connection:
        """A connection of the test's own, to look at queues."""
        tls: dict[str, Any] = {}
        if self._tls is not None:
            own = self._tls.sign("onlooker")
            tls = {"certfile": own.certificate, "keyfile": own.key, "ca_certs": self._tls.file}
        connection = amqp.Connection(
            f"127.0.0.1:{self.port}", connect_timeout=2, ssl=tls or False, login_method="PLAIN"
        )
        connection.connect()
        return connection

    def _prepare(self) -> None:
        for name in ("mnesia", "log"):
            (self._folder / name).mkdir(exist_ok=True)
        (self._folder / "rabbitmq.conf").write_text(
            f"{self._listener()}"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 50MB\n",
            encoding="utf-8",
        )
        plugins = "rabbitmq_auth_mechanism_ssl" if self._tls else ""
        (self._folder / "enabled_plugins").write_text(f"[{plugins}].\n", encoding="utf-8")

    def _listener(self) -> str:
        """Where it listens; with TLS it lets in only who has a certificate, whose common name may
        also be the user (login method EXTERNAL)."""
        if self._tls is None:
            return f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
        own = self._tls.sign("broker", "127.0.0.1")
        return (
            "listeners.tcp = none\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.port}\n"
            f"ssl_options.cacertfile = {self._tls.file}\n"
            f"ssl_options.certfile = {own.certificate}\n"
            f"ssl_options.keyfile = {own.key}\n"
            "ssl_options.verify = verify_peer\n"
            "ssl_options.fail_if_no_peer_cert = true\n"
            "ssl_cert_login_from = common_name\n"
            "auth_mechanisms.1 = PLAIN\n"
            "auth_mechanisms.2 = AMQPLAIN\n"
            "auth_mechanisms.3 = EXTERNAL\n"
        )

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": folder,  # of the cookie
            "RUNNING_UNDER_SYSTEMD": "true",  # the VM replaces the start script: one process
            "RABBITMQ_NODENAME": f"nova-lite-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} " + QUIET
            ),
        }

    def _wait(self) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline:
            assert self._server is not None
            if self._server.poll() is not None:
                break
            with contextlib.suppress(OSError, amqp.AMQPError):
                self.login().close()
                return
            time.sleep(0.1)
        text = (self._folder / "output.log").read_text(encoding="utf-8", errors="replace")
        raise AssertionError(f"the private RabbitMQ did not start:\n{text[-3000:]}")

    def _end(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        self._server.send_signal(how)
        try:
            self._server.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None


def _program() -> Path | None:
    return next((path for path in PROGRAMS if path.exists()), None)


def _epmd() -> str | None:
    return next((found for name in EPMD if (found := shutil.which(name))), None)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports
