"""Calls between the hosts of a trial, each of which has an agent only as long as it has work.

The test stands between them, as the broker does: it starts an agent for each call, hands its answer
on, or loses it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_lite.errors import NovaLiteError, PeerUnavailable
from nova_lite.wire import exceptions
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap, wrap

PATIENCE_S = 300


@dataclass
class Raised:
    """An exception of another host as it comes over the wire."""

    exc_type: str
    value: str


def told(answer: Future[Any]) -> str:
    """What whoever calls gets, in JSON."""
    try:
        return json.dumps({"result": unwrap(answer.result(0))})
    except NovaLiteError as error:
        return json.dumps({"raised": [error.nova_name, error.message]})


def heard(answer: str | None, host: str, method: str) -> Any:
    """The result in an answer.

    :param answer: None: nobody answered
    :raises NovaLiteError: as of ``Peers.call``
    """
    if answer is None:
        raise PeerUnavailable(f"host {host} did not answer {method}")
    found = json.loads(answer)
    if "raised" in found:
        raise exceptions.incoming_from_host(Raised(*found["raised"]), host)
    return wrap(found["result"])


def ask(path: str, context: RequestContext, host: str, method: str, arguments: Any) -> Any:
    """Call another host."""
    plain = {name: unwrap(value) for name, value in arguments.items()}
    message = {"method": method, "request_id": context.request_id, "args": plain}
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rw") as text:
        line.settimeout(PATIENCE_S)
        line.connect(path)
        text.write(json.dumps([host, message]) + "\n")
        text.flush()
        answer = text.readline()
    return heard(json.loads(answer) if answer else None, host, method)


class Exchange:
    """Takes calls at a socket.

    :param carry_out: (host, message) -> the answer; None: nobody answers
    """

    def __init__(self, path: Path, carry_out: Callable[[str, Any], str | None]) -> None:
        self.path, self._carry_out = str(path), carry_out
        self.wrong: list[BaseException] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        Path(self.path).unlink()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line, line.makefile("r") as text:
            try:
                call = text.readline()
                if call:  # else who was about to call was killed
                    line.sendall((json.dumps(self._carry_out(*json.loads(call))) + "\n").encode())
            except (BrokenPipeError, ConnectionResetError):
                pass  # so was who has called
            except BaseException as error:
                self.wrong.append(error)
