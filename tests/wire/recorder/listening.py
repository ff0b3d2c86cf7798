"""What the services of Nova say to each other, as the tracer of the cloud's broker reports it.

A *spoken* message is a dict: ``from`` (program that published it, ``nova-conductor``, or ``uwsgi``
for an API; empty when it was gone before it could be asked), ``to`` (routing key) and ``body``
(without the envelope).
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import requests
from amqp.exceptions import AMQPError

from tests.cloud.support.broker import Broker, body_of
from tests.cloud.support.devcloud import DevCloud

Spoken = dict[str, Any]
# Services with a broker connection of their own kind. The APIs are all called uwsgi.
OTHERS = ("cinder", "neutron")
PAUSE = 2.0  # seconds between looks at the cloud, and before the broker is tried again


class Listener:
    """Listens while Nova is of one release; never speaks.

    A broker that is restarted meanwhile is connected to again.
    """

    def __init__(self, cloud: DevCloud, release: str, say: Callable[[str], None]) -> None:
        self._cloud, self._release, self._say = cloud, release, say
        self._broker = Broker(cloud)
        self._programs: dict[str, str] = {}
        self._is_it = False
        self._stop = threading.Event()
        self.heard: list[Spoken] = []

    def listen(self, seconds: float) -> list[Spoken]:
        """All that Nova said; what was said while it was of another release is not heard.

        :param seconds: how long; SIGINT (Control-C) and SIGTERM end it earlier
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())
        looking = threading.Thread(target=self._look, daemon=True)
        looking.start()
        ends = time.monotonic() + seconds
        while not self._ended(ends):
            try:
                self._broker.listen(self._hear, lambda: None, lambda: self._ended(ends))
            except (OSError, AMQPError) as error:
                self._say(f"the broker has gone ({type(error).__name__}): trying again")
                self._stop.wait(PAUSE)
        self._stop.set()
        looking.join(30)
        try:
            self._broker.trace(False)
        except requests.RequestException:
            self._say("the broker has gone: it starts without tracing")
        return self.heard

    def _ended(self, ends: float) -> bool:
        return self._stop.is_set() or time.monotonic() > ends

    def _look(self) -> None:
        """Keep tracing on, which a restart of the broker ends, and know who is who."""
        while not self._stop.wait(PAUSE):
            try:
                self._broker.trace(True)
                self._programs.update(self._broker.connections())
            except requests.RequestException:
                continue
            self._is_it = self._release_runs()

    def _release_runs(self) -> bool:
        runs = self._cloud.release == self._release and self._cloud.process("nova-conductor")
        if bool(runs) != self._is_it:
            self._say(f"Nova of {self._release} {'runs' if runs else 'does not run'}")
        return bool(runs)

    def _hear(self, raw: Any) -> None:
        headers = raw.headers or {}
        program = self._programs.get(str(headers.get("connection", "")), "").partition(":")[0]
        body = body_of(raw.body)
        if self._is_it and body and not program.startswith(OTHERS):
            to = str((headers.get("routing_keys") or [""])[0])
            self.heard.append({"from": program, "to": to, "body": body})


def write(path: Path, heard: Iterable[Spoken]) -> None:
    """Keep all that was heard. It has tokens and passwords: nobody else may read the file."""
    path.touch(mode=0o600)
    with path.open("w") as file:
        file.writelines(json.dumps(message) + "\n" for message in heard)


def read(path: Path) -> Iterator[Spoken]:
    """What :func:`write` has kept."""
    with path.open() as file:
        yield from map(json.loads, file)
